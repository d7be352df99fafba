"""One colour for each class, the same in every picture and every file."""

from __future__ import annotations

import colorsys

GOLDEN = 0.618034  # of the colour circle from one class to the next: neighbours differ most


def class_color(number: int) -> tuple[float, float, float]:
    """sRGB from 0 to 255 of the class of this number."""
    tone = (number * GOLDEN % 1.0, 0.55 + 0.45 * (number % 2), 1.0 - 0.25 * (number % 3 == 2))
    red, green, blue = colorsys.hsv_to_rgb(*tone)
    return 255 * red, 255 * green, 255 * blue


def class_color8(number: int) -> tuple[int, int, int]:
    """The same in whole numbers."""
    red, green, blue = class_color(number)
    return round(red), round(green), round(blue)
