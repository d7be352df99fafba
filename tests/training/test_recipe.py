"""The recipe and its learning rate."""

import itertools
import math

import pytest

from fullconv.errors import UsageError
from fullconv.training import Recipe


def test_the_rate_rises_to_its_peak_and_falls_to_nothing():
    recipe = Recipe(rate=0.4, warmup=0.25)
    rates = [recipe.rate_at(step, 40) for step in range(40)]
    assert rates[:10] == pytest.approx([0.04 * (i + 1) for i in range(10)])
    assert max(rates) == rates[9] == pytest.approx(0.4)
    assert rates[25] == pytest.approx(0.4 * 0.5 * (1 + math.cos(math.pi * 15 / 30)))
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.004


def test_without_warm_up_the_first_step_is_at_the_peak():
    assert Recipe(rate=0.3, warmup=0).rate_at(0, 5) == 0.3


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_every_step_of_a_short_training_has_a_rate(steps):
    rates = [Recipe(rate=1.0).rate_at(step, steps) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("batch", 0), ("rate", 0.0), ("rate", math.inf), ("rate", math.nan),
        ("momentum", 1.0), ("decay", -1.0), ("warmup", 1.0), ("shift", -1), ("clip", 0.0),
        ("dtype", "float16"), ("seed", -1),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be(name, value):
    with pytest.raises(UsageError) as error:
        Recipe(**{name: value})
    assert str(error.value) == f"the recipe: {name}={value!r} cannot be."
