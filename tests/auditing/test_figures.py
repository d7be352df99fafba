"""How figures are written for people."""

import pytest

from fullconv.auditing.figures import (
    BYTES,
    MISSING,
    Unit,
    amount,
    compared,
    figure,
    layer,
    percent,
    whole,
)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None])
def test_what_is_no_number_is_missing(value):
    assert figure(value) == percent(value) == percent(value, 1) == MISSING
    assert Unit.of([value, 2048.0], BYTES).name == "KiB"
    assert Unit(1024.0, "KiB").write(value) == MISSING


@pytest.mark.parametrize(
    ("value", "written"), [(16, "16"), (3.0, "3"), (19.66, "19.7"), (0.5, "0.5"), (1200, "1,200")]
)
def test_counted_ratios_have_no_zeros_behind_the_point(value, written):
    assert whole(value) == written


@pytest.mark.parametrize(
    ("where", "written"),
    [("4", "layer 4"), ("5 (AvgPool2d)", "layer 5 (AvgPool2d)"), ("classifier.0", "classifier.0")],
)
def test_a_layer_that_is_a_number_is_called_a_layer(where, written):
    assert layer(where) == written


def test_measured_figures_keep_three_digits():
    assert [figure(value) for value in (16, 0.01234, 1234, 0)] == ["16.0", "0.0123", "1,234", "0"]
    assert amount(420 * 2**20, BYTES) == "420 MiB"
    assert percent(0.1234, 1) == "12.3 %"


@pytest.mark.parametrize(
    ("ratio", "written"),
    [
        ((2.149, 2.0, 2.304, 5), "2.1 times as long (2.00–2.30)"),
        ((23.2, 22.1, 24.4, 3), "23 times as long (22–24)"),
        ((0.969, 0.969, 0.969, 1), "0.97 times as long in one round"),
        ((131, 131, 131, 0), "130 times as long (130)"),
        ((9.97, 9.5, 10.4, 4), "10 times as long (9.5–10)"),
    ],
)
def test_measured_ratios_have_two_digits_and_their_rounds(ratio, written):
    assert compared(*ratio) == written
