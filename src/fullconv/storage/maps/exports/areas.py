"""Connected areas of cells that have one label, traced row by row.

What is held are the row before, and of each area that may go on its counts and the corners of its
outline: the memory does not grow with the number of cells.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.storage.maps.exports.rings import LEFT, RIGHT, Ring, rings_of

NONE = -1
"""The label of cells in no area."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """Cells of one label that hang together by their sides.

    Attributes:
        label: of its cells.
        cells: how many they are.
        mean: of their values.
        highest: of their values.
        rings: its outline, as corners `(row, col)` of cells; the outer ring, then its holes.
    """

    label: int
    cells: int
    mean: float
    highest: float
    rings: list[Ring]


class Tracer:
    """Takes the rows of a map one after the other and gives the areas that are finished.

    `row` is the number of the first row; there is no area above it.
    """

    def __init__(self, row: int = 0) -> None:
        self._row = row
        self._above: _Runs | None = None

    @property
    def idle(self) -> bool:
        """Whether no area reaches the last row: what comes next could as well be a new tracer's."""
        return self._above is None or not any(self._above.owners)

    def feed(self, labels: Ints, values: npt.NDArray[Any]) -> Iterator[Area]:
        """The areas that end above the next row `(cols)`, which has these labels and values."""
        above = self._above or _Runs.none(len(labels))
        below = _Runs.of(labels, values)
        _own(above, below)
        _outline(above, below, self._row)
        self._row, self._above = self._row + 1, below
        going_on = {id(part.root()) for part in below.owners if part is not None}
        for part in _roots(above):
            if id(part) not in going_on:
                yield part.finished()

    def close(self) -> Iterator[Area]:
        """The areas that reach the last row."""
        if self._above is not None:
            cols = len(self._above.at)
            yield from self.feed(np.full(cols, NONE, np.int64), np.zeros(cols))


class _Part:
    """An area as far as it is known; it may turn out to be one with another."""

    __slots__ = ("cells", "ends", "highest", "into", "label", "total")

    def __init__(self, label: int) -> None:
        self.label = label
        self.cells, self.total, self.highest = 0, 0.0, float("-inf")
        self.ends = array("q")  # row, column, side, row, …
        self.into: _Part | None = None

    def root(self) -> _Part:
        """The area it belongs to by now."""
        part = self
        while part.into is not None:
            if part.into.into is not None:
                part.into = part.into.into
            part = part.into
        return part

    def joined(self, other: _Part) -> _Part:
        """Both as one."""
        if self is other:
            return self
        large, small = (self, other) if len(self.ends) >= len(other.ends) else (other, self)
        large.cells += small.cells
        large.total += small.total
        large.highest = max(large.highest, small.highest)
        large.ends.extend(small.ends)
        small.ends = array("q")
        small.into = large
        return large

    def finished(self) -> Area:
        ends = np.frombuffer(self.ends, np.int64).reshape(-1, 3)
        return Area(self.label, self.cells, self.total / self.cells, self.highest, rings_of(ends))


@dataclass(slots=True, eq=False)
class _Runs:
    """The runs of equal labels in a row, also of NONE.

    Attributes:
        starts, stops, labels: of each.
        at: for each column its run.
        counts: the cells, sum and maximum of the values of each.
        owners: the area of each; None for that of NONE.
    """

    starts: Ints
    stops: Ints
    labels: Ints
    at: Ints
    sums: npt.NDArray[Any]
    peaks: npt.NDArray[Any]
    owners: list[_Part | None]

    @classmethod
    def of(cls, labels: Ints, values: npt.NDArray[Any]) -> _Runs:
        breaks = np.flatnonzero(labels[1:] != labels[:-1]) + 1
        starts = np.concatenate(([0], breaks))
        stops = np.concatenate((breaks, [len(labels)]))
        return cls(
            starts,
            stops,
            labels[starts],
            np.repeat(np.arange(len(starts)), stops - starts),
            np.add.reduceat(values, starts, dtype=np.float64),
            np.maximum.reduceat(values, starts),
            [None] * len(starts),
        )

    @classmethod
    def none(cls, cols: int) -> _Runs:
        return cls.of(np.full(cols, NONE, np.int64), np.zeros(cols))


def _own(above: _Runs, below: _Runs) -> None:
    """Give each run below to the areas above it of the same label, or to a new one."""
    over, under = above.at, below.at
    same = above.labels[over] == below.labels[under]
    same &= below.labels[under] != NONE
    touching = np.stack((over[same], under[same]))
    new = np.ones(touching.shape[1], bool)
    new[1:] = (touching[:, 1:] != touching[:, :-1]).any(0)
    for one, other in zip(*touching[:, new].tolist(), strict=True):
        part = above.owners[one]
        assert part is not None
        known = below.owners[other]
        below.owners[other] = part.root() if known is None else known.root().joined(part.root())

    facts = zip(below.labels, below.starts, below.stops, below.sums, below.peaks, strict=True)
    for index, (label, start, stop, total, peak) in enumerate(facts):
        if label == NONE:
            continue
        part = below.owners[index]
        part = below.owners[index] = _Part(int(label)) if part is None else part.root()
        part.cells += int(stop - start)
        part.total += float(total)
        part.highest = max(part.highest, float(peak))


def _outline(above: _Runs, below: _Runs, row: int) -> None:
    """Note the vertical edges that end or begin at the upper edge of a row."""
    for ones, others in ((above, below), (below, above)):
        # A left edge goes on if the other row too has a run of this label that begins there.
        facing = others.at[ones.starts]
        onward = (others.starts[facing] == ones.starts) & (others.labels[facing] == ones.labels)
        _note(ones, ones.starts, ~onward, row, LEFT)
        facing = others.at[ones.stops - 1]
        onward = (others.stops[facing] == ones.stops) & (others.labels[facing] == ones.labels)
        _note(ones, ones.stops, ~onward, row, RIGHT)


def _note(runs: _Runs, cols: Ints, which: npt.NDArray[np.bool_], row: int, side: int) -> None:
    which &= runs.labels != NONE
    for index, col in zip(np.flatnonzero(which).tolist(), cols[which].tolist(), strict=True):
        part = runs.owners[index]
        assert part is not None
        part.root().ends.extend((row, col, side))


def _roots(runs: _Runs) -> list[_Part]:
    """The areas of a row, each once, from left to right."""
    parts = (part.root() for part in runs.owners if part is not None)
    return list({id(part): part for part in parts}.values())
