"""The sizes at which an image is scored: by its shortest side in px, or by a factor."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from fullconv.errors import InputError, UsageError
from fullconv.geometry import times

Given = int | float | str | Fraction
"""`256` or `"256"`: shortest side, px. `0.5`, `"0.5x"` or a Fraction: a factor."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A size to which an image is scaled, its shape kept: one of the two is given.

    Attributes:
        shortest: the length of its shortest side, px.
        factor: of its own size.
    """

    shortest: int | None = None
    factor: Fraction | None = None

    def __post_init__(self) -> None:
        if (self.shortest is None) == (self.factor is None):
            raise UsageError("a scale is a shortest side or a factor, one of both.")
        if (self.shortest or self.factor or 0) <= 0:
            raise UsageError(f"scale {self} must be above 0.")

    def __str__(self) -> str:
        if self.factor is None:
            return str(self.shortest)
        return f"{float(self.factor):g}x"

    def size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The size in px that an image of `size` px gets; halves are rounded up."""
        factor = self.factor
        if factor is None:
            assert self.shortest is not None
            factor = Fraction(self.shortest, min(size))
        return tuple(max(1, math.floor(side * factor + Fraction(1, 2))) for side in size)


AS_IT_IS = Scale(factor=Fraction(1))


def scale_of(given: Given | Scale) -> Scale:
    """The scale that a number or a word stands for. Raises UsageError for anything else."""
    if isinstance(given, Scale):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return Scale(shortest=given)
    try:
        if isinstance(given, Fraction):
            return Scale(factor=given)
        if isinstance(given, float):
            return Scale(factor=Fraction(str(given)))
        if isinstance(given, str):
            word = given.strip().lower()
            if word.isdecimal():
                return Scale(shortest=int(word))
            return Scale(factor=Fraction(word.removesuffix("x")))
    except (ValueError, ZeroDivisionError):
        pass
    raise UsageError(
        f"{given!r} is no scale.",
        hint="A whole number is the shortest side in px (256); a factor has a point or an x "
        "(0.5, 2x).",
    )


def scales_of(given: Given | Scale | Iterable[Given | Scale]) -> tuple[Scale, ...]:
    """One scale or several, each once. Raises UsageError for none."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    listed = tuple(dict.fromkeys(map(scale_of, given if several else (given,))))  # type: ignore[arg-type]
    if not listed:
        raise UsageError("no scale was given.", hint="Leave scales out for the image as it is.")
    return listed


def check_sizes(
    scales: Iterable[Scale], size: tuple[int, ...], max_pixels: int, where: str
) -> None:
    """Raise InputError for a scale that makes an image of `size` px larger than `max_pixels`."""
    for scale in scales:
        scaled = scale.size(size)
        if scale != AS_IT_IS and math.prod(scaled) > max_pixels:
            raise InputError(
                f"scale {scale} makes {times(size)} px to {times(scaled)}, "
                f"{math.prod(scaled):,} px in all, and no more than {max_pixels:,} are scored.",
                where=where,
                hint="Whole numbers are the shortest side in px, others factors; or raise "
                "max_pixels.",
            )


def left_out(where: str, scales: Iterable[Scale], window: tuple[int, ...]) -> str:
    """The warning that scales were left out."""
    listed = ", ".join(map(str, scales))
    return f"{where}: left out at {listed}: smaller there than the {times(window)} window"


def fitting(
    scales: Iterable[Scale], size: tuple[int, ...], window: tuple[int, ...], where: str
) -> tuple[tuple[Scale, ...], tuple[Scale, ...]]:
    """The scales at which an image of `size` px holds a window, and those at which it does not.

    Raises InputError if it holds none at any.
    """
    kept: list[Scale] = []
    left: list[Scale] = []
    for scale in scales:
        whole = all(n >= w for n, w in zip(scale.size(size), window, strict=True))
        (kept if whole else left).append(scale)
    if kept:
        return tuple(kept), tuple(left)
    if left == [AS_IT_IS]:
        what = (
            f"the image is {times(size)} px, smaller than the {times(window)} window of the "
            "classifier."
        )
    else:
        sizes = " and ".join(f"{times(scale.size(size))} px" for scale in left)
        what = (
            f"an image of {times(size)} px is {sizes} at "
            f"{'scale ' if len(left) == 1 else 'scales '}{', '.join(map(str, left))}, "
            f"and the window of the classifier is {times(window)}."
        )
    raise InputError(
        what,
        where=where,
        why="A score needs one whole window.",
        hint=f"Give a scale of at least {max(window)}: the shortest side in px.",
    )
