"""What a share of right answers would be on other images of the same kind: the bootstrap.

Efron & Tibshirani 1993, chapter 13: images are drawn again with replacement, as many as there are,
10,000 times; the interval leaves 2.5 % of the shares so found on either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"

    def to_dict(self) -> dict[str, float]:
        """The three numbers."""
        return {"value": self.value, "low": self.low, "high": self.high}


def mean_interval(
    values: npt.NDArray[Any], *, scale: float = 1.0, resamples: int = RESAMPLES, seed: int = SEED
) -> Estimate:
    """The mean of whole numbers `(N,)`, one per image, times `scale`, with its interval.

    Where all are equal there is nothing to draw from, and the interval is the mean alone.
    """
    levels, counts = np.unique(values, return_counts=True)
    total = len(values)
    # How often each level comes up among N images drawn with replacement is multinomial: the same
    # as to draw them one by one, at no cost.
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=resamples)
    means = scale * (drawn @ levels) / total  # (resamples,)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(scale * float(np.mean(values)), float(low), float(high))
