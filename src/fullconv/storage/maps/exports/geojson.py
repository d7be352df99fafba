"""GeoJSON: connected areas of cells as polygons, in px of level 0, as QuPath reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fullconv.errors import UsageError
from fullconv.storage.class_colors import class_color8
from fullconv.storage.files import atomic
from fullconv.storage.maps.exports.areas import NONE, Area, Tracer
from fullconv.storage.maps.exports.channels import Channel
from fullconv.storage.maps.exports.given import BUDGET, Array, GivenMap
from fullconv.storage.maps.exports.placement import Placement, number
from fullconv.storage.maps.exports.rings import Ring

BAND = 64  # rows that are read at a time

def write(
    given: GivenMap, path: Path, channels: Sequence[Channel], *, threshold: float | None = None
) -> dict[str, Any]:
    """Write the areas of these classes; what is said of them.

    Without a threshold: of the cells in which a class has the highest value of all that the map
    holds. With one: of those in which its value reaches it; areas of different classes may then
    overlap. Cells without a score are in no area.

    Raises UsageError for a threshold that is no number, or a map of one class without one.
    """
    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"threshold={threshold} is no number.")
    if threshold is None and given.shape[2] == 1:
        raise UsageError(
            "the map holds one class, which wins everywhere.",
            hint="Give a threshold: areas where its value reaches it are then written.",
        )
    outline = _Outline(Placement.of(given.about))
    counts = dict.fromkeys((channel.name for channel in channels), 0)
    with atomic(path) as part, part.open("w", encoding="ascii", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        before = "\n"
        for channel, area in _areas(given, channels, threshold):
            feature = outline.feature(area, channel, given.about.values)
            file.write(before + json.dumps(feature, allow_nan=False))
            before = ",\n"
            counts[channel.name] += 1
        file.write("\n]}\n")
    return {"polygons": sum(counts.values()), "polygons_of": counts}


def _areas(
    given: GivenMap, channels: Sequence[Channel], threshold: float | None
) -> Iterator[tuple[Channel, Area]]:
    """The areas, each when the row below its last one was read."""
    if threshold is None:
        found = _winning(given, channels)
    else:
        found = _reaching(given, [channel.place for channel in channels], threshold)
    for area in found:
        yield channels[area.label], area


def _winning(given: GivenMap, channels: Sequence[Channel]) -> Iterator[Area]:
    """Of cells in which one of these classes is the highest; labels are places in `channels`."""
    asked = np.full(given.shape[2], NONE, np.int64)
    asked[[channel.place for channel in channels]] = np.arange(len(channels))
    tracer = Tracer()
    for labels, values in _rows(given, BAND, partial(_winners, asked=asked)):
        yield from tracer.feed(labels, values)
    yield from tracer.close()


def _winners(scores: Array, asked: Array) -> tuple[Array, Array]:
    """Label and value of each cell of `(rows, cols, K)`."""
    blank = np.isnan(scores)
    filled = np.where(blank, -np.inf, scores)
    winner = filled.argmax(2)
    values = np.take_along_axis(filled, winner[..., None], 2)[..., 0]
    return np.where(blank.all(2), NONE, asked[winner]), values


def _reaching(given: GivenMap, places: list[int], threshold: float) -> Iterator[Area]:
    """Of cells in which a class reaches the threshold; each class is traced on its own."""
    tracers: dict[int, Tracer] = {}
    height = max(1, min(BAND, BUDGET // (4 * given.shape[1] * len(places))))
    rows = _rows(given, height, lambda scores: (scores[..., places],))
    for row, (scores,) in enumerate(rows):
        reached = scores >= threshold  # (cols, k); NaN reaches nothing
        there = set(np.flatnonzero(reached.any(0)).tolist())
        for label in sorted(there | set(tracers)):
            tracer = tracers.setdefault(label, Tracer(row))
            labels = np.where(reached[:, label], label, NONE)
            yield from tracer.feed(labels, scores[:, label])
            if tracer.idle:
                del tracers[label]
    for label in sorted(tracers):
        yield from tracers[label].close()


def _rows(
    given: GivenMap, height: int, pick: Callable[[Array], tuple[Array, ...]]
) -> Iterator[tuple[Array, ...]]:
    """Row for row what `pick` makes of the scores `(rows, cols, K)`, `height` rows at a time."""
    rows, cols, count = given.shape
    wide = max(1, BUDGET // (4 * count * height))
    for top in range(0, rows, height):
        bottom = min(top + height, rows)
        parts = [
            pick(np.asarray(given.read((top, bottom), (left, min(left + wide, cols))), np.float32))
            for left in range(0, cols, wide)
        ]
        bands = [np.concatenate(band, axis=1) for band in zip(*parts, strict=True)]
        yield from zip(*bands, strict=True)


class _Outline:
    """Areas of cells as features, in level-0 px."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._known: tuple[dict[int, int | float], ...] = ({}, {})

    def feature(self, area: Area, channel: Channel, values: str) -> dict[str, Any]:
        """The polygon with its class and what was measured of it."""
        tall, wide = self._placement.step
        pixels = area.cells * tall * wide
        measured: dict[str, Any] = {"Cells": area.cells, "Area px^2": number(pixels)}
        if self._placement.mpp is not None:
            down, right = self._placement.mpp
            measured["Area µm^2"] = float(pixels * down * right)
        kind = "probability" if values == "probabilities" else "score"
        measured |= {f"Mean {kind}": area.mean, f"Max {kind}": area.highest}
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": list(map(self._closed, area.rings))},
            "properties": {
                "objectType": "annotation",
                "classification": {
                    "name": channel.name,
                    "color": list(class_color8(channel.number)),
                },
                "measurements": {
                    name: value for name, value in measured.items() if math.isfinite(value)
                },
            },
        }

    def _closed(self, ring: Ring) -> list[list[int | float]]:
        """A ring as GeoJSON has it: x and y, the first corner again at the end."""
        return [[self._at(1, col), self._at(0, row)] for row, col in [*ring, ring[0]]]

    def _at(self, axis: int, cell: int) -> int | float:
        known = self._known[axis]
        if cell not in known:
            known[cell] = number(self._placement.edge(axis, cell))
        return known[cell]
