"""Resizing inside the body."""

import pytest

from blueprints import blueprint, edits, plan, square
from fullconv.blueprint import AdaptivePool, Combine, Concat, Convolution, Enlarge, Pool, Reduce
from fullconv.errors import RefusedError
from fullconv.surgery.edits import CropToCommon
from fullconv.surgery.edits import Enlarge as Repeat
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import enlarging

OPS = set(enlarging.RULES)

HALF = (Pool("max", square(2, 2)), (3, 6, 6))


def branches():
    """A coarse branch repeated to meet a fine one, and both pooled: stride 2."""
    return (
        HALF,
        (Pool("max", square(3, 3)), (3, 2, 2)),
        (Enlarge("nearest"), (3, 6, 6)),
        (Combine("add"), (3, 6, 6), ["n1", "n3"]),
        (Reduce("average", (2, 3)), (3,)),
    )


def test_cells_are_repeated_as_often_as_at_the_window():
    made = plan((12, 12), *branches())
    assert made.edits["n3"] == Repeat((3, 3))
    # Windows 2 px apart would not share the cells of the coarser map, which are 6 px apart.
    assert (made.stride, made.native_stride) == ((6, 6), (6, 6))
    assert made.answers[0].step == (3, 3)
    assert "by a factor, whatever the size of the map" in str(made)


def test_what_was_repeated_may_lack_trailing_cells():
    assert plan((12, 12), *branches()).edits["n4"] == CropToCommon()


def test_one_axis_only():
    steps = (
        (Pool("max", square(2, 2)), (3, 6, 6)),
        (Enlarge("nearest"), (3, 6, 12)),
        (Reduce("average", (2, 3)), (3,)),
    )
    made = plan((12, 12), *steps)
    assert made.edits["n2"] == Repeat((1, 2))
    assert (made.stride, made.answers[0].step) == ((2, 2), (1, 2))


def test_concatenation_of_scales():
    steps = (
        HALF,
        (Enlarge("nearest"), (3, 12, 12)),
        (Concat(1), (6, 12, 12), ["n0", "n2"]),
        (Reduce("average", (2, 3)), (6,)),
    )
    assert edits((12, 12), *steps)["n3"] == CropToCommon()


def test_a_finer_stride_is_refused_with_the_reason():
    network = blueprint((12, 12), *branches())
    with pytest.raises(RefusedError) as refusal:
        make_plan(network, stride=1)
    assert str(refusal.value) == (
        "n3: repeats every cell 3 times, of a map that is read at a finer stride.\nWhat a cell "
        "becomes depends on where its window begins: windows 1 px apart do not share it. Pass a "
        "stride that is a multiple of 6, or none."
    )


@pytest.mark.parametrize("method", ["dilate", "fragments"])
def test_the_strides_of_what_comes_after_may_still_be_given_up(method):
    steps = (
        *branches()[:4],
        (Pool("max", square(6, 6)), (3, 1, 1)),
        (Convolution(2, square(3, 1, 1)), (2, 1, 1)),
    )
    network = blueprint((12, 12), *steps)
    assert make_plan(network).stride == (12, 12)
    assert make_plan(network, stride=6, method=method).edits["n3"] == Repeat((3, 3))
    for finer in (1, 2, 4):
        with pytest.raises(RefusedError, match="read at a finer stride"):
            make_plan(network, stride=finer, method=method)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [HALF, (Enlarge("bilinear"), (3, 12, 12))],
            "n2: resizes 6×6 cells to 12×12 by bilinear.\nWhat each cell becomes depends on where it "
            "lies in the window. Only repeating cells a whole number of times (nearest) can slide.",
        ),
        (
            [HALF, (Enlarge("nearest"), (3, 9, 12))],
            "n2: resizes 6×6 cells to 9×12 by nearest.",
        ),
        (
            [(Enlarge("nearest"), (3, 24, 24))],
            "n1: enlarges a 3×12×12 map whose cells are 1 px apart by 2.\nIn the FCN the neighbours "
            "of a cell belong to other windows.",
        ),
        (
            [HALF, (AdaptivePool("average", (1, 1)), (3, 1, 1)), (Enlarge("nearest"), (3, 2, 2))],
            "n3: enlarges a vector of 3 whose cells are 2 px apart by 2.",
        ),
        (
            [HALF, (AdaptivePool("average", (2, 2)), (3, 2, 2)), (Enlarge("nearest"), (3, 4, 4))],
            "n3: enlarges a 3×2×2 map whose cells are 2 px apart by 2.",
        ),
    ],
)
def test_refusals(steps, message):
    with pytest.raises(RefusedError) as refusal:
        plan((12, 12), *steps)
    assert str(refusal.value).startswith(message)
