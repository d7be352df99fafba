"""Where the cells of a map lie in the image that was scanned, exactly.

A cell is drawn as the square of `stride` px centred on its window's centre. Px of the source that
was read become px of the image at full resolution, level 0, by the frame of the source. Pixel `i`
covers `[i, i + 1)`. All numbers are fractions; what a format holds is rounded when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullconv.storage.maps.about import MapAbout


Pair = tuple[Fraction, Fraction]


@dataclass(frozen=True, slots=True)
class Placement:
    """The squares of a map's cells, rows first.

    Attributes:
        corner: the top left corner of the first cell's square, level-0 px.
        step: the sides of a square, which is from cell to cell, level-0 px.
        mpp: micrometres per level-0 px, or None.
        crs: the coordinate reference system as WKT; empty for none.
        transform: `a b c d e f` that take level-0 px to it, x = a·col + b·row + c and
            y = d·col + e·row + f; None if there is none.
    """

    corner: Pair
    step: Pair
    mpp: Pair | None = None
    crs: str = ""
    transform: tuple[Fraction, ...] | None = None

    @classmethod
    def of(cls, about: MapAbout) -> Placement:
        """That of the map with this description."""
        frame: Mapping[str, Any] = about.frame
        origin = _fractions(frame.get("origin") or (0, 0))
        scale = _fractions(frame.get("scale") or (1, 1))
        corner = tuple(
            start + factor * (offset + Fraction(window - stride, 2))
            for start, factor, offset, window, stride in zip(
                origin, scale, about.offset, about.window, about.stride, strict=True
            )
        )
        step = tuple(factor * stride for factor, stride in zip(scale, about.stride, strict=True))
        mpp, transform = frame.get("mpp"), frame.get("transform")
        if mpp is not None and not all(0 < size < float("inf") for size in mpp):
            mpp = None  # what a file says that does not know
        return cls(
            (corner[0], corner[1]),
            (step[0], step[1]),
            None if mpp is None else (Fraction(mpp[0]), Fraction(mpp[1])),
            frame.get("crs") or "",
            None if transform is None else _fractions(transform),
        )

    def edge(self, axis: int, cell: int) -> Fraction:
        """Level-0 px at which the square of a cell begins; that of the cell before ends there."""
        return self.corner[axis] + cell * self.step[axis]

    def center(self, axis: int, cell: int, reduced: int = 1) -> Fraction:
        """Level-0 px of the middle of a cell, of a map that is `reduced` times coarser."""
        return self.corner[axis] + (cell + Fraction(1, 2)) * reduced * self.step[axis]

    def affine(self) -> tuple[Fraction, ...]:
        """`a b c d e f` that take the corners of cells, (col, row), to the reference system.

        Without one they lead to level-0 px: x to the right, y down.
        """
        a, b, c, d, e, f = self.transform or _fractions((1, 0, 0, 0, 1, 0))
        (top, left), (tall, wide) = self.corner, self.step
        return (
            a * wide, b * tall, a * left + b * top + c,
            d * wide, e * tall, d * left + e * top + f,
        )  # fmt: skip


def number(value: Fraction) -> int | float:
    """A fraction as JSON holds it: whole numbers without a point, others as the nearest float."""
    return value.numerator if value.denominator == 1 else float(value)


def _fractions(values: Any) -> tuple[Fraction, ...]:
    """Of whole numbers, floats (which are fractions, exactly) or texts like "3/2"."""
    return tuple(Fraction(value) for value in values)
