"""Fragments: which phases lie in the batch, and where they move."""

import pytest

from blueprints import blueprint, square
from fullconv.blueprint import (
    AdaptivePool,
    Convolution,
    Linear,
    Pad,
    Pool,
    Reduce,
    Reshape,
)
from fullconv.errors import RefusedError
from fullconv.geometry import Axis
from fullconv.surgery.edits import LinearToConv, Phases, Resweep, SetPool, bare
from fullconv.surgery.phases import WHY, in_phases, phases_of
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import Outcome
from fullconv.surgery.values import Fixed, Map

MEAN = Reduce("average", (2, 3))


def network(*layers, side: int = 12):
    """Layers of 3 channels on a square image, then the mean."""
    steps = []
    size = side
    for op in layers:
        size = op.sweeps[0].count(size) if hasattr(op, "sweeps") else size + sum(op.amounts[2])
        steps.append((op, (3, size, size)))
    return blueprint((side, side), *steps, (MEAN, (3,)))


def fragments(*layers, stride=1, side: int = 12):
    return make_plan(network(*layers, side=side), stride=stride, method="fragments")


def test_phases_move_where_a_stride_is_given_up_and_back_at_the_end():
    conv, pool = Convolution(3, square(3)), Pool("max", square(2, 2))
    made = fragments(conv, pool, conv)
    assert made.edits == {
        "n2": Phases(SetPool(Pool("max", square(2))), (1, 1), (2, 2)),
        "n4": Phases(SetPool(Pool("average", square(3), counted=())), (2, 2), (1, 1)),
    }
    assert (made.method, made.stride, made.native_stride) == ("fragments", (1, 1), (2, 2))
    assert made.steps[0].why


def test_phases_of_phases():
    pool = Pool("max", square(2, 2))
    made = fragments(pool, pool)
    moves = [(edit.before, edit.after) for edit in made.edits.values()]
    assert moves == [((1, 1), (2, 2)), ((2, 2), (4, 4)), ((4, 4), (1, 1))]


def test_a_part_of_a_stride_is_still_stepped():
    made = fragments(Pool("max", square(4, 4)), stride=2)
    assert made.edits["n1"] == Phases(SetPool(Pool("max", square(4, 2))), (1, 1), (2, 2))


def test_axes_have_phases_of_their_own():
    made = fragments(Pool("max", square(2, 2)), stride=(1, 2))
    assert (made.edits["n1"].before, made.edits["n1"].after) == ((1, 1), (2, 1))


def test_layers_between_stay_as_they_are():
    """Also their padding, whatever its mode: every phase is a map of its own."""
    conv = Convolution(3, square(3, 1, 1), 1, "reflect")
    pad = Pad(((0, 0), (0, 0), (1, 1), (1, 1)), "reflect")
    layers = (Pool("max", square(2, 2)), conv, pad)
    assert list(fragments(*layers).edits) == ["n1", "n4"]
    with pytest.raises(RefusedError) as refusal:
        make_plan(network(*layers), stride=1)
    assert str(refusal.value) == (
        'n2: pads by reflect, which a dilated convolution does not do.\nPass method="fragments".'
    )


def test_the_native_stride_has_no_phases():
    layers = (Pool("max", square(2, 2)),)
    assert make_plan(network(*layers), method="fragments") == make_plan(network(*layers))
    assert fragments(*layers, stride=2) == make_plan(network(*layers))


def test_a_linear_layer_brings_them_back():
    steps = (
        (Pool("max", square(2, 2)), (3, 6, 6)),
        (Reshape("flatten"), (108,)),
        (Linear(108, 4), (4,)),
        (Linear(4, 2), (2,)),
    )
    made = make_plan(blueprint((12, 12), *steps), stride=1, method="fragments").edits
    assert made["n3"] == Phases(LinearToConv(3, 4, (6, 6), (1, 1), (0, 1, 2)), (2, 2), (1, 1))
    assert not isinstance(made["n4"], Phases)
    assert bare(made["n3"]) == LinearToConv(3, 4, (6, 6), (1, 1), (0, 1, 2))
    assert bare(made["n4"]) is made["n4"]
    assert bare(None) is None


def test_a_map_that_shrank_to_one_cell_brings_them_back_at_the_output():
    steps = ((Convolution(3, square(3, 2)), (3, 1, 1)),)
    made = make_plan(blueprint((3, 3), *steps), stride=1, method="fragments")
    assert made.edits["end"] == Phases(None, (2, 2), (1, 1))
    assert made.edits["n1"] == Phases(Resweep(square(3)), (1, 1), (2, 2))


def test_adaptive_pooling_makes_phases_too():
    steps = (
        (Pool("max", square(2, 2)), (3, 6, 6)),
        (AdaptivePool("average", (3, 3)), (3, 3, 3)),
        (MEAN, (3,)),
    )
    made = make_plan(blueprint((12, 12), *steps), stride=1, method="fragments").edits
    assert (made["n2"].before, made["n2"].after) == ((2, 2), (4, 4))


# --- refusals ---


@pytest.mark.parametrize(
    "layer",
    [Convolution(3, square(3, 3)), Pool("max", square(3, 3)), Pool("average", square(3, 3))],
)
def test_a_stride_that_would_take_in_phases_in_part(layer):
    """Native 6, of 2 and 3: at 3 px the second layer steps, over phases the first one left."""
    network_ = network(Pool("max", square(2, 2)), layer, side=24)
    for stride in (1, 2, 6):
        assert make_plan(network_, stride=stride, method="fragments").stride == (stride, stride)
    with pytest.raises(RefusedError) as refusal:
        make_plan(network_, stride=3, method="fragments")
    assert str(refusal.value) == (
        'n2: would step over a part of the phases in the batch.\nPass method="dilate".'
    )
    assert make_plan(network_, stride=3).stride == (3, 3)


def test_what_changes_nothing():
    x = Map.plain(3, (Axis(4, dilation=2), Axis(4)))
    assert phases_of(x) == (2, 1)
    same = Outcome(x)
    assert in_phases(same, (x,), ends=False) is same
    assert in_phases(Outcome(Fixed((3,))), (), ends=True).edit is None
    moved = in_phases(Outcome(x), (Map.plain(3, (Axis(4), Axis(4))),), ends=False)
    assert (moved.edit, moved.why) == (Phases(None, (1, 1), (2, 1)), WHY)


def test_answers_of_different_strides():
    one, other = (Map.plain(3, (Axis(1, dilation=n),)) for n in (1, 2))
    with pytest.raises(RefusedError) as refusal:
        in_phases(Outcome(other), (other, one), ends=True)
    assert str(refusal.value) == (
        'the network\'s output: gives answers of different strides.\nPass method="dilate".'
    )
