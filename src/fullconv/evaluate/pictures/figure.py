"""The frame around a score picture: a title above the image, a colour bar with numbers beside it.

Everything is measured in the height of the small print, which follows the size of the image: the
figure looks the same around 300 px and around 4000 px.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageDraw, ImageFont

from fullconv.evaluate.pictures.colors import colors

PAPER = (255, 255, 255)
INK = (34, 34, 34)
LINE = (120, 120, 120)
SMALLEST = 13  # px; smaller print is not legible on a screen
SHARE = 0.026  # small print relative to the side of a square as large as the image
LONGEST = 500  # characters of a title that are looked at; no image shows more

Box = tuple[int, int, int, int]  # half-open (top, left, bottom, right), px
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Scale:
    """What the colour bar says: scores from `low` to `high`, and whether some lie outside."""

    low: float
    high: float
    below: bool = False
    above: bool = False


def framed(height: int, width: int, title: str, scale: Scale) -> tuple[PIL.Image.Image, Box]:
    """A picture with an empty place for an image of `height` by `width` px.

    Returns the picture and the half-open box `(top, left, bottom, right)` of the place in it.
    """
    small = small_print(height, width)
    large = ImageFont.load_default(round(1.3 * small))
    gap, bar = round(0.8 * small), bar_width(height, scale, small)
    title = plain(title)
    top = round(2.4 * small) if title else gap
    box = (top, gap, top + height, gap + width)
    bar_left = box[3] + gap
    picture = PIL.Image.new("RGB", (bar_left + bar + gap, box[2] + gap), PAPER)

    draw = ImageDraw.Draw(picture)
    if title:
        right = bar_left if scale.above else picture.width  # the tip of the bar needs its place
        text = shortened(title, large, right - 2 * gap)
        draw.text((gap, round(1.2 * small)), text, INK, large, anchor="lm")
    outline(draw, box, line_width(small))
    draw_bar(draw, (box[0], bar_left, box[2]), scale, small)
    return picture, box


def small_print(height: int, width: int) -> int:
    """The height of the small print around an image, px."""
    return max(SMALLEST, round(SHARE * math.sqrt(height * width)))


def line_width(small: int) -> int:
    """The width of lines that goes with small print, px."""
    return max(1, round(small / 18))


def bar_width(height: int, scale: Scale, small: int) -> int:
    """The width of a colour bar `height` px long with its numbers, px."""
    font = ImageFont.load_default(small)
    labels = max(math.ceil(font.getlength(label)) for _, label in _marks(height, scale, small))
    return round(0.95 * small) + 2 * _notch(small) + labels


def draw_bar(
    draw: ImageDraw.ImageDraw, place: tuple[int, int, int], scale: Scale, small: int
) -> None:
    """A colour bar with its numbers at `(top, left, bottom)`."""
    top, left, bottom = place
    font, notch, line = ImageFont.load_default(small), _notch(small), line_width(small)
    right = left + round(0.95 * small)
    _bar(draw, (top, left, bottom, right), scale, line)
    for share, label in _marks(bottom - top, scale, small):
        y = round(bottom - share * (bottom - top))
        y = min(max(y, top), bottom - 1)
        draw.line((right, y, right + notch, y), LINE, line)
        draw.text((right + 2 * notch, y), label, INK, font, anchor="lm")


def _marks(height: int, scale: Scale, small: int) -> list[tuple[float, str]]:
    return ticks(scale.low, scale.high, max(2, min(7, int(height / (2.6 * small)))))


def _notch(small: int) -> int:
    return max(2, round(0.25 * small))


def _bar(draw: ImageDraw.ImageDraw, box: Box, scale: Scale, line: int) -> None:
    """The colours from low to high; a tip at an end says that some scores lie beyond it."""
    top, left, bottom, right = box
    tip = round((right - left) * 0.8)
    ends = colors([0, 1])
    for there, base, apex, shade in (
        (scale.above, top - line, top - tip, ends[1]),
        (scale.below, bottom + line - 1, bottom + tip - 1, ends[0]),
    ):
        if there:
            corners = (
                (left - line, base),
                ((left + right - 1) / 2, apex),
                (right + line - 1, base),
            )
            draw.polygon(corners, fill=_ink(shade), outline=LINE, width=line)
    outline(draw, box, line)
    for row, shade in enumerate(colors((np.arange(bottom - top) + 0.5) / (bottom - top))):
        draw.line((left, bottom - 1 - row, right - 1, bottom - 1 - row), _ink(shade))


def _ink(shade: npt.NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = (round(float(channel)) for channel in shade)
    return red, green, blue


def outline(draw: ImageDraw.ImageDraw, box: Box, line: int) -> None:
    """A line around a box, outside of it."""
    top, left, bottom, right = box
    draw.rectangle((left - line, top - line, right + line - 1, bottom + line - 1), None, LINE, line)


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """At most `most` round numbers between `low` and `high`: their place from 0 to 1, their label.

    Where no two round numbers fit, the ends themselves are taken.
    """
    span = high - low
    exponent = math.floor(math.log10(span / most))
    for power in range(exponent, exponent + 3):
        for factor in (1, 2, 5):
            step = factor * 10.0**power
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            if 2 <= last - first + 1 <= most:
                values = [index * step for index in range(first, last + 1)]
                labels = written(values, power)
                return [((v - low) / span, label) for v, label in zip(values, labels, strict=True)]
    fine = math.floor(math.log10(span / 100))
    return list(zip((0.0, 1.0), written([low, high], fine), strict=True))


def written(values: list[float], power: int) -> list[str]:
    """Numbers to the precision of `10**power`, in one notation: `0.2`, `-15` or `3e-05`."""
    largest = max(abs(value) for value in values)
    if 1e-3 <= largest < 1e6:
        texts = [f"{value:.{max(0, -power)}f}" for value in values]
        return [text.removeprefix("-") if float(text) == 0 else text for text in texts]
    digits = [math.floor(math.log10(abs(value))) - power if value else 0 for value in values]
    return [
        f"{value:.{max(0, count)}e}" if value else "0"
        for value, count in zip(values, digits, strict=True)
    ]


def plain(text: str) -> str:
    """One line in the characters that the built-in font has: accents are dropped."""
    decomposed = unicodedata.normalize("NFKD", text[:LONGEST])
    kept = "".join(char for char in decomposed if not unicodedata.combining(char))
    return "".join(char if " " <= char <= "~" else "?" for char in " ".join(kept.split()))


def shortened(text: str, font: Font, width: float) -> str:
    """`text`, or as much of its beginning as fits into `width` px with `…` after it."""
    if font.getlength(text) <= width:
        return text
    fits = 0
    for length in range(1, len(text)):
        if font.getlength(text[:length].rstrip() + "…") > width:
            break
        fits = length
    return text[:fits].rstrip() + "…"
