"""Sums, products and concatenation of branches."""

import pytest

from blueprints import blueprint, edits, plan, square
from fullconv.blueprint import (
    Combine,
    Concat,
    Constant,
    Convolution,
    Permute,
    Pool,
    Reduce,
    Reshape,
    Stack,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import AlongChannels, CropToCommon
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import joining

OPS = set(joining.RULES)

MEAN = Reduce("average", (2, 3))
ADD = Combine("add")


def two_branches(left, right, join, shape):
    """Two ops on the image, joined."""
    return (
        (left, shape if isinstance(left, Pool) else (left.out_channels, *shape[1:]), ["n0"]),
        (right, shape if isinstance(right, Pool) else (right.out_channels, *shape[1:]), ["n0"]),
        (join, shape, ["n1", "n2"]),
    )


def test_branches_that_line_up():
    conv = Convolution(3, square(3, 2, 1))
    pool = Pool("max", square(2, 2))
    steps = (*two_branches(conv, pool, ADD, (3, 6, 6)), (MEAN, (3,)))
    made = plan((12, 12), *steps)
    # With the same slack both have as many cells on every image? Here not: 13 px tell them apart.
    assert made.edits["n3"] == CropToCommon()
    same = two_branches(conv, Convolution(3, square(1, 2)), ADD, (3, 6, 6))
    assert "n3" not in edits((12, 12), *same, (MEAN, (3,)))


def test_the_joined_field_is_what_either_sees():
    wide, narrow = Convolution(3, square(7, 1, 3)), Convolution(3, square(3, 1, 1))
    steps = (*two_branches(wide, narrow, ADD, (3, 12, 12)), (MEAN, (3,)))
    made = plan((12, 12), *steps)
    assert made.receptive_field == (18, 18)
    assert made.padded == ("n1", "n2")


def test_concatenation_of_channels():
    steps = (
        (Convolution(4, square(3, 2)), (4, 7, 7), ["n0"]),
        (Pool("max", square(2, 2)), (3, 7, 7), ["n0"]),
        (Concat(1), (7, 7, 7), ["n1", "n2"]),
        (MEAN, (7,)),
    )
    made = plan((15, 15), *steps)
    assert made.edits["n3"] == CropToCommon()
    assert made.outputs == 7
    # An image on which the convolution has a cell less than the pool.
    assert made.grid((16, 16)).shape == (1, 1)


def test_vectors():
    steps = (
        (MEAN, (3,), ["n0"]),
        (Reduce("max", (2, 3)), (3,), ["n0"]),
        (Concat(1), (6,), ["n1", "n2"]),
    )
    assert edits((8, 8), *steps)["n3"] == AlongChannels(2)
    added = (*steps[:2], (ADD, (3,), ["n1", "n2"]))
    assert "n3" not in edits((8, 8), *added)


@pytest.mark.parametrize(
    ("shape", "edit"),
    [((3, 1, 1), None), ((1, 3, 1, 1), None), ((1,), None), ((), None), ((1, 1, 1, 1), None)],
)
def test_constants_of_a_map(shape, edit):
    steps = ((Constant(), shape), (ADD, (3, 8, 8), ["n0", "n1"]), (MEAN, (3,)))
    assert edits((8, 8), *steps).get("n2") == edit


@pytest.mark.parametrize(
    ("shape", "edit"),
    [((3,), AlongChannels(2)), ((1, 3), AlongChannels(2)), ((1,), None), ((), None)],
)
def test_constants_of_a_vector(shape, edit):
    steps = ((Constant(), shape), (MEAN, (3,), ["n0"]), (Combine("mul"), (3,), ["n1", "n2"]))
    assert edits((8, 8), *steps).get("n3") == edit


def test_a_constant_of_a_map_channels_last():
    steps = (
        (Constant(), (3,)),
        (Permute((0, 2, 3, 1)), (8, 8, 3), ["n0"]),
        (ADD, (8, 8, 3), ["n2", "n1"]),
        (Reduce("average", (1, 2)), (3,)),
    )
    assert edits((8, 8), *steps)["n3"] == AlongChannels(2)


def test_one_channel_meets_a_constant_of_several():
    steps = ((Constant(), (5, 1, 1)), (ADD, (5, 8, 8), ["n0", "n1"]), (MEAN, (5,)))
    assert plan((8, 8), *steps, channels=1).outputs == 5


def test_one_channel_meets_several():
    """A mask of one channel over a map."""
    steps = (
        (Convolution(1, square(1)), (1, 8, 8), ["n0"]),
        (Combine("mul"), (3, 8, 8), ["n0", "n1"]),
        (MEAN, (3,)),
    )
    assert plan((8, 8), *steps).outputs == 3


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [(Convolution(3, square(3, 1)), (3, 6, 6), ["n0"]),
             (Convolution(3, square(3, 2, 3)), (3, 6, 6), ["n0"]),
             (ADD, (3, 6, 6), ["n1", "n2"])],
            "n3: joins branches that do not line up: their cells are 1 and 2 px apart.\nCell by cell "
            "they would belong to different windows. Give all branches the same total stride.",
        ),
        (
            [(Permute((0, 1, 3, 2)), (3, 8, 8), ["n0"]), (ADD, (3, 8, 8), ["n0", "n1"])],
            "n2: joins tensors laid out differently: 3×8×8 map, 3×8×8 map.\nBring them to the same "
            "shape first.",
        ),
        (
            [(Constant(), (1, 3, 8, 8)), (ADD, (3, 8, 8), ["n0", "n1"])],
            "n2: joins a 3×8×8 map with a constant of shape 1×3×8×8, a value for every position of "
            "the window (a position embedding?).\nIt is tied to the window; outside it there is no "
            "value. Only constants that are the same at every position can slide.",
        ),
        (
            [(Constant(), (8,)), (ADD, (3, 8, 8), ["n0", "n1"])],
            "n2: joins a 3×8×8 map with a constant of shape 8, a value for every position",
        ),
        (
            [(Constant(), (2, 3, 1, 1)), (ADD, (3, 8, 8), ["n0", "n1"])],
            "n2: joins a 3×8×8 map with a constant of shape 2×3×1×1.",
        ),
        (
            [(Constant(), (1, 1, 3, 1, 1)), (ADD, (3, 8, 8), ["n0", "n1"])],
            "n2: joins a 3×8×8 map with a constant of shape 1×1×3×1×1.",
        ),
        (
            [(Constant(), (1, 3, 8, 8)), (Concat(1), (6, 8, 8), ["n0", "n1"])],
            "n2: concatenates a map with a constant.\nA constant has no place in the image (a class "
            "token?).",
        ),
        (
            [(Concat(2), (3, 16, 8), ["n0", "n0"])],
            "n1: concatenates along axis 2 of 3×8×8 map, 3×8×8 map.\nOnly channels can be "
            "concatenated at every window.",
        ),
        (
            [(Reshape("flatten"), (192,)), (Concat(1), (384,), ["n1", "n1"])],
            "n2: concatenates along axis 1 of 3×8×8 map, 3×8×8 map.",
        ),
    ],
)  # fmt: skip
def test_refusals(steps, message):
    with pytest.raises(RefusedError) as refusal:
        make_plan(blueprint((8, 8), *steps))
    assert str(refusal.value).startswith(message)


def test_concatenation_along_the_batch():
    with pytest.raises(RefusedError, match="n1: concatenates along the batch.\nImages must stay"):
        plan((8, 8), (Concat(0), (3, 8, 8), ["n0", "n0"]))


def test_channels_that_do_not_match():
    steps = ((Convolution(2, square(1)), (2, 8, 8), ["n0"]), (ADD, (3, 8, 8), ["n0", "n1"]))
    with pytest.raises(RefusedError, match="n2: joins 3×8×8 map and 2×8×8 map"):
        plan((8, 8), *steps)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([(Stack(0), (3, 8, 8), ["n0", "n0"])], "n1: stacks along the batch."),
        ([(Stack(2), (3, 2, 8, 8), ["n0", "n0"])],
         "n1: stacks 3×8×8 map, 3×8×8 map along axis 2.\nOnly stacking directly in front of the "
         "channels has a rule. Use torch.cat along the channels."),
        ([(Stack(4), (3, 8, 8, 2), ["n0", "n0"])], "n1: stacks 3×8×8 map, 3×8×8 map along axis 4."),
        ([(Constant(), (3, 8, 8)), (Stack(1), (2, 3, 8, 8), ["n0", "n1"])],
         "n2: stacks a map with a constant."),
        ([(Convolution(3, square(3, 2, 1)), (3, 4, 4), ["n0"]), (Pool("max", square(2, 2)), (3, 4, 4), ["n0"]),
          (Stack(1), (2, 3, 4, 4), ["n1", "n2"])],
         "n3: stacks 3×4×4 map, 3×4×4 map, which differ in size."),
    ],
)  # fmt: skip
def test_stacks_that_are_refused(steps, message):
    with pytest.raises(RefusedError) as refusal:
        make_plan(blueprint((8, 8), *steps))
    assert str(refusal.value).startswith(message)
