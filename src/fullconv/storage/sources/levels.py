"""Pyramid levels: which one is read, and where its px lie in level 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from fullconv.errors import UsageError
from fullconv.geometry import times

COARSER = 1.05
"""A level may be so much coarser than asked for: scanners write 0.2528 µm/px for 0.25."""


def level_scale(finest: Sequence[int], level: Sequence[int]) -> tuple[Fraction, ...]:
    """Px of level 0 for each px of a level, per axis, exactly.

    Writers halve again and again and cut or fill up the last px, so that the sizes do not divide:
    where a whole factor gives the level's size rounded down or up, it is that; where several do, as
    for a level of few px, the power of two. Otherwise the share of the sizes.
    """
    return tuple(map(_factor, finest, level))


def _factor(whole: int, part: int) -> Fraction:
    doubled = 2 ** max(0, round(math.log2(whole / part)))
    for factor in (doubled, max(1, round(whole / part))):
        if part in (whole // factor, -(-whole // factor)):
            return Fraction(factor)
    return Fraction(whole, part)


def chosen_level(
    sizes: Sequence[Sequence[int]],
    scales: Sequence[tuple[Fraction, ...]],
    mpp: tuple[float, float] | None,
    *,
    level: int | None,
    wanted: float | None,
    where: str,
) -> int:
    """The level to read: `level`, or the coarsest that is not coarser than `wanted` µm/px.

    `sizes` and `scales` are those of all levels, `mpp` the µm/px (row, column) of level 0.

    Raises UsageError for a level that is not there, and for `wanted` where the file does not say
    how large a px is or even level 0 is coarser.
    """
    listed = ", ".join(f"{number}: {times(size)} px" for number, size in enumerate(sizes))
    if level is not None and wanted is not None:
        raise UsageError(f"level={level} and mpp={wanted:g} both name a level; give one of them.")
    if wanted is None:
        number = level or 0
        if not 0 <= number < len(sizes):
            raise UsageError(
                f"there is no level {number}; there is {listed}.",
                where=where,
                hint=f"Name a level from 0 to {len(sizes) - 1}."
                if len(sizes) > 1
                else "Leave level out.",
            )
        return number
    if not wanted > 0:
        raise UsageError(f"mpp={wanted:g} must be a positive number of micrometres per px.")
    if mpp is None:
        raise UsageError(
            "the file does not say how many micrometres a px is wide, so mpp cannot be chosen by.",
            where=where,
            hint=f"Name a level instead; there is {listed}.",
        )
    steps = [max(float(s) * m for s, m in zip(scale[-2:], mpp, strict=True)) for scale in scales]
    fine = [number for number, step in enumerate(steps) if step <= COARSER * wanted]
    if not fine:
        raise UsageError(
            f"mpp={wanted:g} was asked for, and level 0 has {steps[0]:.4g} µm/px: it is coarser.",
            where=where,
            why="Levels are chosen, not enlarged.",
            hint="Ask for the µm/px that the network was trained on, or for a level.",
        )
    return max(fine, key=lambda number: steps[number])
