"""How far `fullconv scan` is: a bar on a terminal, now and then a line elsewhere, or events."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from fullconv.cli.answers import show_line
from fullconv.cli.progress import EVERY, SHORT, text_bar
from fullconv.storage.amounts import span, written_bytes
from fullconv.storage.description import finite

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from fullconv.scanning.summary import Standing


def event(name: str, data: Mapping[str, Any]) -> None:
    """A line of JSON on stdout, at once."""
    show_line(json.dumps(finite({"event": name, **data}), allow_nan=False))


class ScanProgress:
    """Shows how far a scan is: its share, megapixels a second, the time left and the memory.

    With `events`, every call is an event instead. A context manager.
    """

    def __init__(
        self,
        *,
        events: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._events, self._clock = events, clock
        self._stream = sys.stderr if stream is None else stream
        self._began = self._said = clock()
        self._bar: Bar | None = None
        self.last: Standing | None = None

    def __enter__(self) -> ScanProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, standing: Standing) -> None:
        """Show it."""
        self.last = standing
        now = self._clock()
        if self._events:
            event("progress", standing.to_dict())
        elif self._stream.isatty():
            if now - self._began >= SHORT:
                self._draw(standing)
        elif now - self._said >= EVERY:
            self._said = now
            print(words(standing), file=self._stream, flush=True)

    def _draw(self, standing: Standing) -> None:
        if self._bar is None:
            self._bar = text_bar(self._stream)
            self._bar.add_task("", total=standing.total, text="")
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=standing.px, text=words(standing))


def words(standing: Standing) -> str:
    """How far it is, in a line."""
    total = standing.total / 1e6
    parts = [f"{standing.share:.1%} of {total:,.{0 if total >= 10 else 1}f} Mpx"]
    if standing.rate:
        parts.append(f"{standing.rate / 1e6:.3g} Mpx/s")
    if standing.left is not None:
        parts.append(f"{span(standing.left)} left")
    return ", ".join([*parts, written_bytes(standing.memory)])
