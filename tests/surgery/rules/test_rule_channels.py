"""Among the channels of a cell: reductions, softmax, convolutions and stacks, whole or in parts."""

import pytest

from blueprints import edits, plan, square
from fullconv.blueprint import (
    Combine,
    Convolution,
    Elementwise,
    Permute,
    Reduce,
    Reshape,
    Softmax,
    Stack,
)
from fullconv.errors import RefusedError
from fullconv.geometry import Axis, Sweep
from fullconv.surgery.edits import (
    ConvAlongChannels,
    ReduceChannels,
    ShuffleChannels,
    SoftmaxParts,
    StackChannels,
)
from fullconv.surgery.rules.channels import without_part
from fullconv.surgery.values import Map

MEAN = Reduce("average", (2, 3))
PARTS = ((Convolution(12, square(1)), (12, 8, 8)), (Reshape("view"), (3, 4, 8, 8)))


def test_a_part_that_is_gone():
    x = Map(24, (Axis(5),), ((0,), (-1,), (-2,), (1,)), parts=(2, 3, 4))
    layout = ((0,), (), (-2,), (1,))
    left = without_part(x, 1, layout)
    assert (left.channels, left.parts, left.layout) == (8, (2, 4), ((0,), (), (-1,), (1,)))
    assert left.shape == (2, 1, 4, 5)
    last = without_part(left, 0, ((-1,), (1,)))
    assert (last.channels, last.parts, last.shape) == (4, (), (4, 5))
    assert last.is_plain


@pytest.mark.parametrize("kind", ["average", "max", "min", "sum", "norm"])
@pytest.mark.parametrize("keepdim", [True, False])
def test_over_all_channels(kind, keepdim):
    """Spatial attention: a mask of one channel."""
    shape = (1, 8, 8) if keepdim else (8, 8)
    steps = [(Reduce(kind, (1,), keepdim), shape)]
    steps += [] if keepdim else [(Reshape("unsqueeze"), (1, 8, 8))]
    steps += [(Combine("mul"), (3, 8, 8), ["n0", f"n{len(steps)}"]), (MEAN, (3,))]
    made = plan((8, 8), *steps)
    assert made.edits["n1"] == ReduceChannels(kind, (3,), 0)
    assert made.contexts == ()
    assert made.outputs == 3


def test_over_the_channels_of_a_vector_and_of_a_map_channels_last():
    steps = ((MEAN, (3,)), (Reduce("norm", (1,), True), (1,)), (Combine("div"), (3,), ["n1", "n2"]))
    assert edits((8, 8), *steps)["n2"] == ReduceChannels("norm", (3,), 0)
    last = (
        (Permute((0, 2, 3, 1)), (8, 8, 3)),
        (Reduce("sum", (3,)), (8, 8)),
        (Reduce("max", (1, 2)), ()),
    )
    made = plan((8, 8), *last)
    assert made.edits["n2"] == ReduceChannels("sum", (3,), 0)
    assert made.outputs == 1


@pytest.mark.parametrize(
    ("axis", "keepdim", "shape", "part"),
    [
        (1, False, (4, 8, 8), 0),
        (2, False, (3, 8, 8), 1),
        (1, True, (1, 4, 8, 8), 0),
        (2, True, (3, 1, 8, 8), 1),
    ],
)
def test_over_a_part(axis, keepdim, shape, part):
    """Maxout, and the sum of split attention."""
    steps = [*PARTS, (Reduce("max", (axis,), keepdim), shape)]
    left = 12 // (3, 4)[part]
    steps += [(Reshape("view"), (left, 8, 8)), (MEAN, (left,))]
    made = plan((8, 8), *steps)
    assert made.edits["n3"] == ReduceChannels("max", (3, 4), part)
    assert made.outputs == left


def test_over_two_of_three_parts():
    steps = ((Convolution(24, square(1)), (24, 8, 8)), (Reshape("view"), (2, 3, 4, 8, 8)))
    with pytest.raises(RefusedError, match="n3: takes the sum over 2 of the parts of a 24×8×8 map"):
        plan((8, 8), *steps, (Reduce("sum", (1, 2)), (4, 8, 8)))
    made = plan((8, 8), *steps, (Reduce("sum", (1, 2, 3)), (8, 8)), (Reduce("max", (1, 2)), ()))
    assert made.edits["n3"] == ReduceChannels("sum", (24,), 0)


def test_softmax_over_a_part():
    steps = (*PARTS, (Softmax(1), (3, 4, 8, 8)), (Reduce("sum", (1,)), (4, 8, 8)), (MEAN, (4,)))
    made = edits((8, 8), *steps)
    assert made["n3"] == SoftmaxParts("softmax", (3, 4), 0)
    assert made["n4"] == ReduceChannels("sum", (3, 4), 0)


def test_a_shuffle_of_channels():
    steps = (
        *PARTS,
        (Permute((0, 2, 1, 3, 4)), (4, 3, 8, 8)),
        (Elementwise("relu"), (4, 3, 8, 8)),
        (Reshape("view"), (12, 8, 8)),
        (MEAN, (12,)),
    )
    assert edits((8, 8), *steps)["n5"] == ShuffleChannels((3, 4), (1, 0))


def test_convolutions_along_a_vector():
    """ECA-Net: `(N, C)` as `(N, 1, C)`, and back."""
    conv = Convolution(1, (Sweep(3, 1, (1, 1)),))
    steps = (
        (MEAN, (3,)),
        (Reshape("unsqueeze"), (1, 3)),
        (conv, (1, 3)),
        (Reshape("view"), (3, 1, 1)),
        (Combine("mul"), (3, 8, 8), ["n0", "n4"]),
        (MEAN, (3,)),
    )
    made = plan((8, 8), *steps)
    assert made.edits["n3"] == ConvAlongChannels(1, 1, 1)
    assert [c.node for c in made.contexts] == ["n1"]
    several = (Convolution(2, (Sweep(3, 1, (1, 1)),)), (2, 3))
    with pytest.raises(
        RefusedError, match="n3: turns the entries of a vector into several channels"
    ):
        plan((8, 8), *steps[:2], several)


@pytest.mark.parametrize(("op", "shape"), [(MEAN, (3,)), (Convolution(3, square(1)), (3, 8, 8))])
def test_stacks(op, shape):
    """Stacked in front of the channels, which it is a part of."""
    steps = [(op, shape, ["n0"]), (op, shape, ["n0"]), (Stack(1), (2, *shape), ["n1", "n2"])]
    steps += [(Reduce("sum", (1,)), shape)]
    steps += [(MEAN, (3,))] if len(shape) > 1 else []
    made = edits((8, 8), *steps)
    assert made["n3"] == StackChannels()
    assert made["n4"] == ReduceChannels("sum", (2, 3), 0)
