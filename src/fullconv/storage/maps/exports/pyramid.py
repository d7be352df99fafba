"""A map and the same ever coarser, each level half the one before, as arrays of zarr."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fullconv.storage.maps.exports.channels import Channels
from fullconv.storage.maps.exports.given import BUDGET, Span, pieces

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
        low, high: the smallest and largest finite score of each channel; NaN for one without any.
    """

    levels: tuple[zarr.Array[Any], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class _Folder:
    """A group of zarr in a folder, of which the files are written here.

    zarr would write them in threads that go on after one of them has failed, so that nobody could
    clean up after them. It compresses them in memory instead.
    """

    def __init__(self, path: Path) -> None:
        import zarr
        from zarr.storage import MemoryStore

        self.path = path
        self._made: dict[str, Any] = {}
        self._group = zarr.create_group(MemoryStore(self._made), zarr_format=3)
        self._arrays: list[zarr.Array[Any]] = []
        self._put()

    def add(self, shape: tuple[int, int, int]) -> None:
        """One more array, named by its number."""
        array = self._group.create_array(
            str(len(self._arrays)),
            shape=shape,
            chunks=(1, min(TILE, shape[1]), min(TILE, shape[2])),
            dtype="float32",
            fill_value=np.nan,
            dimension_names=("c", "y", "x"),
        )
        self._arrays.append(array)
        self._put()

    def write(self, level: int, channels: slice, rows: Span, cols: Span, block: Floats) -> None:
        """Write whole tiles of an array."""
        self._arrays[level][channels, slice(*rows), slice(*cols)] = block
        self._put()

    def opened(self, level: int) -> zarr.Array[Any]:
        """An array to be read."""
        import zarr

        return zarr.open_array(str(self.path / str(level)), mode="r", zarr_format=3)

    def _put(self) -> None:
        for key in list(self._made):
            file = self.path / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self._made.pop(key).to_bytes())


def shapes(rows: int, cols: int, tile: int = TILE) -> tuple[tuple[int, int], ...]:
    """Rows and columns of each level, halved and rounded up until one tile holds it."""
    found = [(rows, cols)]
    while max(found[-1]) > tile:
        rows, cols = -(-rows // 2), -(-cols // 2)
        found.append((rows, cols))
    return tuple(found)


def build(path: Path, channels: Channels) -> Pyramid:
    """Write the levels into a folder as arrays "0", "1", … of a group of zarr."""
    rows, cols, _ = channels.given.shape
    folder, sizes = _Folder(path), shapes(rows, cols)
    for size in sizes:
        folder.add((len(channels), *size))
    low, high = np.full((2, len(channels)), np.nan, np.float32)
    for down, across in pieces(rows, cols, channels.width, tile=TILE):
        block = channels.read(down, across)
        block = np.ascontiguousarray(np.moveaxis(block, 2, 0))  # (K, rows, cols)
        known = np.isfinite(block)
        low = np.fmin(low, np.fmin.reduce(block, (1, 2), where=known, initial=np.nan))
        high = np.fmax(high, np.fmax.reduce(block, (1, 2), where=known, initial=np.nan))
        folder.write(0, slice(None), down, across, block)
    for level, size in enumerate(sizes[1:], 1):
        finer = folder.opened(level - 1)
        for channel in range(len(channels)):
            # Five numbers a cell: the four it is made of, and itself.
            for down, across in pieces(*size, 5, tile=TILE):
                part = finer[channel, slice(*_doubled(down)), slice(*_doubled(across))]
                block = halved(np.asarray(part))
                folder.write(level, slice(channel, channel + 1), down, across, block[None])
    levels = tuple(map(folder.opened, range(len(sizes))))
    return Pyramid(levels, tuple(map(float, low)), tuple(map(float, high)))


def _doubled(span: Span) -> Span:
    return 2 * span[0], 2 * span[1]


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
    means: npt.NDArray[np.float64] = np.full(total.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
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
