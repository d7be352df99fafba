"""The surgery plan as a value: it prints, compares, and goes to JSON and back."""

import dataclasses
import json

import pytest

from blueprints import blueprint, own_kinds, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Combine,
    Concat,
    Convolution,
    Enlarge,
    GroupNorm,
    Linear,
    MatMul,
    Output,
    Pad,
    Permute,
    Pool,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    Stack,
)
from fullconv.errors import InputError
from fullconv.geometry import Sweep
from fullconv.surgery.edits import Edit, Phases, ReduceChannels
from fullconv.surgery.plan import Plan, Step
from fullconv.surgery.planner import make_plan

FULL = (0, None, 1)


def small(window: int = 20) -> Plan:
    """A padded convolution, a stride of 2, a pooled and flattened head with a softmax."""
    side = window // 2
    return plan(
        (window, window),
        (Convolution(8, square(3, 2, 1)), (8, side, side)),
        (AdaptivePool("average", (3, 3)), (8, 3, 3)),
        (Reshape("flatten"), (72,)),
        (Linear(72, 16), (16,)),
        (Softmax(1), (16,)),
    )


def every_edit() -> list[Plan]:
    """Plans that hold an edit of every type between them."""
    ragged = plan(
        (15, 15),
        (Convolution(4, square(3, 2)), (4, 7, 7), ["n0"]),
        (Pool("max", square(2, 2)), (3, 7, 7), ["n0"]),
        (Concat(1), (7, 7, 7), ["n1", "n2"]),
        (Pool("average", square(7, 7)), (7, 1, 1)),
        (Slice((FULL, (1, 6, 1), FULL, FULL)), (5, 1, 1)),
        (Reshape("flatten"), (5,)),
        (Slice((FULL, (1, 4, 2))), (2,)),
    )
    dilated = plan(
        (12, 12),
        (AdaptivePool("average", (4, 4)), (3, 4, 4)),
        (Convolution(5, square(2)), (5, 3, 3)),
        (Reshape("flatten"), (45,)),
        (Linear(45, 7), (7,)),
    )
    return [
        small(),
        ragged,
        dilated,
        gates(),
        gated(),
        attention(),
        parts(),
        finer("dilate"),
        finer("fragments"),
        *two(),
    ]


def gates(context: str = "window") -> Plan:
    """Context ops: squeeze-excite with a convolution along the vector, and a group norm."""
    steps = (
        (GroupNorm("group norm", 3), (3, 12, 12)),
        (Reduce("average", (2, 3)), (3,)),
        (Reshape("unsqueeze"), (1, 3)),
        (Convolution(1, (Sweep(3, 1, (1, 1)),)), (1, 3)),
        (Reshape("view"), (3, 1, 1)),
        (Combine("mul"), (3, 12, 12), ["n1", "n5"]),
        (Reduce("norm", (2, 3)), (3,)),
    )
    return make_plan(blueprint((12, 12), *steps), context=context)


def gated() -> Plan:
    """A context op over a map whose phases lie in the batch."""
    steps = (
        (Pool("max", square(2, 2)), (3, 6, 6)),
        (Reduce("average", (2, 3), True), (3, 1, 1)),
        (Combine("mul"), (3, 6, 6), ["n1", "n2"]),
        (Reduce("max", (2, 3)), (3,)),
    )
    return make_plan(blueprint((12, 12), *steps), stride=1, method="fragments")


def attention() -> Plan:
    """A mean weighed by a softmax over the map."""
    return plan(
        (4, 4),
        (Convolution(1, square(1)), (1, 4, 4), ["n0"]),
        (Reshape("flatten"), (1, 16)),
        (Softmax(2), (1, 16)),
        (Permute((0, 2, 1)), (16, 1)),
        (Reshape("flatten"), (3, 16), ["n0"]),
        (MatMul("matmul"), (3, 1), ["n5", "n4"]),
        (Reshape("flatten"), (3,)),
    )


def parts() -> Plan:
    """Channels stacked, weighed, reduced and shuffled in parts; blocks; a repeated map."""
    return plan(
        (12, 12),
        (Convolution(4, square(1)), (4, 12, 12), ["n0"]),
        (Convolution(4, square(1)), (4, 12, 12), ["n0"]),
        (Stack(1), (2, 4, 12, 12), ["n1", "n2"]),
        (Softmax(1), (2, 4, 12, 12)),
        (Reduce("sum", (1,)), (4, 12, 12)),
        (Reshape("view"), (2, 2, 12, 12)),
        (Permute((0, 2, 1, 3, 4)), (2, 2, 12, 12)),
        (Reshape("view"), (4, 12, 12)),
        (Reshape("view"), (4, 6, 2, 6, 2)),
        (Permute((0, 1, 3, 5, 2, 4)), (4, 2, 2, 6, 6)),
        (Reshape("view"), (16, 6, 6)),
        (Enlarge("nearest"), (16, 12, 12)),
        (Reduce("average", (2, 3)), (16,)),
    )


def finer(method: str) -> Plan:
    """A stride given up, then padding and every third cell."""
    third = (1, None, 3)
    steps = (
        (Pool("max", square(2, 2)), (3, 12, 12)),
        (Pad(((0, 0), (0, 0), (1, 0), (0, 0))), (3, 13, 12)),
        (Slice((FULL, FULL, third, third)), (3, 4, 4)),
        (Reduce("average", (2, 3)), (3,)),
    )
    return make_plan(
        blueprint((24, 24), *steps), stride=2 if method == "fragments" else 3, method=method
    )


def two() -> list[Plan]:
    """Two answers, of strides 2 and 4: at the native stride and finer."""
    steps = (
        (Convolution(3, square(2, 2)), (3, 6, 6)),
        (Reduce("average", (2, 3)), (3,)),
        (Convolution(5, square(2, 2)), (5, 3, 3), ["n1"]),
        (Reduce("max", (2, 3)), (5,)),
    )
    network = blueprint((12, 12), *steps)
    end = dataclasses.replace(
        network.nodes[-1], op=Output(("logits", "aux")), inputs=("n2", "n4"), shape=()
    )
    network = dataclasses.replace(network, nodes=(*network.nodes[:-1], end))
    return [make_plan(network), make_plan(network, stride=(1, 4))]


def test_there_and_back_through_json():
    for one in every_edit():
        data = json.loads(json.dumps(one.to_dict()))
        assert data["format"] == 1
        assert Plan.from_dict(data) == one


def test_every_type_of_edit_is_among_them():
    found = {type(edit).__name__ for one in every_edit() for edit in one.edits.values()}
    assert found == {kind.__name__ for kind in own_kinds(Edit)}


def test_plans_compare():
    assert small() == small()
    assert small() != small(22)
    assert hash(small()) == hash(small())


def test_it_prints_as_a_table():
    text = str(small())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "node was becomes why"
    assert any(
        line.startswith("n2 adaptive average pool to 3×3 (nothing) its overlapping bins are folded")
        for line in lines
    )
    assert any(
        line.startswith("n4 Linear 72 → 16 Conv 10×10, 8 → 16, pooling folded in a weight for")
        for line in lines
    )
    assert "window 20×20 px, 3 channels" in lines
    assert "stride 2×2 px (native 2×2)" in lines
    assert "receptive field 21×21 px" in lines
    assert "scores 16 probabilities" in lines
    assert "pads 1 layers, first n1" in lines or "pads 1 layer, first n1" in lines
    assert max(map(len, text.splitlines())) <= 160


def test_facts():
    one = small()
    assert one.window == (20, 20)
    assert one.stride == one.native_stride == (2, 2)
    assert one.receptive_field == (21, 21)
    assert (one.channels, one.outputs, one.probabilities) == (3, 16, True)
    assert one.padded == ("n1",)
    assert not one.exact_windows
    assert [cut.node for cut in one.cuts] == ["n1"]
    assert one.cuts[0].channels == 8
    assert [step.node for step in one.steps] == ["n2", "n3", "n4", "n5"]
    assert one.untouched == 1
    assert one.grid((20, 27)).shape == (1, 4)
    with pytest.raises(InputError, match="19×20 px, smaller than the 20×20 window"):
        one.grid((19, 20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "plan format 99, expected 1"),
        ({"format": None}, "plan format None, expected 1"),
        ({"type": "Cut"}, "not a Cut"),
        ({"type": "Elsewhere"}, "unexpected type 'Elsewhere'"),
        ({"colour": "red"}, "not a Plan: .*'colour'"),
    ],
)
def test_what_is_no_plan(change, message):
    with pytest.raises(ValueError, match=message):
        Plan.from_dict({**small().to_dict(), **change})
    axis = small().to_dict()["cuts"][0]["axes"][0]
    with pytest.raises(ValueError, match="expected a plan, got Axis"):
        Plan.from_dict({"format": 1, **axis})


def test_invariants():
    one = small()
    with pytest.raises(AssertionError, match="does not divide"):
        dataclasses.replace(one, stride=(3, 3))
    twice = Step("n2", "n2", "a pool", "", one.steps[0].edit)
    with pytest.raises(AssertionError, match="at most one edit"):
        dataclasses.replace(one, steps=(*one.steps, twice))


def test_the_words_of_an_edit():
    """Every edit says what a node becomes."""
    words = {type(s.edit).__name__: s.becomes for one in every_edit() for s in one.steps}
    assert words == {
        "AlongChannels": "the same, along the channels of every cell",
        "Together": "average over the 6×6 box around every cell, with the 2×2 phases put together",
        "Attend": "weighted mean over the 4×4 box of every window",
        "Bypass": "(nothing)",
        "ConvAlongChannels": "the same, along the channels of every cell",
        "CropToCommon": "the same, on the cells all branches have",
        "Enlarge": "every cell repeated 2×2 times",
        "LinearToConv": "Conv 3×3, 5 → 7, dilation 3×3",
        "NormContext": "the same, with mean and variance of the 12×12 box around every cell",
        "Phases": "average pool 4×4, stride 1×1; 3×3 to 1×1 phases",
        "PoolContext": "average over the 12×12 box around every cell",
        "PoolWindow": "norm over 12×12, stride 1",
        "ReduceChannels": "sum over part 0 of 2×4",
        "Resweep": "the same, stride 1×2, dilation 2×1",
        "SetPad": "the same for every phase, dilation 2×2",
        "SetPool": "max pool 3×3, stride 1×1, dilation 4×1",
        "ShuffleChannels": "channels as 2×2, in the order (1, 0)",
        "SoftmaxParts": "softmax over part 0 of 2×4 channels",
        "SpaceToDepth": "blocks of 2×2 to channels, stride 2×2",
        "StackChannels": "concatenate along the channels",
        "TakeCells": "every 3×3 cells",
        "TakeChannels": "channels 1:4:2",
    }


def test_the_words_of_what_sees_the_whole_image():
    words = {type(s.edit).__name__: s.becomes for s in gates("image").steps}
    assert words["PoolContext"] == "average over the whole map"
    assert words["NormContext"] == "the same, over the whole map"
    assert str(ReduceChannels("max", (3,), 0)) == "max over channels"
    assert str(Phases(None, (2, 1), (1, 1))) == "the same; 2×1 to 1×1 phases"


def facts(one: Plan) -> dict[str, str]:
    return dict(one.summary())


def test_facts_of_context_ops():
    for context, sees in (("window", "the window around each cell"), ("image", "the whole image")):
        one = gates(context)
        assert facts(one)["context ops"] == f"2, first n1; they see {sees}"
        assert f"2, first n1; they see {sees}" in str(one)
        assert (one.context, one.exact_windows) == (context, False)
    assert "context ops" not in facts(small())


@pytest.mark.parametrize("method", ["dilate", "fragments"])
def test_facts_of_a_finer_stride(method):
    one = finer(method)
    assert facts(one)["method"] == method
    assert facts(one)["stride"].endswith(" px (native 6×6)")
    assert "method" not in facts(small())


def test_facts_of_several_answers():
    native, finer_ = two()
    assert facts(native)["answers"] == facts(finer_)["answers"] == "logits: 3, aux: 5"
    assert [answer.step for answer in native.answers] == [(2, 2), (1, 1)]
    assert [answer.step for answer in finer_.answers] == [(1, 2), (1, 1)]
    assert "answers" not in facts(small())
