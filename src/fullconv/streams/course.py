"""The course of an image through a network: what is computed from what, and how many cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from fullconv.streams.reach import Reach

Cells = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `((pixels + slack) // stride) * factor + more` cells on an image of `pixels` px."""

    stride: int
    slack: int
    factor: int = 1
    more: int = 0

    def count(self, pixels: int) -> int:
        """The limit itself."""
        return (pixels + self.slack) // self.stride * self.factor + self.more


@dataclass(frozen=True, slots=True)
class Stage:
    """One map on the way, and what of other maps a cell of it needs.

    Attributes:
        name: unique in its course.
        inputs: the maps it is made of, none for the image; all through the same reaches.
        reaches: per axis.
        limits: per axis the most cells that are kept, or None.
        cell: bytes of a cell, for one image.
        macs: multiply-accumulates for a cell, for one image.
        fixed: bytes taken beside, whatever the size.
        per_cell: bytes taken beside for each output cell, for one image.
        pads: per axis the padding, alike on both sides, that the op can do itself; 0 for none.
        where: the stage for people.
    """

    name: str
    inputs: tuple[str, ...] = ()
    reaches: tuple[Reach, ...] = ()
    limits: tuple[Limit | None, ...] = ()
    cell: int = 0
    macs: float = 0
    fixed: int = 0
    per_cell: int = 0
    pads: tuple[int, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """All stages in the order of computation: the image first; `answers` are what is wanted."""

    stages: tuple[Stage, ...]
    answers: tuple[str, ...]
    by_name: dict[str, Stage] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {stage.name: stage for stage in self.stages})
        seen: set[str] = set()
        for stage in self.stages:
            if stage.name in seen or set(stage.inputs) - seen:
                raise AssertionError(f"stage {stage.name} is out of order")
            seen.add(stage.name)
        if self.stages[0].inputs or not set(self.answers) <= seen:
            raise AssertionError("a course begins with the image and ends in its answers")

    @property
    def image(self) -> Stage:
        """The image itself."""
        return self.stages[0]

    def readers(self) -> dict[str, tuple[Stage, ...]]:
        """For every stage those that need it, in order."""
        table: dict[str, list[Stage]] = {stage.name: [] for stage in self.stages}
        for stage in self.stages:
            for name in dict.fromkeys(stage.inputs):
                table[name].append(stage)
        return {name: tuple(stages) for name, stages in table.items()}

    def read_last(self) -> dict[str, tuple[str, ...]]:
        """For every stage the maps that it is the last to need; answers are not among them."""
        table: dict[str, list[str]] = {}
        for name, readers in self.readers().items():
            if readers and name not in self.answers:
                table.setdefault(readers[-1].name, []).append(name)
        return {name: tuple(maps) for name, maps in table.items()}

    def cells(self, size: Cells) -> dict[str, Cells]:
        """Cells per axis of every stage on an image of `size` px."""
        found: dict[str, Cells] = {self.image.name: tuple(size)}
        for stage in self.stages[1:]:
            counts = []
            for axis, reach in enumerate(stage.reaches):
                count = min(reach.count(found[name][axis]) for name in stage.inputs)
                limit = stage.limits[axis] if stage.limits else None
                counts.append(count if limit is None else min(count, limit.count(size[axis])))
            found[stage.name] = tuple(counts)
        return found

    def stops(self, axis: int, stop: int, cells: Mapping[str, Cells]) -> dict[str, int]:
        """Up to which cell every stage must be there so that answers are there up to `stop`.

        At most the cells it has. Zero or less where none need be there yet; `stop` itself may be
        negative: rows above the first, with which the first strips begin.
        """
        needed: dict[str, int] = dict.fromkeys(self.answers, stop)
        for stage in reversed(self.stages):
            own = needed.get(stage.name)
            if own is None:
                continue
            own = needed[stage.name] = min(own, cells[stage.name][axis])
            for name in stage.inputs:
                reached = stage.reaches[axis].stop(own, cells[name][axis])
                needed[name] = max(needed.get(name, reached), reached)
        return needed

    def starts(self, axis: int, start: int, cells: Mapping[str, Cells]) -> dict[str, int]:
        """From which cell on every stage is needed by answers from `start` on."""
        needed: dict[str, int] = dict.fromkeys(self.answers, start)
        for stage in reversed(self.stages):
            own = needed.get(stage.name)
            if own is None:
                continue
            own = needed[stage.name] = max(0, own)
            for name in stage.inputs:
                reached = stage.reaches[axis].start(own, cells[name][axis])
                needed[name] = min(needed.get(name, reached), reached)
        return needed

    def macs(self, cells: Mapping[str, Cells]) -> float:
        """Multiply-accumulates of all stages on maps of `cells`, for one image."""
        return sum(stage.macs * prod(cells[stage.name]) for stage in self.stages)
