"""Which class wins where: every pixel in the colour of the best class of the nearest window."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageDraw, ImageFont

from fullconv.evaluate.lattice import lattices
from fullconv.evaluate.pictures.figure import INK, PAPER, SHARE, SMALLEST
from fullconv.geometry import Grid, Windows
from fullconv.storage.class_colors import class_color


def class_map(
    image: npt.NDArray[np.uint8],
    scores: npt.NDArray[Any],
    grid: Grid,
    names: tuple[str, ...],
    *,
    opacity: float = 0.5,
) -> PIL.Image.Image:
    """Paint the winning class of `scores` `(K, rows, cols)` over `image` `(H, W, 3)` uint8.

    Pixels that lie in no window stay as they are. A legend at the right names the classes.
    """
    shades = palette(len(names))
    winner = scores.argmax(0)  # (rows, cols)
    rows, cols = (_nearest(axis, size) for axis, size in zip(grid.axes, grid.size, strict=True))
    tint = shades[winner[rows][:, cols]]  # (H, W, 3)
    inside = np.logical_and.outer(
        *(axis.covered(0, axis.size) for axis in lattices(grid, grid.size))
    )
    mixed = np.where(inside[..., None], (1 - opacity) * image + opacity * tint, image)
    return with_legend(PIL.Image.fromarray(np.rint(mixed).astype(np.uint8)), names, shades)


def palette(count: int) -> npt.NDArray[np.float64]:
    """`count` colours that are easy to tell apart, `(count, 3)` from 0 to 255."""
    return np.array([class_color(number) for number in range(count)])


def _nearest(axis: Windows, size: int) -> npt.NDArray[np.intp]:
    """For every pixel the cell whose centre is nearest, in whole half pixels."""
    halves = 2 * np.arange(size) + 1 - axis.window + axis.stride
    return np.clip(halves // (2 * axis.stride), 0, axis.count - 1).astype(np.intp)


def with_legend(
    picture: PIL.Image.Image, names: tuple[str, ...], shades: npt.NDArray[np.float64]
) -> PIL.Image.Image:
    """The picture with the names of classes and their colours at its right."""
    small = max(SMALLEST, round(SHARE * math.sqrt(picture.width * picture.height)))
    font = ImageFont.load_default(small)
    width = max(math.ceil(font.getlength(name)) for name in names)
    right = picture.width + 2 * small
    framed = PIL.Image.new("RGB", (right + 2 * small + width + small, picture.height), PAPER)
    framed.paste(picture, (0, 0))
    draw = ImageDraw.Draw(framed)
    for index, (name, shade) in enumerate(zip(names, shades, strict=True)):
        top = small + 2 * small * index
        red, green, blue = (round(float(channel)) for channel in shade)
        draw.rectangle((right, top, right + small, top + small), fill=(red, green, blue))
        draw.text((right + 2 * small, top + small / 2), name, INK, font, anchor="lm")
    return framed
