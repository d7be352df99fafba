"""Where values reach a threshold: the connected regions of their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

from fullconv.errors import UsageError


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels whose values reach a threshold and that hang together by their sides.

    Attributes:
        box: the smallest that holds them, half-open `(top, left, bottom, right)`, px.
        area: how many they are.
        peak: their highest value.
        mean: the mean of their values.
        place: `(row, column)` of the pixel with the highest value, the first in reading order.
    """

    box: tuple[int, int, int, int]
    area: int
    peak: float
    mean: float
    place: tuple[int, int]


def check_threshold(threshold: float) -> None:
    """Raise UsageError for a threshold that no probability is measured against."""
    if not (isinstance(threshold, Real) and 0 < threshold <= 1):
        raise UsageError(
            f"threshold={threshold} must lie above 0 and be at most 1.",
            why="It is a probability: every pixel reaches 0, and none exceeds 1.",
        )


def regions_of(values: npt.NDArray[Any], threshold: float) -> tuple[Region, ...]:
    """The regions where values `(H, W)` reach a threshold, the highest peak first.

    NaN reaches none. Pixels that touch by a corner only are not connected.
    """
    with np.errstate(invalid="ignore"):
        labels, count = ndimage.label(values >= threshold)
    if not count:
        return ()
    found = []
    for label, slices in enumerate(ndimage.find_objects(labels), start=1):
        rows, cols = slices
        inside = labels[slices] == label
        own = values[slices]
        highest = int(np.where(inside, own, -np.inf).argmax())
        row, col = divmod(highest, inside.shape[1])
        found.append(
            Region(
                box=(rows.start, cols.start, rows.stop, cols.stop),
                area=int(inside.sum()),
                peak=float(own[row, col]),
                mean=float(own[inside].mean(dtype=np.float64)),
                place=(rows.start + row, cols.start + col),
            )
        )
    return tuple(sorted(found, key=lambda region: (-region.peak, region.place)))
