"""GeoJSON: connected areas of cells as polygons, in px of level 0, as QuPath reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fullconv.errors import UsageError
from fullconv.storage.class_colors import class_color8
from fullconv.storage.files import atomic
from fullconv.storage.maps.exports.areas import NONE, Area, Tracer
from fullconv.storage.maps.exports.channels import Channel, Channels
from fullconv.storage.maps.exports.given import BUDGET, Array, Span
from fullconv.storage.maps.exports.placement import Placement, number
from fullconv.storage.maps.exports.rings import Ring

BAND = 64  # rows that are read at a time


def write(channels: Channels, path: Path, *, threshold: float | None = None) -> dict[str, Any]:
    """Write the areas of these classes; what is said of them.

    Without a threshold: of the cells in which a class has the highest value of all that the map
    holds. With one: of those in which its value reaches it; areas of different classes may then
    overlap. Cells without a score are in no area.

    Raises UsageError for a threshold that is no number, or a map of one class without one.
    """
    about = channels.given.about
    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"threshold={threshold} is no number.")
    if threshold is None and len(channels.given.numbers) == 1:
        raise UsageError(
            "the map holds one class, which wins everywhere.",
            hint="Give a threshold: areas where its value reaches it are then written.",
        )
    outline = _Outline(Placement.of(about))
    found = _winning(channels) if threshold is None else _reaching(channels, threshold)
    listed = channels.listed
    counts: dict[str, int] = {}
    with atomic(path) as part, part.open("w", encoding="ascii", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        before = "\n"
        for area in found:
            channel = listed[area.label]
            feature = outline.feature(area, channel, about.values)
            file.write(before + json.dumps(feature, allow_nan=False))
            before = ",\n"
            counts[channel.name] = counts.get(channel.name, 0) + 1
        file.write("\n]}\n")
    return {"threshold": threshold, "polygons": sum(counts.values()), "polygons_of": counts}


def _winning(channels: Channels) -> Iterator[Area]:
    """Areas of cells in which one of these classes is the highest."""
    tracer = Tracer()
    for labels, values in _rows(channels, BAND, channels.winners):
        yield from tracer.feed(labels, values)
    yield from tracer.close()


def _reaching(channels: Channels, threshold: float) -> Iterator[Area]:
    """Areas of cells in which a class reaches the threshold; each class is traced on its own."""
    tracers: dict[int, Tracer] = {}
    height = max(1, min(BAND, BUDGET // (4 * channels.given.shape[1] * channels.width)))
    rows = _rows(channels, height, lambda *spans: (channels.read(*spans),))
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
    channels: Channels, height: int, read: Callable[[Span, Span], tuple[Array, ...]]
) -> Iterator[tuple[Array, ...]]:
    """Row for row what is read of the map, `height` rows at a time."""
    rows, cols, _ = channels.given.shape
    wide = max(1, BUDGET // (4 * channels.width * height))
    for top in range(0, rows, height):
        bottom = min(top + height, rows)
        spans = [(left, min(left + wide, cols)) for left in range(0, cols, wide)]
        parts = [read((top, bottom), span) for span in spans]
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
