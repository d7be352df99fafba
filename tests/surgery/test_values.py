"""What is known of a value: its cells, and how the classifier lays them out."""

import pytest

from fullconv.geometry import Axis
from fullconv.surgery.values import CHANNEL, Map

AXES = (Axis(7), Axis(5))


def test_an_ordinary_map():
    x = Map.plain(512, AXES)
    assert (x.shape, x.layout, x.is_plain, x.is_flattened) == (
        (512, 7, 5),
        ((0,), (1,), (2,)),
        True,
        False,
    )
    assert str(x) == "512×7×5 map"


@pytest.mark.parametrize(
    ("layout", "shape", "flattened"),
    [
        (((0, 1, 2),), (17920,), True),
        (((1,), (2,), (0,)), (7, 5, 512), False),
        (((0,), (1, 2)), (512, 35), True),
        (((0,), (), (1,), (2,)), (512, 1, 7, 5), False),
    ],
)
def test_other_layouts_of_the_same_numbers(layout, shape, flattened):
    x = Map.plain(512, AXES).laid_out(layout)
    assert (x.shape, x.is_flattened, x.is_plain) == (shape, flattened, False)


def test_groups_leave_out_axes_of_one_cell_but_never_the_channel():
    x = Map(1, (Axis(1), Axis(4)), ((0, 1, 2),))
    assert x.group(1) == (CHANNEL, 2)
    assert x.extent((0, 1, 2)) == 4


def test_vectors():
    whole = Map(10, (Axis(1, collapsed=True), Axis(1)), ((0,),))
    assert whole.is_collapsed
    assert str(whole) == "vector of 10"
    assert not Map.plain(10, (Axis(1), Axis(2))).is_collapsed


def test_waiting_bins_are_the_lengths_the_classifier_sees():
    x = Map(8, (Axis(9), Axis(1)), ((0,), (1,), (2,)), (((0, 5), (4, 9)), ()))
    assert x.shape == (8, 2, 1)
    assert str(x) == "8×2×1 map"
