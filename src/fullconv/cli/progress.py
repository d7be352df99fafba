"""How far a long command is, on stderr: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from fullconv.storage.amounts import span

__all__ = ["Progress", "per_second", "span"]

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

EVERY = 10.0  # seconds between two lines where there is no terminal
SHORT = 1.0  # jobs shorter than this have no bar


class Progress:
    """Shows how much of a job is done, its rate and the time left.

    with Progress("images", 200) as progress:
        progress(3)  # 3 are done

    On a terminal it is a bar, which goes away at the end. Elsewhere, for instance in a log, it is a
    line every 10 seconds and one at the end. Short jobs leave no trace. Where a terminal shows the
    answers as they come, they are progress enough: a bar would stand in their way.
    """

    def __init__(
        self,
        unit: str,
        total: int = 0,
        *,
        goes_on: bool = False,
        answers: TextIO | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`unit` is what is counted, in the plural. A total that comes later is 0 until then.

        `goes_on` says that what is told first was done before: it counts for no rate. `answers` is
        where answers are written meanwhile.
        """
        self._before: int | None = None if goes_on else 0
        self._unit, self._total, self._done = unit, total, 0
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._silent = self._terminal and answers is not None and answers.isatty()
        self._bar: Bar | None = None
        self._started = self._said = clock()
        self._lines = 0

    def __enter__(self) -> Progress:
        self._started = self._said = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._lines and kind is None:
            seconds = self._clock() - self._started
            self._say(f"{self._counted()} in {span(seconds)}{self._rate(seconds)}")

    def __call__(self, done: int, total: int | None = None) -> None:
        """`done` of `total` are done; without a total, of the one that was given before."""
        if self._before is None:
            self._before = done
        self._done = done
        self._total = self._total if total is None else total
        now = self._clock()
        if self._silent:
            return
        if self._terminal:
            self._draw(now - self._started)
        elif now - self._said >= EVERY and done < self._total:
            self._said = now
            seconds = now - self._started
            left = self._left(seconds)
            self._say(f"{self._counted()}{self._rate(seconds)}{left and f', {left}'}")

    def _counted(self) -> str:
        return f"{self._done:,} of {self._total:,} {self._unit}"

    def _rate(self, seconds: float) -> str:
        new = self._done - (self._before or 0)
        if new <= 0 or seconds <= 0:
            return ""
        return f", {per_second(new / seconds)}"

    def _left(self, seconds: float) -> str:
        new = self._done - (self._before or 0)
        return f"{span(seconds / new * (self._total - self._done))} left" if new > 0 else ""

    def _say(self, line: str) -> None:
        self._lines += 1
        print(line, file=self._stream, flush=True)

    def _draw(self, seconds: float) -> None:
        if self._bar is None:
            if seconds < SHORT:
                return
            self._bar = counting_bar(self._stream)
            # What was done before the bar was there counts for its rate too.
            self._bar.add_task(self._unit, total=self._total, rate="", left="")
            self._bar.start()
        task = self._bar.task_ids[0]
        self._bar.update(
            task,
            completed=self._done,
            total=self._total,
            rate=self._rate(seconds).removeprefix(", "),
            left=self._left(seconds),
        )


def counting_bar(stream: TextIO) -> Bar:
    """A bar that counts, for a terminal; tasks say `rate` and `left`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    return _shown(
        stream,
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[left]}"),
    )  # fmt: skip


def text_bar(stream: TextIO) -> Bar:
    """A bar for a terminal with the `text` of its tasks beside it."""
    from rich.progress import BarColumn, TextColumn

    return _shown(stream, BarColumn(), TextColumn("{task.fields[text]}"))


def _shown(stream: TextIO, *columns: Any) -> Bar:
    from rich.console import Console
    from rich.progress import Progress as Bar

    class Visible(Console):
        """Leaves the cursor alone: Ctrl-C may end the program before it could be shown again."""

        def show_cursor(self, show: bool = True) -> bool:
            return False

    return Bar(*columns, console=Visible(file=stream), transient=True, redirect_stdout=False)


def per_second(rate: float) -> str:
    """A rate for people: `120/s`, `8.3/s`, or `4.0/min` where it is below one a second."""
    if rate >= 100:
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min"
