"""A score map painted over its image, each score where its window is (see `lattice`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageDraw

from fullconv.errors import InputError, UsageError
from fullconv.evaluate.lattice import Layer, fused
from fullconv.evaluate.pictures.colors import colors
from fullconv.evaluate.pictures.figure import (
    INK,
    PAPER,
    Box,
    Scale,
    framed,
    line_width,
    small_print,
)
from fullconv.geometry import Grid, times

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
    _check(image, scores, grid, low, high)
    layers = [Layer(scores, grid, image.shape[:2])]
    return painted(image, layers, title=title, low=low, high=high, opacity=opacity)


def painted(
    image: npt.NDArray[np.uint8],
    layers: Sequence[Layer],
    *,
    title: str,
    low: float = 0.0,
    high: float = 1.0,
    opacity: float = 0.55,
    boxes: Sequence[Box] = (),
) -> Overlay:
    """Paint the mean of several maps over `image` `(H, W, 3)` uint8, and a line around `boxes`.

    The maps are those of the image, or of the image scaled; the rest is as for `overlay`.

    Raises UsageError if `opacity` is outside 0..1.
    """
    _check_opacity(opacity)
    height, width = image.shape[:2]
    below = any(bool(layer.values.min() < low) for layer in layers)
    above = any(bool(layer.values.max() > high) for layer in layers)
    picture, box = framed(height, width, title, Scale(low, high, below, above))
    paint(picture, box[:2], image, layers, low=low, high=high, opacity=opacity)
    mark(picture, box[:2], (height, width), boxes)
    return Overlay(picture, box)


def paint(
    picture: PIL.Image.Image,
    corner: tuple[int, int],
    image: npt.NDArray[np.uint8],
    layers: Sequence[Layer],
    *,
    low: float,
    high: float,
    opacity: float,
) -> None:
    """Paint the tinted image into a picture, its top left corner at `(row, column)`."""
    height, width = image.shape[:2]
    tint = Tint(low, high, opacity)
    step = max(1, BLOCK // width)
    for start in range(0, height, step):
        stop = min(start + step, height)
        values = fused(layers, (height, width), start, stop)
        block = tint.over(image[start:stop], values)
        picture.paste(PIL.Image.fromarray(block), (corner[1], corner[0] + start))


class Tint:
    """The colours of scores from `low` to `high`, laid over pixels."""

    def __init__(self, low: float, high: float, opacity: float) -> None:
        self._low, self._high = low, high
        shares = np.linspace(0, 1, LEVELS)
        # Rising fast at first, so that the middle of the scale has clear colours too.
        strength = opacity * (FAINTEST + (1 - FAINTEST) * shares * (2 - shares))
        added = strength[:, None] * colors(shares)
        # One more level stands for pixels in no window.
        self._kept = np.append(1 - strength, 1).astype(np.float32)  # (LEVELS + 1,)
        self._added = np.append(added, [[0, 0, 0]], axis=0).astype(np.float32)

    def over(
        self, pixels: npt.NDArray[np.uint8], values: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.uint8]:
        """Pixels `(rows, W, 3)` tinted by `values` `(rows, W)`, which are used up.

        Where a value is NaN the pixel stays as it is.
        """
        values -= self._low
        values *= (LEVELS - 1) / (self._high - self._low)
        np.clip(values, 0, LEVELS - 1, out=values)
        np.nan_to_num(values, copy=False, nan=LEVELS)
        level = np.rint(values).astype(np.intp)
        tinted = pixels * self._kept[level][..., None]
        tinted += self._added[level]
        block: npt.NDArray[np.uint8] = np.rint(tinted, out=tinted).astype(np.uint8)
        return block


def mark(
    picture: PIL.Image.Image, corner: tuple[int, int], size: tuple[int, int], boxes: Sequence[Box]
) -> None:
    """Draw a line along the inside of boxes of an image of `size` px that lies at `corner`.

    It is light with a dark rim, so that it shows on any image; the rim stays within the image.
    """
    if not boxes:
        return
    line = line_width(small_print(*size))
    part = picture.crop((corner[1], corner[0], corner[1] + size[1], corner[0] + size[0]))
    draw = ImageDraw.Draw(part)
    for wide, ink in ((line, INK), (0, PAPER)):
        for top, left, bottom, right in boxes:
            corners = (left - wide, top - wide, right - 1 + wide, bottom - 1 + wide)
            draw.rectangle(corners, None, ink, line + 2 * wide)
    picture.paste(part, (corner[1], corner[0]))


def _check(
    image: npt.NDArray[np.uint8],
    scores: npt.NDArray[Any],
    grid: Grid,
    low: float,
    high: float,
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


def _check_opacity(opacity: float) -> None:
    if not 0 <= opacity <= 1:
        raise UsageError(f"opacity={opacity:g} must lie between 0 and 1.")
