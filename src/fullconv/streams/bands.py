"""Bands: columns of the score map that are made by themselves, and what of every map they need."""

from __future__ import annotations

from dataclasses import dataclass

from fullconv.streams.course import Cells, Course

Span = tuple[int, int]


@dataclass(frozen=True)
class Band:
    """A half-open range of columns, of the answers' second axis.

    Attributes:
        start, stop: the columns; (0, 1) where there is no second axis.
        spans: for every map, what it needs along every axis but the first.
    """

    start: int
    stop: int
    spans: dict[str, tuple[Span, ...]]


def band(course: Course, size: Cells, cells: dict[str, Cells], start: int, stop: int) -> Band:
    """The band of columns `start` to `stop` of a score map on an image of `size` px."""
    spans: dict[str, list[Span]] = {stage.name: [] for stage in course.stages}
    for axis in range(1, len(size)):
        low, high = (start, stop) if axis == 1 else (0, cells[course.answers[0]][axis])
        starts = course.starts(axis, low, cells)
        stops = course.stops(axis, high, cells)
        for stage in course.stages:
            spans[stage.name].append((starts.get(stage.name, 0), max(0, stops.get(stage.name, 0))))
    return Band(start, stop, {name: tuple(found) for name, found in spans.items()})
