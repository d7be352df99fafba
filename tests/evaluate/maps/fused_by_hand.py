"""Where values of a map lie on the pixels of an image, worked out pixel by pixel in fractions."""

from fractions import Fraction
from itertools import pairwise

import numpy as np

from fullconv.geometry import Grid


def in_scaled(pixel: int, size: int, scaled: int) -> Fraction:
    """The centre of a pixel, in the scaled image."""
    return Fraction(2 * pixel + 1, 2) * scaled / size


def between(centers: list[Fraction], place: Fraction) -> tuple[int, int, Fraction]:
    """The centres around a place, and how far it is from the first to the second."""
    if place <= centers[0]:
        return 0, 0, Fraction(0)
    for index, (one, two) in enumerate(pairwise(centers)):
        if place <= two:
            return index, index + 1, (place - one) / (two - one)
    return len(centers) - 1, len(centers) - 1, Fraction(0)


def by_hand(values: np.ndarray, grid: Grid, size: tuple[int, int]) -> np.ndarray:
    """Every pixel by itself, its place as a fraction; NaN in no window."""
    rows = [grid.center(row, 0)[0] for row in range(grid.shape[0])]
    cols = [grid.center(0, col)[1] for col in range(grid.shape[1])]
    boxes = [grid.box(*cell) for cell in grid]
    expected = np.full(size, np.nan)
    for i, j in np.ndindex(*size):
        y, x = (in_scaled(p, n, s) for p, n, s in zip((i, j), size, grid.size, strict=True))
        above, below, down = between(rows, y)
        left, right, over = between(cols, x)
        corners = values[[[above, above], [below, below]], [[left, right], [left, right]]]
        weights = np.outer([float(1 - down), float(down)], [float(1 - over), float(over)])
        if any(t <= y < b and u <= x < r for t, u, b, r in boxes):
            expected[i, j] = (corners * weights).sum()
    return expected
