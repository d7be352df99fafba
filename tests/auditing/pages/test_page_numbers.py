import math

import pytest

from fullconv.auditing.pages.numbers import apart, number, ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (224, "224"), (1280, "1,280"), (138357, "138,357"), (0.5, "0.5"),
        (0.0123, "0.0123"), (0.01234, "0.0123"), (12.345, "12.3"), (123.4, "123"), (1234.5, "1,234"),
        (-0.25, "−0.25"), (1e7, "10⁷"), (2.13e9, "2.13×10⁹"), (9.999e8, "10⁹"), (3.1e-15, "3.1×10⁻¹⁵"),
        (math.nan, "–"), (math.inf, "∞"), (-math.inf, "−∞"), (99.96, "100"), (0.9999, "1"),
    ],
)  # fmt: skip
def test_numbers_for_people(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.500"), (1.9, "1.90"), (49, "49"), (12.0001, "12.0")]
)
def test_in_columns_zeros_at_the_end_stay(value, text):
    assert number(value, even=True) == text


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0, 31, False, [0, 10, 20, 30]),
        (0, 1, False, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.1, 10, True, [0.1, 0.3, 1, 3, 10]),
        (1, 30, True, [1, 2, 5, 10, 20]),
        (1, 1e8, True, [1, 1e2, 1e4, 1e6, 1e8]),
        (100, 210, True, [100, 120, 140, 160, 180, 200]),
        (5, 5, False, [5]),
    ],
)
def test_round_numbers_along_an_axis(low, high, log, expected):
    assert ticks(low, high, log=log) == pytest.approx(expected)


@pytest.mark.parametrize("log", [False, True])
def test_ticks_lie_within_the_axis_and_are_few(log):
    for low in (0.003, 0.7, 12, 4800):
        for factor in (1.01, 1.5, 3.9, 4, 11, 130, 4e3, 1e9):
            found = ticks(low, low * factor, log=log)
            assert 1 <= len(found) <= 6
            assert found == sorted(set(found))
            assert all(low * 0.999999 <= value <= low * factor * 1.000001 for value in found)


def test_labels_that_would_touch_are_left_out_but_not_the_ends():
    assert apart([(0, 20), (15, 20), (50, 20), (60, 20), (100, 20)], 5) == [0, 2, 4]
    assert apart([(0, 20), (10, 20)], 5) == [0]
    assert apart([(7, 20)], 5) == [0]
    assert apart([], 5) == []
