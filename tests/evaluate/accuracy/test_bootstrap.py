"""Intervals against the binomial distribution, and against images drawn one by one."""

import math

import numpy as np
import pytest

from fullconv.evaluate.accuracy.bootstrap import Estimate, mean_interval


def binomial_quantile(n: int, p: float, level: float) -> int:
    """The smallest k at which the binomial distribution function reaches `level`."""
    total = 0.0
    for k in range(n + 1):
        total += math.comb(n, k) * p**k * (1 - p) ** (n - k)
        if total >= level:
            return k
    return n


@pytest.mark.parametrize(("n", "wrong"), [(40, 10), (200, 6), (500, 250)])
def test_the_interval_of_a_share_is_that_of_the_binomial_distribution(n, wrong):
    values = np.arange(n) < wrong
    found = mean_interval(values, scale=100)
    assert found.value == pytest.approx(100 * wrong / n)
    for edge, level in ((found.low, 0.025), (found.high, 0.975)):
        # 10,000 draws place a quantile to about a level of 0.0016: a step of the count at most.
        assert abs(edge * n / 100 - binomial_quantile(n, wrong / n, level)) <= 1


def test_the_interval_of_a_difference_is_that_of_images_drawn_one_by_one():
    random = np.random.default_rng(3)
    values = random.choice([-1, 0, 0, 0, 1, 1], size=150)
    means = values[random.integers(150, size=(20_000, 150))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    found = mean_interval(values)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(low, abs=0.01)
    assert found.high == pytest.approx(high, abs=0.01)


def test_nineteen_of_twenty_intervals_hold_the_true_share():
    random = np.random.default_rng(4)
    share, n, tries = 0.3, 120, 400
    held = 0
    for _ in range(tries):
        found = mean_interval(random.random(n) < share, resamples=1000)
        held += found.low <= share <= found.high
    # The percentile interval of so few images is known to fall a little short of 95 %.
    assert 0.91 <= held / tries <= 0.98


def test_the_same_numbers_every_time_and_none_to_draw_from():
    values = np.arange(90) % 3 == 0
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values) != mean_interval(values, seed=1)
    assert mean_interval(np.zeros(9, bool)) == Estimate(0.0, 0.0, 0.0)
    assert mean_interval(np.ones(9, bool), scale=100) == Estimate(100.0, 100.0, 100.0)


def test_an_estimate_prints_with_its_interval():
    estimate = Estimate(12.345, 10, 15.5)
    assert str(estimate) == "12.35 [10.00, 15.50]" or str(estimate) == "12.34 [10.00, 15.50]"
    assert estimate.to_dict() == {"value": 12.345, "low": 10, "high": 15.5}
