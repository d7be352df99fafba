"""Cells without a score: they look at px that could not be read, or hold px without data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import groupby

import numpy as np
import numpy.typing as npt

from fullconv.geometry import Box
from fullconv.scanning.sight.spans import Flags, Sight, Spans
from fullconv.storage.sources import Fault, Region
from fullconv.storage.sources.source import extent

MOST = 256
"""Boxes in which what could not be read is told of one chunk, at most, for each reason."""
ROWS = 64  # rows of flags that are looked at at a time


class Gaps:
    """What was found amiss in the px of one band, as far as coming strips need it.

    `columns` are the band's cells along every axis but the first.
    """

    def __init__(self, sight: Sight, columns: Sequence[tuple[int, int]]) -> None:
        self._sight, self._columns = sight, tuple(columns)
        self._faults: list[Fault] = []
        self._missing: list[tuple[int, Flags]] = []

    def note(self, box: Box, region: Region) -> None:
        """Keep what was found in a box of rows; boxes come from top to bottom."""
        self._faults += region.faults
        if region.missing is not None and region.missing.any():
            self._missing.append((box[0], self._reduced(box, region.missing)))

    def blank(self, scores: npt.NDArray[np.float32], start: int, look: Flags | None) -> list[Fault]:
        """Make scores `(rows, *columns, K)` of rows from `start` on NaN where there are none.

        Returns the faults that are seen by cells to be scored; `look` says which these are, all
        without it.
        """
        if not self._faults and not self._missing:
            return []
        stop = start + len(scores)
        rows = self._sight.seen(0, start, stop)
        found = []
        for fault in self._faults:
            dims = len(fault.box) // 2
            spans = zip((rows, *self._seen), fault.box[:dims], fault.box[dims:], strict=True)
            place = tuple(span.touching(first, last) for span, first, last in spans)
            if any(part.start >= part.stop for part in place):
                continue
            if look is None or look[place].any():
                found.append(fault)
            scores[place] = np.nan
        if self._missing:
            windows = self._sight.windows(0, start, stop).within(rows)
            for first, flags in self._missing:
                scores[windows.any(flags, first)] = np.nan
        return found

    def forget(self, row: int) -> None:
        """Let go of what no cell from this row on looks at."""
        if not self._faults and not self._missing:
            return
        first = int(self._sight.seen(0, row, row + 1).starts[0])
        self._faults = [f for f in self._faults if f.box[len(f.box) // 2] > first]
        self._missing = [(at, flags) for at, flags in self._missing if at + len(flags) > first]

    @cached_property
    def _seen(self) -> tuple[Spans, ...]:
        return tuple(
            self._sight.seen(axis, *span) for axis, span in enumerate(self._columns, start=1)
        )

    @cached_property
    def _windows(self) -> tuple[Spans, ...]:
        return tuple(
            self._sight.windows(axis, *span).within(seen)
            for (axis, span), seen in zip(
                enumerate(self._columns, start=1), self._seen, strict=True
            )
        )

    def _reduced(self, box: Box, missing: Flags) -> Flags:
        """Px `(rows, *space)` as `(rows, *columns)`: whether a cell's window holds such a px."""
        firsts = box[1 : len(box) // 2]
        parts = []
        for row in range(0, len(missing), ROWS):  # a few at a time, so that little is held
            flags = missing[row : row + ROWS]
            for axis, (spans, first) in enumerate(zip(self._windows, firsts, strict=True), start=1):
                flags = spans.any(flags, first, axis)
            parts.append(flags)
        return np.concatenate(parts)


def joined(faults: Iterable[Fault], most: int = MOST) -> tuple[Fault, ...]:
    """Faults in as few boxes as say the same, in order: those are joined that make up a box.

    Where more than `most` are left of one reason, one box around them.
    """
    found = []
    for why, alike in groupby(sorted(faults, key=lambda fault: fault.why), lambda f: f.why):
        boxes = sorted({tuple(map(int, fault.box)) for fault in alike})
        before = 0
        while len(boxes) != before:
            before = len(boxes)
            for axis in range(len(boxes[0]) // 2):
                boxes = _along(boxes, axis)
        if len(boxes) > most:
            dims = len(boxes[0]) // 2
            edges = np.array(boxes)
            around = (*edges[:, :dims].min(axis=0), *edges[:, dims:].max(axis=0))
            boxes = [tuple(int(edge) for edge in around)]
        found += [Fault(box, why) for box in boxes]
    return tuple(sorted(found, key=lambda fault: (fault.box, fault.why)))


def _along(boxes: list[Box], axis: int) -> list[Box]:
    """Boxes joined that follow on each other along an axis, or overlap, and are alike else."""
    dims = len(boxes[0]) // 2

    def others(box: Box) -> Box:
        return tuple(edge for place, edge in enumerate(box) if place % dims != axis)

    found: list[Box] = []
    for box in sorted(boxes, key=lambda box: (others(box), box[axis], box[dims + axis])):
        last = found[-1] if found else None
        if last is not None and others(last) == others(box) and box[axis] <= last[dims + axis]:
            stop = max(last[dims + axis], box[dims + axis])
            found[-1] = (*last[: dims + axis], stop, *last[dims + axis + 1 :])
        else:
            found.append(box)
    return found


def pixels(faults: Iterable[Fault]) -> int:
    """Px in the boxes of faults; those in several are counted once for each."""
    return sum(int(np.prod(extent(fault.box), dtype=np.int64)) for fault in faults)
