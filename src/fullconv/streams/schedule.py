"""Which rows of every map are made in which step: the same whenever and however often it is asked.

Step `t` makes the rows of the answers from `t * height` to `(t + 1) * height`, and of every map on
the way just the rows these still lack: nothing is made twice, and the branches of a network wait
for each other. The first steps, with negative numbers, make no row of the answers yet; they let the
maps above fill up strip by strip. Rows of a step depend on the network, the image and the height
alone, so that a pass which begins in the middle makes the very same ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cached_property

from fullconv.streams.course import Cells, Course, Stage

Rows = tuple[int, int]

REMEMBERED = 256


@dataclass(frozen=True)
class Schedule:
    """The steps of a course over an image of `size` px, with `height` rows of the answers each.

    `rows` of the score map are wanted; all answers have the same number.
    """

    course: Course
    size: Cells
    height: int
    rows: int
    cells: dict[str, Cells] = field(init=False, repr=False, compare=False)
    _done: dict[int, dict[str, int]] = field(init=False, repr=False, compare=False)
    _cuts: dict[int, dict[str, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", self.course.cells(self.size))
        object.__setattr__(self, "_done", {})
        object.__setattr__(self, "_cuts", {})

    @property
    def count(self) -> int:
        """Steps that make rows of the answers: 0 to `count - 1`."""
        return -(-self.rows // self.height)

    @cached_property
    def first(self) -> int:
        """The number of the first step that makes rows of any map."""
        step = 0
        while max(self.done(step - 1).values()) > 0:
            step -= 1
        return step

    def done(self, step: int) -> dict[str, int]:
        """How many rows of every map are there after a step; zero or less for none."""
        if step not in self._done:
            if len(self._done) >= REMEMBERED:  # images may have very many steps
                self._done.clear()
            stop = min((step + 1) * self.height, self.rows)
            self._done[step] = self.course.stops(0, stop, self.cells)
        return self._done[step]

    def made(self, name: str, step: int) -> Rows:
        """The rows of a map that a step makes."""
        before, after = self.done(step - 1)[name], self.done(step)[name]
        return max(0, before), max(0, after)

    def pieces(self, name: str, step: int) -> tuple[Rows, ...]:
        """The rows of a map that a step makes, in one piece or in two.

        The first rows need some that were kept from the step before, the others, the most, do not:
        these are made by themselves, so that nothing but a few rows must be put together.
        """
        first, last = self.made(name, step)
        if first >= last:
            return ()
        cut = self._cut(step)[name]
        return ((first, cut), (cut, last)) if cut > first else ((first, last),)

    def _cut(self, step: int) -> dict[str, int]:
        """For every map the row from which a step makes it of rows made in the same step."""
        if step not in self._cuts:
            if len(self._cuts) >= REMEMBERED:
                self._cuts.clear()
            found: dict[str, int] = {}
            for stage in self.course.stages:
                first, last = self.made(stage.name, step)
                cut = first
                for name in stage.inputs:
                    reach, cells = stage.reaches[0], self.cells[name][0]
                    own = range(first, last)
                    starts = bisect_left(own, found[name], key=lambda r: reach.start(r, cells))
                    cut = max(cut, first + starts)
                found[stage.name] = cut if last - cut > cut - first else first
            self._cuts[step] = found
        return self._cuts[step]

    def needed(self, name: str, readers: tuple[Stage, ...], step: int) -> int:
        """The first row of a map that steps after `step` still read; its end if there is none."""
        end = self.done(step)[name]
        last = self.done(self.count - 1)
        first = end
        for reader in readers:
            begun = max(0, self.done(step)[reader.name])
            if begun < last[reader.name]:
                first = min(first, reader.reaches[0].start(begun, self.cells[name][0]))
        return max(0, first)

    def begins(self, step: int) -> dict[str, int]:
        """In which step every map must begin, so that rows from `step` on are made as ever.

        Every map is made in the same pieces as in a pass over the whole image, or not at all.
        """
        found: dict[str, int] = dict.fromkeys(self.course.answers, step)
        for stage in reversed(self.course.stages):
            own = found.get(stage.name)
            if own is None:
                continue
            own = self._making(stage.name, own)
            found[stage.name] = own
            row = self.made(stage.name, own)[0]
            for name in stage.inputs:
                need = max(0, stage.reaches[0].start(row, self.cells[name][0]))
                found[name] = min(found.get(name, own), self._step_of(name, need))
        return found

    def _making(self, name: str, step: int) -> int:
        """The first step from `step` on that makes rows of a map; `step` if none does."""
        for later in range(step, self.count):
            before, after = self.made(name, later)
            if after > before:
                return later
        return step

    def _step_of(self, name: str, row: int) -> int:
        """The step that makes a row of a map; the last that makes any, for rows beyond."""
        steps = range(self.first, self.count)
        place = bisect_right(steps, row, key=lambda step: self.done(step)[name])
        return steps[min(place, len(steps) - 1)]
