"""Several classes side by side: the image itself, then a panel for each, and one colour bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageDraw, ImageFont

from fullconv.evaluate.lattice import Layer
from fullconv.evaluate.pictures.figure import (
    INK,
    PAPER,
    Box,
    Font,
    Scale,
    bar_width,
    draw_bar,
    line_width,
    outline,
    plain,
    shortened,
    small_print,
)
from fullconv.evaluate.pictures.overlay import mark, paint

SHORTEST, LONGEST = 320, 1024  # px of the longer side of a panel: smaller images are enlarged
PIXELS = 24_000_000  # of all panels together, about; many panels are smaller ones
LEAST = 160  # px of the longer side of one of very many panels
ASPECT = 1.6  # of a figure that is easy to look at, width by height
NARROWEST = 12  # heights of small print that a panel is wide, so that its title can be read


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One class over the image.

    Attributes:
        title: its name; shortened if it is too long.
        note: what stands at the right of it and is never shortened.
        layers: its maps, values from 0 to 1; none for the image as it is.
        boxes: to draw a line around, half-open, px of the image.
    """

    title: str
    note: str = ""
    layers: tuple[Layer, ...] = ()
    boxes: tuple[Box, ...] = ()


def figure(
    image: npt.NDArray[np.uint8], panels: Sequence[Panel], *, opacity: float = 0.55
) -> PIL.Image.Image:
    """Panels over `image` `(H, W, 3)` uint8, row by row, with a colour bar from 0 to 1.

    All panels have one size: the image's shape with a longer side of 320 to 1024 px, less where
    there are many panels.
    """
    size = panel_size(image.shape[:2], len(panels))
    height, width = size
    small = small_print(*size)
    gap, gutter, head = round(0.8 * small), 2 * small, round(2.2 * small)
    slot = max(width, NARROWEST * small)
    rows, cols = arrangement(len(panels), height + head + gap, slot + gutter)
    scale = Scale(0.0, 1.0)
    bottom = head + (rows - 1) * (height + head + gap) + height
    right = gap + cols * (slot + gutter) - gutter + gap
    total = right + bar_width(bottom - head, scale, small) + gap, bottom + 2 * gap
    picture = PIL.Image.new("RGB", total, PAPER)
    draw = ImageDraw.Draw(picture)
    shown = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BICUBIC)
    base = np.asarray(shown)
    for index, panel in enumerate(panels):
        row, col = divmod(index, cols)
        top, left = head + row * (height + head + gap), gap + col * (slot + gutter)
        outline(draw, (top, left, top + height, left + width), line_width(small))
        _title(draw, panel, (top - round(0.9 * small), left), slot, small)
        if not panel.layers:
            picture.paste(shown, (left, top))
            continue
        paint(picture, (top, left), base, panel.layers, low=0.0, high=1.0, opacity=opacity)
        boxes = [resized_box(box, image.shape[:2], size) for box in panel.boxes]
        mark(picture, (top, left), size, boxes)
    draw_bar(draw, (head, right, bottom), scale, small)
    return picture


def panel_size(size: tuple[int, ...], count: int) -> tuple[int, int]:
    """The size of each of `count` panels of an image of `size` px."""
    longest = min(max(max(size), SHORTEST), LONGEST)
    longest = min(longest, max(LEAST, math.isqrt(PIXELS // count)))
    height, width = (max(1, round(side * longest / max(size))) for side in size)
    return height, width


def arrangement(count: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns for `count` panels: neither a long strip nor many places left empty."""

    def badness(cols: int) -> float:
        rows = -(-count // cols)
        empty = rows * cols - count
        return abs(math.log(cols * width / (rows * height) / ASPECT)) + empty / (2 * rows)

    cols = min(range(1, count + 1), key=badness)
    return -(-count // cols), cols


def resized_box(box: Box, old: tuple[int, ...], new: tuple[int, ...]) -> Box:
    """A box of an image of one size in the same image of another size, at least one px large."""
    spans = []
    for axis in (0, 1):
        start = min(round(box[axis] * new[axis] / old[axis]), new[axis] - 1)
        stop = max(start + 1, round(box[axis + 2] * new[axis] / old[axis]))
        spans.append((start, stop))
    (top, bottom), (left, right) = spans
    return top, left, bottom, right


def _title(
    draw: ImageDraw.ImageDraw, panel: Panel, place: tuple[int, int], width: int, small: int
) -> None:
    """The title at the left of a line of `width` px, the note at its right."""
    font: Font = ImageFont.load_default(round(1.15 * small))
    y, left = place
    room = width - (math.ceil(font.getlength(panel.note)) + small if panel.note else 0)
    draw.text((left, y), shortened(plain(panel.title), font, room), INK, font, anchor="lm")
    draw.text((left + width, y), panel.note, INK, font, anchor="rm")
