"""A score map painted over its image, each score where its window is.

The value of a cell belongs to the centre of its window, and pixel `i`, which covers `[i, i + 1)`,
has its centre at `i + 0.5`. Between the centres scores are interpolated bilinearly, beyond the
outermost ones the nearest holds. Places are worked out in whole numbers, so that nothing drifts
however large the image is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from fullconv.errors import InputError, UsageError
from fullconv.evaluate.pictures.colors import colors
from fullconv.evaluate.pictures.figure import Scale, framed
from fullconv.geometry import Grid, Windows, times

LEVELS = 1024  # shades of the tint; 8-bit pixels cannot show more
FAINTEST = 0.15  # part of the opacity that is left at the lowest score
BLOCK = 1 << 18  # px painted at a time


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """A picture of a score map.

    Attributes:
        picture: RGB; the tinted image at its own pixel scale, a title and a colour bar around it.
        box: where the image lies in the picture, half-open `(top, left, bottom, right)` in px.
    """

    picture: PIL.Image.Image
    box: tuple[int, int, int, int]

    def image(self) -> PIL.Image.Image:
        """The tinted image alone, pixel for pixel over the original."""
        top, left, bottom, right = self.box
        return self.picture.crop((left, top, right, bottom))


def overlay(
    image: npt.NDArray[np.uint8],
    scores: npt.NDArray[Any],
    grid: Grid,
    *,
    title: str,
    low: float,
    high: float,
    opacity: float = 0.55,
) -> Overlay:
    """Paint `scores` `(rows, cols)` over `image` `(H, W, 3)` uint8.

    Args:
        image: RGB.
        scores: one value per window.
        grid: where the windows are. With cover=True its size is the padded one, a little
            larger than the image.
        title: the name of the class, for instance; shortened if it is too long.
        low: the score at the lower end of the colours; lower scores look the same.
        high: the score at their upper end.
        opacity: of the tint at `high`, 0 to 1; it falls with the score, so that the image shows
            through where the score is low. Pixels that lie in no window are not tinted.

    Raises InputError for scores that are not finite, and UsageError if image, scores and grid do
    not belong together, `low` is not less than `high`, or `opacity` is outside 0..1.
    """
    scores = np.asarray(scores)
    _check(image, scores, grid, low, high, opacity)
    height, width = image.shape[:2]
    scale = Scale(low, high, bool(scores.min() < low), bool(scores.max() > high))
    picture, box = framed(height, width, title, scale)

    shares = np.linspace(0, 1, LEVELS)
    # Rising fast at first, so that the middle of the scale has clear colours too.
    strength = opacity * (FAINTEST + (1 - FAINTEST) * shares * (2 - shares))
    # One more level stands for pixels in no window.
    kept = np.append(1 - strength, 1).astype(np.float32)  # (LEVELS + 1,)
    added = np.append(strength[:, None] * colors(shares), [[0, 0, 0]], axis=0).astype(np.float32)
    inside = covered(grid.axes[1], 0, width)  # (W,)
    step = max(1, BLOCK // width)
    for start in range(0, height, step):
        stop = min(start + step, height)
        values = per_pixel(scores, grid, start, stop)[:, :width]
        values -= low
        values *= (LEVELS - 1) / (high - low)
        np.clip(values, 0, LEVELS - 1, out=values)
        level = np.rint(values).astype(np.intp)  # (stop - start, W)
        level[:, ~inside] = LEVELS
        level[~covered(grid.axes[0], start, stop)] = LEVELS
        tinted = image[start:stop] * kept[level][..., None]
        tinted += added[level]
        block = np.rint(tinted, out=tinted).astype(np.uint8)
        picture.paste(PIL.Image.fromarray(block), (box[1], box[0] + start))
    return Overlay(picture, box)


def per_pixel(
    scores: npt.NDArray[Any], grid: Grid, start: int, stop: int
) -> npt.NDArray[np.float64]:
    """The scores `(rows, cols)` at the centres of the pixels of rows `[start, stop)`.

    Returns `(stop - start, W)`, where W is the width of the grid.
    """
    lower, upper, weight = _neighbours(grid.axes[0], start, stop)
    first = int(lower[0])
    near = np.asarray(scores[first : int(upper[-1]) + 1], dtype=np.float64)
    above = near[lower - first]  # (stop - start, cols)
    rows = above + (near[upper - first] - above) * weight[:, None]
    lower, upper, weight = _neighbours(grid.axes[1], 0, grid.size[1])
    left = rows[:, lower]  # (stop - start, W)
    result: npt.NDArray[np.float64] = rows[:, upper]
    result -= left
    result *= weight
    result += left
    return result


def covered(axis: Windows, start: int, stop: int) -> npt.NDArray[np.bool_]:
    """For each pixel of `[start, stop)` whether it lies in a window."""
    pixels = np.arange(start, stop)
    last = np.minimum(pixels // axis.stride, axis.count - 1)  # the last window to begin before it
    inside: npt.NDArray[np.bool_] = pixels - last * axis.stride < axis.window
    return inside


def _neighbours(
    axis: Windows, start: int, stop: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """For the pixels of `[start, stop)`: the cells centred before and after, and how far between.

    Cell `k` is centred at `k * stride + window / 2`. In half pixels all of it is whole numbers.
    """
    halves = 2 * np.arange(start, stop) + 1 - axis.window  # from the centre of the first cell
    lower, rest = np.divmod(halves, 2 * axis.stride)
    weight = rest / (2 * axis.stride)
    weight[(lower < 0) | (lower >= axis.count - 1)] = 0
    lower = np.clip(lower, 0, axis.count - 1).astype(np.intp)
    return lower, np.minimum(lower + 1, axis.count - 1), weight


def _check(
    image: npt.NDArray[np.uint8],
    scores: npt.NDArray[Any],
    grid: Grid,
    low: float,
    high: float,
    opacity: float,
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(
            f"the image is {image.dtype} of shape {image.shape}; (H, W, 3) uint8 is needed."
        )
    if len(grid.size) != 2 or scores.shape != grid.shape:
        raise UsageError(
            f"the scores have shape {scores.shape}, but the grid has {times(grid.shape)} cells.",
            hint="Pass the scores of one class, and the grid of the image they were computed on.",
        )
    size = image.shape[:2]
    for have, shown, axis in zip(grid.size, size, grid.axes, strict=True):
        padded = 0 <= have - shown < axis.stride or shown < have == axis.window
        if padded:
            continue
        raise UsageError(
            f"the image is {times(size)} px, but the grid belongs to one of {times(grid.size)}.",
            why="Only with cover=True is a grid larger, and just enough for whole windows.",
            hint="Pass the image that was scored.",
        )
    bad = int(scores.size - np.isfinite(scores).sum())
    if bad:
        raise InputError(
            f"{bad:,} of {scores.size:,} scores are not finite (NaN or infinite).",
            why="They have no colour.",
            hint="Look for NaN in the weights, or for overflow in half precision.",
        )
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(
            f"low={low:g} must be less than high={high:g}, and both finite.",
            hint="For a map of one value pass any range around it, for probabilities 0 and 1.",
        )
    if not 0 <= opacity <= 1:
        raise UsageError(f"opacity={opacity:g} must lie between 0 and 1.")
