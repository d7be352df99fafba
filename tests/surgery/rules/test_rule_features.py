"""Linear layers, what works per channel, softmax."""

import pytest

from blueprints import edits, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Convolution,
    Linear,
    PerChannel,
    Permute,
    Reduce,
    Reshape,
    Softmax,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import AlongChannels, LinearToConv
from fullconv.surgery.rules import features

OPS = set(features.RULES)

FLATTEN = (Reshape("flatten"), (180,))
MEAN = (Reduce("average", (2, 3)), (3,))
LAST = (Permute((0, 2, 3, 1)), (6, 10, 3))


@pytest.mark.parametrize(
    ("steps", "edit"),
    [
        ([FLATTEN, (Linear(180, 4), (4,))], LinearToConv(3, 4, (6, 10), (1, 1), (0, 1, 2))),
        ([MEAN, (Linear(3, 4), (4,))], LinearToConv(3, 4, (1, 1), (1, 1), (0,))),
        (
            [LAST, FLATTEN, (Linear(180, 4), (4,))],
            LinearToConv(3, 4, (6, 10), (1, 1), (1, 2, 0)),
        ),
        (
            [(Reduce("max", (3,)), (3, 6)), (Reshape("flatten"), (18,)), (Linear(18, 4), (4,))],
            LinearToConv(3, 4, (6, 1), (1, 1), (0, 1)),
        ),
        (
            [
                (AdaptivePool("average", (3, 5)), (3, 3, 5)),
                (Reshape("flatten"), (45,)),
                (Linear(45, 4), (4,)),
            ],
            LinearToConv(3, 4, (3, 5), (2, 2), (0, 1, 2)),
        ),
    ],
)
def test_a_linear_layer_is_a_convolution(steps, edit):
    made = plan((6, 10), *steps)
    assert list(made.edits.values())[-1] == edit
    assert made.steps[-1].why == (
        "the same weights at every cell"
        if edit.kernel == (1, 1)
        else "a weight for every channel of every cell of the window"
    )
    assert made.receptive_field == (6, 10)


def test_linear_layers_at_every_cell_stay_a_map():
    steps = (LAST, (Linear(3, 5), (6, 10, 5)), (Permute((0, 3, 1, 2)), (5, 6, 10)))
    steps += ((Convolution(4, square(3)), (4, 4, 8)), (Reduce("average", (2, 3)), (4,)))
    made = edits((6, 10), *steps)
    assert made["n2"] == LinearToConv(3, 5, (1, 1), (1, 1), (0,))
    assert "n4" not in made


@pytest.mark.parametrize(
    "steps",
    [
        [(Reshape("flatten"), (60,)), (Linear(60, 4), (4,))],
        [(Linear(10, 4), (1, 6, 4))],
        [(Reshape("view"), (1, 60)), (Linear(60, 4), (1, 4))],
        [(Reshape("view"), (60, 1)), (Reshape("flatten"), (60,)), (Linear(60, 4), (4,))],
    ],
)
def test_one_channel(steps):
    """A channel of its own is not needed, but rows alone are still along space."""
    if steps[0][0] == Linear(10, 4):
        with pytest.raises(RefusedError, match="applied along space, to the last axis of a 1×6×10"):
            plan((6, 10), *steps, channels=1)
        return
    made = list(edits((6, 10), *steps, channels=1).values())[-1]
    assert (made.channels, made.kernel) == (1, (6, 10))


def test_per_channel():
    norm = PerChannel("BatchNorm2d", 3)
    assert "n1" not in edits((6, 10), (norm, (3, 6, 10)), MEAN)
    assert edits((6, 10), MEAN, (norm, (3,)))["n2"] == AlongChannels(2)
    assert str(norm) == "BatchNorm2d of 3"


@pytest.mark.parametrize("name", ["softmax", "log-softmax"])
def test_softmax(name):
    of_map, of_vector, last = Softmax(1, name), Softmax(1, name), Softmax(3, name)
    assert "n1" not in edits((6, 10), (of_map, (3, 6, 10)), MEAN)
    assert edits((6, 10), MEAN, (of_vector, (3,)))["n2"] == AlongChannels(2)
    steps = (LAST, (last, (6, 10, 3)), (Reduce("average", (1, 2)), (3,)))
    assert edits((6, 10), *steps)["n2"] == AlongChannels(2)
    ends = plan((6, 10), MEAN, (of_vector, (3,)))
    assert ends.probabilities == (name == "softmax")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [(Linear(10, 4), (3, 6, 4))],
            "n1: is applied along space, to the last axis of a 3×6×10 map.\nA fully-connected layer "
            "becomes a convolution only along channels, or along all of a flattened map. Flatten "
            "the map before it: torch.flatten(x, 1).",
        ),
        (
            [(Reshape("flatten"), (3, 60)), (Linear(60, 4), (3, 4))],
            "n2: is applied along space, to the last axis of a 3×6×10 map.",
        ),
        (
            [(Permute((0, 2, 1, 3)), (6, 3, 10)), (Reshape("flatten"), (6, 30)),
             (Linear(30, 4), (6, 4))],
            "n3: is applied along space, to the last axis of a 3×6×10 map.",
        ),
        (
            [FLATTEN, (Linear(192, 4), (4,))],
            "n2: expects 192 features, but its input is a 3×6×10 map (180).\nThe window given was "
            "6×10; pass window=8, the size the layer fits (8 px).",
        ),
        (
            [(AdaptivePool("average", (4, 4)), (3, 4, 4)), (Permute((0, 2, 3, 1)), (4, 4, 3)),
             (Linear(3, 5), (4, 4, 5))],
            "n3: works on single cells of a 3×4×4 map whose bins overlap at this window.\nSuch bins "
            "can be folded only into a linear layer over all of them. Choose a window whose map "
            "divides evenly into the bins.",
        ),
        (
            [FLATTEN, (PerChannel("BatchNorm1d", 180), (180,))],
            "n2: treats axis 1 of a 3×6×10 map as channels, which it is not.\nA scale for every "
            "position is tied to the window. Put it before the flattening or after the linear "
            "layer.",
        ),
        (
            [LAST, (PerChannel("PReLU", 6), (6, 10, 3))],
            "n2: treats axis 1 of a 3×6×10 map as channels, which it is not.",
        ),
        (
            [(Softmax(2), (3, 6, 10))],
            "n1: softmax over space, along axis 2 of a 3×6×10 map.\nWeights that sum to one over "
            "positions are attention: every window would need its own.",
        ),
        (
            [FLATTEN, (Softmax(1, "log-softmax"), (180,))],
            "n2: log-softmax over space, along axis 1 of a 3×6×10 map.",
        ),
        (
            [MEAN, (Softmax(0), (3,))],
            "n2: softmax over the batch.\nImages must stay independent of each other.",
        ),
    ],
)  # fmt: skip
def test_refusals(steps, message):
    with pytest.raises(RefusedError) as refusal:
        plan((6, 10), *steps)
    assert str(refusal.value).startswith(message)
