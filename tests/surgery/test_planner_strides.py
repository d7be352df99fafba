"""Strides other than the native one, and networks with several answers."""

from dataclasses import replace
from math import gcd

import pytest

from blueprints import blueprint, edits, square
from fullconv.blueprint import (
    Blueprint,
    Convolution,
    Linear,
    Output,
    Pad,
    Pool,
    Reduce,
    Reshape,
    Slice,
)
from fullconv.errors import RefusedError, UsageError
from fullconv.geometry import Sweep
from fullconv.surgery.edits import LinearToConv, Resweep, SetPad, SetPool
from fullconv.surgery.planner import make_plan

MEAN = (Reduce("average", (2, 3)), (3,))


def down(*strides: int, side: int = 24) -> Blueprint:
    """Max pools of these strides, a convolution, and the mean."""
    steps, size = [], side
    for stride in strides:
        size //= stride
        steps.append((Pool("max", square(stride, stride)), (3, size, size)))
    conv = Convolution(3, square(2))
    return blueprint((side, side), *steps, (conv, (3, size - 1, size - 1)), MEAN)


def test_the_native_stride_may_be_asked_for():
    network = blueprint((8, 8), (Pool("max", square(2, 2)), (3, 4, 4)), MEAN)
    assert make_plan(network, stride=2) == make_plan(network, stride=(2, 2)) == make_plan(network)


def test_other_strides_are_refused_with_those_that_fit():
    network = blueprint((8, 8), (Pool("max", square(2, 2)), (3, 4, 4)), MEAN)
    with pytest.raises(UsageError) as refusal:
        make_plan(network, stride=3)
    assert str(refusal.value) == (
        "stride=3×3 px does not divide the network's native stride, 2×2 px.\nEvery cell of the "
        "native map must be a cell of the finer one. Pass one of 2, 1."
    )
    with pytest.raises(UsageError, match=r"stride=\(2, 2, 2\) names 3 axes"):
        make_plan(network, stride=(2, 2, 2))


@pytest.mark.parametrize(
    ("stride", "native", "fits"),
    [
        (5, (12, 12), "12, 6, 4, 3, 2, 1."),
        (24, (12, 12), "12, 6, 4, 3, 2, 1."),
        ((4, 8), (12, 12), "12, 6, 4, 3, 2, 1."),
    ],
)
def test_those_that_do_not_divide_are_refused_with_those_that_do(stride, native, fits):
    with pytest.raises(UsageError) as refusal:
        make_plan(down(2, 2, 3), stride=stride)
    assert str(refusal.value).endswith(f"Pass one of {fits}")


def test_axes_with_native_strides_of_their_own():
    pool = (Pool("max", (Sweep(4, 4), Sweep(3, 3))), (3, 3, 4))
    network = blueprint((12, 12), pool, MEAN)
    with pytest.raises(UsageError) as refusal:
        make_plan(network, stride=3)
    said = str(refusal.value)
    assert "stride=3×3 px does not divide the network's native stride, 4×3 px." in said
    assert "Pass one of 4, 2, 1 per axis, or 3, 1." in said
    made = make_plan(network, stride=(2, 3))
    assert (made.stride, made.native_stride) == ((2, 3), (4, 3))
    assert made.edits["n1"] == SetPool(Pool("max", (Sweep(4, 2), Sweep(3, 3))))
    assert made.edits["n2"] == SetPool(
        Pool("average", (Sweep(3, dilation=2), Sweep(4)), counted=())
    )


# --- every divisor ---


@pytest.mark.parametrize("strides", [(2, 2, 3), (3, 4), (4, 3), (6, 2), (12,), (2, 1, 6)])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6, 12])
def test_every_divisor_is_reached(strides, stride):
    made = make_plan(down(*strides, side=36), stride=stride)
    assert (made.stride, made.native_stride) == ((stride,) * 2, (12, 12))
    assert made.is_finer == (stride < 12)
    assert made.receptive_field == make_plan(down(*strides, side=36)).receptive_field
    # What the last convolution's cells are apart is what the layers before it left undone.
    last = made.edits.get(f"n{len(strides) + 1}")
    assert last == (None if stride == 12 else Resweep(square(2, dilation=12 // stride)))


@pytest.mark.parametrize("stride", [1, 2, 3, 6])
def test_strides_are_taken_as_early_as_they_fit(stride):
    """Of 2 and 3, each layer steps by what divides the stride that is wanted."""
    found = make_plan(down(2, 3), stride=stride).edits
    steps, apart = [], 1
    for name, own in (("n1", 2), ("n2", 3)):
        sweep = found[name].pool.sweeps[0] if name in found else Sweep(own, own)
        assert sweep.dilation == apart
        steps.append(sweep.stride)
        apart = apart * own // sweep.stride
    assert steps == [gcd(2, stride), gcd(3, stride)]


def test_a_stride_of_four_is_split():
    found = make_plan(down(4), stride=2).edits
    assert found["n1"] == SetPool(Pool("max", square(4, 2)))
    assert found["n2"] == Resweep(square(2, dilation=2))


def test_only_layers_below_a_stride_that_is_given_up_change():
    found = make_plan(down(2, 2, 2), stride=4).edits
    assert list(found) == ["n3", "n4", "n5"]


def test_padding_of_a_dilated_map():
    steps = (
        (Pool("max", square(2, 2)), (3, 6, 6)),
        (Convolution(3, square(3, 1, 1)), (3, 6, 6)),
        (Pad(((0, 0), (0, 1), (1, 0), (0, 0)), "constant"), (4, 7, 6)),
        (Pool("average", square(2, 2, ceil=True)), (4, 4, 3)),
        (Reduce("average", (2, 3)), (4,)),
    )
    found = make_plan(blueprint((12, 12), *steps), stride=1).edits
    assert found["n2"] == Resweep(square(3, 1, 2, 2))
    assert found["n3"] == SetPad(((1, 0), (0, 0)), (0, 1), "constant", (2, 2))
    # Ceil mode is spelt out, but what it adds is not counted.
    spelt = (Sweep(2, 1, (0, 2), 2),) * 2
    assert found["n4"] == SetPool(Pool("average", spelt, counted=((0, 0), (0, 0))))


def test_a_head_over_a_dilated_map():
    steps = (
        (Pool("max", square(2, 2)), (3, 6, 6)),
        (Reshape("flatten"), (108,)),
        (Linear(108, 4), (4,)),
    )
    found = make_plan(blueprint((12, 12), *steps), stride=1)
    assert found.edits["n3"] == LinearToConv(3, 4, (6, 6), (2, 2), (0, 1, 2))
    assert [cut.node for cut in found.cuts] == ["n1"]
    assert found.grid((13, 15)).shape == (2, 4)


# --- several answers ---


def answers(left: int, right: int, *names: str, side: int = 24) -> Blueprint:
    """Two heads on the image, of these strides."""
    steps, ends = [], []
    for stride, classes in ((left, 3), (right, 5)):
        cells = side // stride
        steps.append(
            (Convolution(classes, square(stride, stride)), (classes, cells, cells), ["n0"])
        )
        steps.append((Reduce("average", (2, 3)), (classes,)))
        ends.append(f"n{len(steps)}")
    network = blueprint((side, side), *steps)
    end = replace(network.nodes[-1], op=Output(names), inputs=tuple(ends), shape=())
    return Blueprint((*network.nodes[:-1], end), (side, side), 3, 2)


def found(plan) -> list[tuple]:
    return [(answer.name, answer.outputs, answer.step) for answer in plan.answers]


def test_answers_of_one_stride():
    made = make_plan(answers(4, 4, "logits", "aux"))
    assert found(made) == [("logits", 3, (1, 1)), ("aux", 5, (1, 1))]
    assert (made.stride, made.outputs) == ((4, 4), 3)


@pytest.mark.parametrize(
    ("left", "right", "stride", "steps"), [(2, 4, 4, (2, 1)), (4, 6, 12, (3, 2)), (3, 2, 6, (2, 3))]
)
def test_answers_of_different_strides_share_a_common_map(left, right, stride, steps):
    made = make_plan(answers(left, right, "0", "1"))
    assert made.stride == made.native_stride == (stride, stride)
    assert found(made) == [("0", 3, (steps[0],) * 2), ("1", 5, (steps[1],) * 2)]


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6, 12])
def test_a_finer_stride_of_several_answers(stride):
    made = make_plan(answers(4, 6, "0", "1"), stride=stride)
    assert made.stride == (stride, stride)
    steps = [stride // gcd(own, stride) for own in (4, 6)]
    assert found(made) == [("0", 3, (steps[0],) * 2), ("1", 5, (steps[1],) * 2)]


def test_fragments_of_several_answers():
    """Both are put back together before the end: each is one cell at the window."""
    made = make_plan(answers(4, 6, "0", "1"), stride=1, method="fragments")
    assert found(made) == [("0", 3, (1, 1)), ("1", 5, (1, 1))]
    assert "end" not in made.edits


def test_an_answer_that_is_no_vector_is_named():
    network = answers(4, 4, "logits", "features")
    end = replace(network.nodes[-1], inputs=("n2", "n3"))
    with pytest.raises(
        RefusedError, match="the network's output features: is a 5×6×6 map, not one"
    ):
        make_plan(Blueprint((*network.nodes[:-1], end), network.window, 3, 2))


# --- indexing as a stride ---


def test_a_strided_shortcut():
    span = (0, None, 2)
    full = (0, None, 1)
    steps = ((Slice((full, full, span, span)), (3, 4, 4)), MEAN)
    assert list(edits((8, 8), *steps)) == ["n2"]
    finer = make_plan(blueprint((8, 8), *steps), stride=1).edits
    assert finer["n2"] == SetPool(Pool("average", square(4, dilation=2)))
