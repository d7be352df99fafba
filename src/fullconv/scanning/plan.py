"""How an image will be scanned, as a value that is known before any pixel is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from fullconv.api.machine import written_bytes
from fullconv.errors import InputError, UsageError
from fullconv.geometry import times
from fullconv.streams.bands import Band, band
from fullconv.streams.cost import Cost, cost, macs_of
from fullconv.streams.course import Course
from fullconv.streams.schedule import Schedule
from fullconv.tables import table

TALL = 256
"""Px of the image that a strip need not exceed: taller ones are no faster (`benchmarks/`)."""
LOW = 128
"""Px below which bands are made narrower rather than strips lower."""
CHUNK = 2**24
"""Bytes of scores written at a time, at most, where one strip has fewer."""


@dataclass(frozen=True)
class ScanPlan:
    """The strips and bands of a scan; prints as a table.

    Attributes:
        course: what the network needs of what.
        size: of the image, px.
        grid: cells of the score map.
        stride: px between cells.
        height: rows of the score map that one step makes.
        steps: steps whose rows are written together: a chunk has `steps * height` rows.
        width: columns of the score map in a band; the last may have fewer.
        images: in the batch.
        bytes: the most alive at once, weights and what the process had before not counted.
        macs: multiply-accumulates of the whole scan.
        needed: multiply-accumulates of one pass over the whole image.
    """

    course: Course
    size: tuple[int, ...]
    grid: tuple[int, ...]
    stride: tuple[int, ...]
    height: int
    steps: int
    width: int
    images: int
    bytes: int
    macs: float
    needed: float

    @cached_property
    def schedule(self) -> Schedule:
        """The steps of every band."""
        return Schedule(self.course, self.size, self.height, self.grid[0])

    @property
    def columns(self) -> int:
        """Columns of the score map: cells of the second axis, 1 if there is none."""
        return self.grid[1] if len(self.grid) > 1 else 1

    @property
    def bands(self) -> int:
        """How many bands there are."""
        return -(-self.columns // self.width)

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns that are written together."""
        return min(self.steps * self.height, self.grid[0]), self.width

    @property
    def chunks(self) -> tuple[int, int]:
        """How many chunks there are: down, and across."""
        return -(-self.grid[0] // self.chunk[0]), self.bands

    @property
    def ratio(self) -> float:
        """Multiply-accumulates done for each that is needed: 1 where nothing is made twice."""
        return self.macs / self.needed if self.needed else 1.0

    def band(self, number: int) -> Band:
        """One of the bands."""
        start = number * self.width
        stop = min(start + self.width, self.columns)
        return band(self.course, self.size, self.schedule.cells, start, stop)

    def cost(self) -> Cost:
        """What the widest band takes, with the rows kept of every map."""
        found = self.band(0 if self.bands < 3 else 1)
        return cost(self.schedule, found, self.images)

    def summary(self) -> list[tuple[str, str]]:
        """The facts as (name, value) pairs for people."""
        tall = self.height * self.stride[0]
        down, across = self.chunks
        return [
            ("image", f"{times(self.size)} px"),
            ("score map", f"{times(self.grid)} cells, {times(self.stride)} px apart"),
            ("strips", f"{self.schedule.count:,} of {_count(self.height, 'row')} ({tall:,} px)"),
            ("bands", f"{across:,}" + ("" if across == 1 else f" of {self.width:,} columns")),
            ("written", f"{down * across:,} chunks of {times(self.chunk)} cells"),
            ("memory", f"{written_bytes(self.bytes)} beside the weights"),
            ("arithmetic", f"{self.macs / 1e12:.3g} TMAC, {self.ratio:.3f} × one pass"),
        ]

    def __str__(self) -> str:
        return table((), self.summary())

    def layers(self) -> list[tuple[str, int, int, int]]:
        """For every map where it is, rows kept, rows made in a step, and bytes of a row."""
        found, widest = self.cost(), self.band(0)
        rows = []
        for stage in self.course.stages:
            width = prod(stop - start for start, stop in widest.spans[stage.name])
            row = width * stage.cell * self.images
            rows.append((stage.where, found.kept[stage.name], found.rows[stage.name], row))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-serialisable values."""
        names = ("size", "grid", "stride", "height", "steps", "width", "bytes", "macs", "needed")
        found = {name: getattr(self, name) for name in names}
        more = {"strips": self.schedule.count, "bands": self.bands, "chunk": self.chunk}
        layers = [
            {"where": where, "rows_kept": kept, "rows_made": made, "bytes_of_a_row": row}
            for where, kept, made, row in self.layers()
        ]
        return {**found, **more, "ratio": self.ratio, "layers": layers}


def make_plan(
    course: Course,
    size: tuple[int, ...],
    grid: tuple[int, ...],
    stride: tuple[int, ...],
    budget: int,
    *,
    score: int,
    images: int = 1,
    height: int | None = None,
    width: int | None = None,
) -> ScanPlan:
    """The plan that fits into `budget` bytes with the fewest bands, and strips as tall as help.

    Args:
        course: of the network.
        size: of the image, px.
        grid: cells of the score map.
        stride: px between cells.
        budget: bytes that maps may take.
        score: bytes of what is written of a cell.
        images: in the batch.
        height: rows of the score map in a strip, instead of as many as help.
        width: columns of the score map in a band, instead of as many as fit.

    Raises InputError if not even one cell fits, UsageError for a height or width below 1.
    """
    if any(given is not None and given < 1 for given in (height, width)):
        raise UsageError("strips and bands have at least one row and one column.")
    columns = grid[1] if len(grid) > 1 else 1
    least = _bytes(course, size, grid, height or 1, width or 1, images)
    last: tuple[int, int, int] | None = None
    for wide in () if least > budget else [min(width, columns)] if width else _widths(columns):
        found = _tallest(course, size, grid, stride, wide, budget, images, height)
        if found is None:
            continue
        tall, need = found
        last = (tall, wide, need)
        if tall * stride[0] >= min(LOW, size[0]) or tall >= grid[0] or height or width:
            break
    if last is None:
        raise InputError(
            f"scanning takes at least {written_bytes(least)} beside the weights, and "
            f"{written_bytes(max(0, budget))} is left for it.",
            hint="Allow more memory (max_memory, --max-memory), or free some.",
        )
    tall, wide, need = last
    row = max(1, wide * score * tall)
    steps = max(1, min(CHUNK // row, -(-grid[0] // tall)))
    plan = ScanPlan(course, size, grid, stride, tall, steps, wide, images, need, 0.0, 0.0)
    macs = images * sum(macs_of(plan.schedule, plan.band(k)) for k in range(plan.bands))
    whole = images * course.macs(plan.schedule.cells)
    return ScanPlan(course, size, grid, stride, tall, steps, wide, images, need, macs, whole)


def _widths(columns: int) -> Iterator[int]:
    """Widths of 1, 2, 3 … equal bands."""
    before, count = 0, 1
    while before != 1:
        wide = -(-columns // count)
        if wide != before:
            yield wide
        before, count = wide, count + max(1, count // 8)


def _tallest(
    course: Course,
    size: tuple[int, ...],
    grid: tuple[int, ...],
    stride: tuple[int, ...],
    wide: int,
    budget: int,
    images: int,
    height: int | None,
) -> tuple[int, int] | None:
    """The tallest strip that helps and fits in bands of `wide` columns, and its bytes."""
    tallest = height or max(1, min(grid[0], TALL // stride[0]))
    least = height or 1
    need = _bytes(course, size, grid, least, wide, images)
    if need > budget:
        return None
    while least < tallest:
        tall = (least + tallest + 1) // 2
        more = _bytes(course, size, grid, tall, wide, images)
        if more <= budget:
            least, need = tall, more
        else:
            tallest = tall - 1
    return least, need


def _bytes(
    course: Course,
    size: tuple[int, ...],
    grid: tuple[int, ...],
    tall: int,
    wide: int,
    images: int,
) -> int:
    """The most bytes alive in a band, one with neighbours on both sides if there is one."""
    schedule = Schedule(course, size, tall, grid[0])
    columns = grid[1] if len(grid) > 1 else 1
    start = min(wide, max(0, columns - wide))
    found = band(course, size, schedule.cells, start, min(start + wide, columns))
    return cost(schedule, found, images).bytes


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
