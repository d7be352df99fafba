"""Paired comparison of two variants over the seeds they share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more one variant errs than another, from the errors of pairs with the same seed.

    Attributes:
        value: the mean of the differences, in percentage points.
        low, high: its 95 % interval by Student's t, for as many pairs; None for a single pair.
        p: of the paired t test, two-sided; None for a single pair, and where all differences are
            the same, so that nothing is known of their spread.
        pairs: how many there are.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int

    @property
    def certain(self) -> bool:
        """Whether the interval excludes that there is no difference."""
        return self.p is not None and self.p < 1 - LEVEL

    def to_dict(self) -> dict[str, Any]:
        """All numbers, JSON-serialisable."""
        return asdict(self)


def difference(own: Sequence[float], base: Sequence[float]) -> Difference:
    """`own` minus `base`, pair by pair; at least one pair."""
    differences = np.subtract(own, base)
    value, pairs = float(differences.mean()), len(differences)
    if pairs < 2 or float(np.ptp(differences)) == 0:
        return Difference(value, None, None, None, pairs)
    from scipy import stats  # type: ignore[import-untyped]

    found = stats.ttest_rel(own, base)
    interval = found.confidence_interval(LEVEL)
    return Difference(value, float(interval.low), float(interval.high), float(found.pvalue), pairs)


def spread(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample; None for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several tests, corrected so that none comes out small by their number alone.

    Holm 1979: the smallest is multiplied by how many there are, the next by one less, and so on;
    none is below the one before it.
    """
    order = np.argsort(p_values)
    corrected = [math.nan] * len(p_values)
    most = 0.0
    for place, index in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - place) * float(p_values[index])))
        corrected[int(index)] = most
    return corrected
