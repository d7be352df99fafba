"""A map and the same ever coarser, each level half the one before, as arrays of zarr."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fullconv.storage.maps.exports.channels import Channels
from fullconv.storage.maps.exports.given import BUDGET, pieces

if TYPE_CHECKING:
    import zarr

TILE = 256
"""Cells along the sides of the parts in which levels are stored."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pyramid:
    """The levels, `(K, rows, cols)` float32 each, the finest first.

    Attributes:
        levels: of level `l` every cell stands for up to 2ˡ × 2ˡ cells of the map.
        low, high: the smallest and largest score of each channel; NaN for one without any.
    """

    levels: tuple[zarr.Array[Any], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def shapes(rows: int, cols: int, tile: int = TILE) -> tuple[tuple[int, int], ...]:
    """Rows and columns of each level, halved and rounded up until one tile holds it."""
    found = [(rows, cols)]
    while max(found[-1]) > tile:
        rows, cols = -(-rows // 2), -(-cols // 2)
        found.append((rows, cols))
    return tuple(found)


def build(group: zarr.Group, channels: Channels) -> Pyramid:
    """Write the levels into a group as arrays "0", "1", …, one after the other."""
    rows, cols, _ = channels.given.shape
    levels = tuple(
        group.create_array(
            str(level),
            shape=(len(channels), *shape),
            chunks=(1, min(TILE, shape[0]), min(TILE, shape[1])),
            dtype="float32",
            fill_value=np.nan,
            dimension_names=("c", "y", "x"),
        )
        for level, shape in enumerate(shapes(rows, cols))
    )
    low, high = np.full((2, len(channels)), np.nan, np.float32)
    for (top, bottom), (left, right) in pieces(rows, cols, channels.width, tile=TILE):
        block = channels.read((top, bottom), (left, right))
        block = np.ascontiguousarray(np.moveaxis(block, 2, 0))  # (K, rows, cols)
        low = np.fmin(low, np.fmin.reduce(block, (1, 2)))
        high = np.fmax(high, np.fmax.reduce(block, (1, 2)))
        levels[0][:, top:bottom, left:right] = block
    for finer, coarser in zip(levels, levels[1:], strict=False):
        _reduce(finer, coarser)
    return Pyramid(levels, tuple(map(float, low)), tuple(map(float, high)))


def _reduce(finer: zarr.Array[Any], coarser: zarr.Array[Any]) -> None:
    """Fill a level from the one before, a channel at a time."""
    count, rows, cols = coarser.shape
    for channel in range(count):
        # Five numbers a cell: the four it is made of, and itself.
        for (top, bottom), (left, right) in pieces(rows, cols, 5, tile=TILE):
            block = np.asarray(finer[channel, 2 * top : 2 * bottom, 2 * left : 2 * right])
            coarser[channel, top:bottom, left:right] = halved(block)


def halved(block: Floats) -> Floats:
    """The mean of every 2×2 cells, of those that have a score; NaN where none has.

    At the end of an odd side it is that of the two cells, or the one, that are left.
    """
    rows, cols = block.shape
    even = np.pad(block, ((0, rows % 2), (0, cols % 2)), constant_values=np.nan)
    quads = even.reshape((rows + 1) // 2, 2, (cols + 1) // 2, 2)
    there = ~np.isnan(quads)
    count = there.sum((1, 3))
    total = np.where(there, quads, 0).sum((1, 3), dtype=np.float64)
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return means.astype(np.float32)


def tiles(level: zarr.Array[Any], tile: int = TILE) -> Iterator[Floats]:
    """The tiles of a level, channel by channel and row by row; NaN beyond its borders."""
    count, rows, cols = level.shape
    for channel in range(count):
        wide = max(1, BUDGET // (4 * tile * tile)) * tile
        for top in range(0, rows, tile):
            for start in range(0, cols, wide):
                band = np.asarray(level[channel, top : top + tile, start : start + wide])
                for left in range(0, band.shape[1], tile):
                    part = band[:, left : left + tile]
                    whole = np.full((tile, tile), np.nan, np.float32)
                    whole[: part.shape[0], : part.shape[1]] = part
                    yield whole
