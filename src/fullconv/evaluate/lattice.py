"""Score maps on the pixels of an image, also where they are those of the image at another size.

The value of a cell belongs to the centre of its window, and pixel `i`, which covers `[i, i + 1)`,
has its centre at `i + 1/2`: in the scaled image at `(i + 1/2) * scaled / size`. Between the centres
of the windows values are interpolated bilinearly, beyond the outermost ones the nearest holds.
Places are worked out in whole numbers, so that nothing drifts however large the image is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.geometry import Box, Grid, Windows


@dataclass(frozen=True, slots=True)
class Lattice:
    """The windows along one axis of a scaled image, seen from the pixels of the image.

    Attributes:
        windows: of the scaled image, in its px.
        size: of the image, px.
        scaled: the size it was scaled to, px.
    """

    windows: Windows
    size: int
    scaled: int

    def neighbours(
        self, start: int, stop: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
        """For the pixels of `[start, stop)`: the cells centred before and after, how far between.

        Cell `k` is centred at `k * stride + window / 2` in the scaled image.
        """
        axis = self.windows
        unit = 2 * self.size * axis.stride  # from cell to cell, in parts of a scaled px
        first = axis.window * self.size  # the centre of the first cell
        lower, rest = np.divmod(self._centres(start, stop) - first, unit)
        weight = rest / unit
        weight[(lower < 0) | (lower >= axis.count - 1)] = 0
        lower = np.clip(lower, 0, axis.count - 1).astype(np.intp)
        return lower, np.minimum(lower + 1, axis.count - 1), weight

    def covered(self, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """For each pixel of `[start, stop)` whether its centre lies in a window."""
        axis = self.windows
        centres, part = self._centres(start, stop), 2 * self.size
        last = np.minimum(centres // (part * axis.stride), axis.count - 1)  # to begin before it
        inside: npt.NDArray[np.bool_] = centres - last * (part * axis.stride) < part * axis.window
        return inside

    def span(self, cell: int) -> tuple[int, int]:
        """The pixels that one cell's window touches, half-open."""
        start, stop = self.windows.span(cell)
        last = -(-stop * self.size // self.scaled)
        return start * self.size // self.scaled, min(self.size, last)

    def _centres(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """The centres of pixels in the scaled image, in parts of `1 / (2 * size)` px of it."""
        return (2 * np.arange(start, stop, dtype=np.int64) + 1) * self.scaled


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Values over an image, one for each window of the image at some size.

    Attributes:
        values: `(rows, cols)`.
        grid: where the windows are in the scaled image.
        scaled: the size to which the image was scaled, px; the grid's own, unless that is padded.
    """

    values: npt.NDArray[Any]
    grid: Grid
    scaled: tuple[int, ...]

    def over(self, size: tuple[int, ...]) -> tuple[Lattice, Lattice]:
        """Its rows and columns over the pixels of an image of `size` px."""
        rows, cols = lattices(self.grid, size, self.scaled)
        return rows, cols


def lattices(
    grid: Grid, size: tuple[int, ...], scaled: tuple[int, ...] | None = None
) -> tuple[Lattice, ...]:
    """The axes of a grid over the pixels of an image of `size` px, scaled to `scaled` px."""
    return tuple(map(Lattice, grid.axes, size, scaled or grid.size))


def place_of(grid: Grid, cell: Sequence[int], size: tuple[int, ...]) -> Box:
    """The box of pixels of an image of `size` px that a window of the scaled image touches."""
    axes = lattices(grid, size)
    spans = [axis.span(index) for axis, index in zip(axes, cell, strict=True)]
    return tuple(start for start, _ in spans) + tuple(stop for _, stop in spans)


def per_pixel(
    values: npt.NDArray[Any], rows: Lattice, cols: Lattice, start: int, stop: int
) -> npt.NDArray[np.float64]:
    """Values `(rows, cols)` at the centres of the pixels of rows `[start, stop)` of an image.

    Returns `(stop - start, W)`, where W is the width of the image.
    """
    lower, upper, weight = rows.neighbours(start, stop)
    first = int(lower[0])
    near = np.asarray(values[first : int(upper[-1]) + 1], dtype=np.float64)
    above = near[lower - first]  # (stop - start, cols)
    lines = above + (near[upper - first] - above) * weight[:, None]
    lower, upper, weight = cols.neighbours(0, cols.size)
    left = lines[:, lower]  # (stop - start, W)
    result: npt.NDArray[np.float64] = lines[:, upper]
    result -= left
    result *= weight
    result += left
    return result


def fused(
    layers: Sequence[Layer], size: tuple[int, ...], start: int, stop: int
) -> npt.NDArray[np.float64]:
    """The mean of layers at the pixels of rows `[start, stop)` of an image of `size` px.

    Returns `(stop - start, W)`. A layer takes part at the pixels whose centre lies in one of its
    windows; where none does, the mean is NaN.
    """
    total = np.zeros((stop - start, size[1]))
    count = np.zeros(total.shape, np.int32)
    for layer in layers:
        rows, cols = layer.over(size)
        inside = np.logical_and.outer(rows.covered(start, stop), cols.covered(0, size[1]))
        np.add(total, per_pixel(layer.values, rows, cols, start, stop), out=total, where=inside)
        count += inside
    total[count == 0] = np.nan
    return np.divide(total, count, out=total, where=count > 1)
