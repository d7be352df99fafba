"""The surgery plan as a value: it prints, compares, and goes to JSON and back."""

import dataclasses
import json

import pytest

from blueprints import plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Concat,
    Convolution,
    Linear,
    Pool,
    Reshape,
    Slice,
    Softmax,
)
from fullconv.errors import InputError
from fullconv.surgery.edits import Edit
from fullconv.surgery.plan import Plan, Step

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
        (Slice((FULL, (1, 6, 1), FULL, FULL)), (5, 7, 7)),
        (Pool("average", square(7, 7)), (5, 1, 1)),
    )
    dilated = plan(
        (12, 12),
        (AdaptivePool("average", (4, 4)), (3, 4, 4)),
        (Convolution(5, square(2)), (5, 3, 3)),
        (Reshape("flatten"), (45,)),
        (Linear(45, 7), (7,)),
    )
    return [small(), ragged, dilated]


def test_there_and_back_through_json():
    for one in every_edit():
        data = json.loads(json.dumps(one.to_dict()))
        assert data["format"] == 1
        assert Plan.from_dict(data) == one


def test_every_type_of_edit_is_among_them():
    found = {type(edit).__name__ for one in every_edit() for edit in one.edits.values()}
    assert found == {kind.__name__ for kind in Edit.__subclasses__()}


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
        "Bypass": "(nothing)",
        "LinearToConv": "Conv 3×3, 5 → 7, dilation 3×3",
        "AlongChannels": "the same, along the channels of every cell",
        "CropToCommon": "the same, on the cells all branches have",
        "TakeChannels": "channels 1:6:1",
        "SetPool": "average pool 3×3, stride 1×1",
        "Resweep": "the same, stride 1×1, dilation 3×3",
    }
