"""How figures are written for people."""

import pytest

from fullconv.auditing.figures import BYTES, MISSING, Unit, amount, figure, percent, whole


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


def test_measured_figures_keep_three_digits():
    assert [figure(value) for value in (16, 0.01234, 1234, 0)] == ["16.0", "0.0123", "1,234", "0"]
    assert amount(420 * 2**20, BYTES) == "420 MiB"
    assert percent(0.1234, 1) == "12.3 %"
