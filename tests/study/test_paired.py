"""Paired differences against formulas written out by hand."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize

from fullconv.study.paired import difference, holm, spread

OWN, BASE = [12.1, 11.4, 13.0, 12.2, 11.9], [11.6, 11.5, 12.1, 11.8, 11.2]


def student(t: float, df: int) -> float:
    """The distribution function of Student's t, integrated from its density."""
    scale = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    area, _ = integrate.quad(lambda x: scale * (1 + x * x / df) ** (-(df + 1) / 2), 0, t)
    return 0.5 + area


def test_the_paired_t_test_and_its_interval():
    found = difference(OWN, BASE)
    d = [a - b for a, b in zip(OWN, BASE, strict=True)]
    mean = sum(d) / 5
    error = math.sqrt(sum((x - mean) ** 2 for x in d) / 4 / 5)
    assert found.value == pytest.approx(mean)
    assert found.p == pytest.approx(2 * (1 - student(mean / error, 4)), rel=1e-6)
    critical = optimize.brentq(lambda t: student(t, 4) - 0.975, 1, 5)
    assert critical == pytest.approx(2.776, abs=1e-3)  # of any table
    assert found.low == pytest.approx(mean - critical * error)
    assert found.high == pytest.approx(mean + critical * error)
    assert found.pairs == 5


def test_pairing_matters():
    """Differences of 1 ± 0.1 between errors that scatter by 10 are certain."""
    base = [10.0, 20.0, 30.0, 40.0]
    found = difference([b + 1 + e for b, e in zip(base, (0.1, -0.1, 0.1, -0.1), strict=True)], base)
    assert found.certain
    shuffled = difference([11.0, 41.0, 21.0, 31.0], base)
    assert shuffled.value == pytest.approx(1)
    assert not shuffled.certain


@pytest.mark.parametrize("seed", range(20))
def test_certain_means_that_the_interval_leaves_out_zero(seed):
    random = np.random.default_rng(seed)
    found = difference(random.normal(0.8, 1, 4), random.normal(0, 1, 4))
    assert found.certain == (found.low > 0 or found.high < 0)


def test_one_pair_says_nothing_of_chance():
    found = difference([3.0], [2.0])
    assert (found.value, found.low, found.high, found.p, found.pairs) == (1.0, None, None, None, 1)
    assert not found.certain


def test_differences_that_are_all_the_same():
    found = difference([3.0, 4.0], [2.0, 3.0])
    assert (found.value, found.low, found.p, found.pairs) == (1.0, None, None, 2)


def test_the_deviation_is_that_of_a_sample():
    assert spread([1.0, 3.0]) == pytest.approx(math.sqrt(2))
    assert spread([1.0]) is None


def test_holms_correction():
    """The example of his paper's method: 4, 3, 2 and 1 times, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
