"""What a scan would do and take, told before it is made."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from fullconv.api.machine import resident_bytes
from fullconv.scanning.opening import Ready
from fullconv.scanning.plan import ScanPlan
from fullconv.scanning.work.passes import Pass, boxes, macs_of_pass, strips
from fullconv.scanning.work.pixels import Feed
from fullconv.storage.amounts import span, written_bytes
from fullconv.tables import table


@dataclass(frozen=True)
class Preview:
    """A plan, and what it takes; prints as tables.

    Attributes:
        source: the name of the image.
        plan: of strips and bands.
        memory: bytes that the process will hold at most.
        held: of them are held before the scan: libraries, weights.
        limit: bytes that were allowed, None where nothing was said.
        seconds: that the whole scan would take, from one strip of it.
        difference: of the stream from one pass on a small image, relative to the largest score.
    """

    source: str
    plan: ScanPlan
    memory: int
    held: int
    limit: int | None
    seconds: float
    difference: float

    def summary(self) -> list[tuple[str, str]]:
        """The facts as (name, value) pairs for people."""
        allowed = "" if self.limit is None else f" of the {written_bytes(self.limit)} allowed"
        return [
            *self.plan.summary(),
            (
                "in all",
                f"at most {written_bytes(self.memory)}{allowed}; {written_bytes(self.held)} are "
                "held already",
            ),
            ("time", f"{self._time}, measured on one strip"),
            ("proof", f"streamed and one pass differ by {self.difference:.1e} on a small image"),
        ]

    @property
    def _time(self) -> str:
        return f"about {span(self.seconds)}" if self.seconds >= 1 else "less than a second"

    def __str__(self) -> str:
        rows = [
            (where, f"{kept:,}", f"{made:,}", written_bytes(row), written_bytes(kept * row))
            for where, kept, made, row in self.plan.layers()
        ]
        header = ("layer", "rows kept", "rows in a step", "a row", "kept")
        return f"{table(header, rows, numbers=True)}\n{table((), self.summary())}"

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON-serialisable values."""
        names = ("source", "memory", "held", "limit", "seconds", "difference")
        return {**{name: getattr(self, name) for name in names}, "plan": self.plan.to_dict()}


def measured(ready: Ready) -> Preview:
    """The plan with its memory, and its time measured on one strip."""
    held = resident_bytes()
    memory = held + ready.room.needed(ready.plan)
    return Preview(
        ready.source.name,
        ready.plan,
        memory,
        held,
        ready.room.limit,
        _seconds(ready),
        ready.difference,
    )


def _seconds(ready: Ready) -> float:
    """Seconds of the whole scan, from those of the second step of a band, or its only one."""
    plan = ready.plan
    band = plan.band(0)
    part = Pass(0, min(2, plan.schedule.count))
    feed = Feed(ready.source, boxes(plan, band, part), ready.preparation, lambda box, region: None)
    run = strips(ready.network, plan, band, part, feed)
    with feed, closing(run):
        moments = [time.perf_counter()]
        for _ in run:
            moments.append(time.perf_counter())
    took = moments[-1] - moments[-2]
    macs = macs_of_pass(plan, band, part)
    if part.stop > 1:
        macs -= macs_of_pass(plan, band, Pass(0, 1))
    if macs > 0:
        return took * plan.macs / macs
    return took * plan.schedule.count * plan.bands
