"""What a schedule costs: bytes alive at once, rows kept, multiply-accumulates; counted, not run."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fullconv.streams.bands import Band
from fullconv.streams.course import Stage
from fullconv.streams.places import places
from fullconv.streams.schedule import Schedule

SAMPLED = 48
"""Steps looked at beside the first and the last: rows repeat from some step on."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one band takes.

    Attributes:
        bytes: the most alive at once, image and answers of the step included, weights not.
        macs: multiply-accumulates of all steps.
        kept: for every map, the most rows kept from one step to the next.
        rows: for every map, the most rows made in a step.
    """

    bytes: int
    macs: float
    kept: dict[str, int]
    rows: dict[str, int]


def macs_of(schedule: Schedule, band: Band) -> float:
    """Multiply-accumulates of all steps of a band, for one image."""
    last = schedule.done(schedule.count - 1)
    return sum(
        stage.macs * max(0, last.get(stage.name, 0)) * _width(band, stage.name)
        for stage in schedule.course.stages
    )


def cost(schedule: Schedule, band: Band, images: int = 1) -> Cost:
    """The cost of a band, with `images` images in the batch."""
    course, readers = schedule.course, schedule.course.readers()
    area = {s.name: _width(band, s.name) * s.cell * images for s in course.stages}
    frees = course.read_last()
    kept = dict.fromkeys(course.by_name, 0)
    rows = dict.fromkeys(course.by_name, 0)
    most = 0
    for step in _sampled(schedule):
        before, after = schedule.done(step - 1), schedule.done(step)
        held = {
            name: max(0, before[name]) - schedule.needed(name, readers[name], step - 1)
            for name in course.by_name
        }
        alive = sum(count * area[name] for name, count in held.items())
        for stage in course.stages:
            first, last = max(0, before[stage.name]), max(0, after[stage.name])
            made = last - first
            if made:
                beside = stage.fixed + stage.per_cell * images * made * _width(band, stage.name)
                copied = _copied(schedule, band, stage, step, area)
                alive += made * area[stage.name]
                most = max(most, alive + copied + beside)
                held[stage.name] += made
                rows[stage.name] = max(rows[stage.name], made)
            for name in frees.get(stage.name, ()):
                left = max(0, after[name]) - schedule.needed(name, readers[name], step)
                alive -= (held[name] - left) * area[name]
                held[name] = left
        for name, count in held.items():
            if name not in course.answers:
                kept[name] = max(kept[name], count)
    return Cost(most, images * macs_of(schedule, band), kept, rows)


def _copied(schedule: Schedule, band: Band, stage: Stage, step: int, area: dict[str, int]) -> int:
    """Bytes of the largest piece that must be put together, or padded, to make a stage."""
    most = 0
    for rows in schedule.pieces(stage.name, step) if stage.inputs else ():
        where = places(stage, (rows, *band.spans[stage.name]), schedule.cells)
        low, high = where[0].wanted
        for name in dict.fromkeys(stage.inputs):
            together = schedule.pieces(name, step)
            in_one = any(first <= low and high <= last for first, last in together)
            if in_one and not any(place.pads for place in where):
                continue  # a view
            length = prod(max(0, stop - start) for start, stop in (p.wanted for p in where))
            most = max(most, length * -(-area[name] // max(1, _width(band, name))))
    return most


def _sampled(schedule: Schedule) -> list[int]:
    """Steps that show what all steps hold: the first, the last, and some between."""
    first, end = schedule.first, schedule.count
    early = range(first, min(first + SAMPLED, end))
    late = range(max(first, end - 4), end)
    between = range(first, end, max(1, (end - first) // SAMPLED))
    return sorted({*early, *between, *late})


def _width(band: Band, name: str) -> int:
    """Cells of one row of a map in a band."""
    return prod(stop - start for start, stop in band.spans[name])
