"""Ops of the body that look at the whole map: norms over space, and along channels."""

import pytest

from blueprints import blueprint, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Convolution,
    FeatureNorm,
    GroupNorm,
    Permute,
    Reduce,
    Reshape,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import AlongChannels, NormContext
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import context

OPS = set(context.RULES)

MEAN = (Reduce("average", (2, 3)), (3,))
BODY = (Convolution(3, square(3)), (3, 6, 6))
POOL = (AdaptivePool("average", (1, 1)), (3, 1, 1))


def refusal(*steps) -> str:
    with pytest.raises(RefusedError) as refused:
        plan((8, 8), *steps)
    return str(refused.value)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("sees", ["window", "image"])
def test_group_norm(groups, sees):
    steps = (BODY, (GroupNorm("group norm", groups), (3, 6, 6)), MEAN)
    made = make_plan(blueprint((8, 8), *steps), context=sees)
    assert made.edits["n2"] == NormContext(groups, (6, 6), (1, 1), sees == "window")
    assert [c.kind for c in made.contexts] == ["group norm"]
    assert made.receptive_field == ((13, 13) if sees == "window" else (8, 8))


def test_group_norm_of_a_vector():
    """There is no space: every cell has a mean and variance of its own."""
    made = plan((8, 8), BODY, POOL, (GroupNorm("group norm", 3), (3, 1, 1)))
    assert made.edits["n3"] == NormContext(3, (1, 1), (1, 1), True)
    assert made.contexts == ()


def test_layer_norm_along_channels():
    last = (Permute((0, 2, 3, 1)), (6, 6, 3))
    norm = FeatureNorm("layer norm", 1, True)
    steps = (BODY, last, (norm, (6, 6, 3)), (Reduce("average", (1, 2)), (3,)), (norm, (3,)))
    made = plan((8, 8), *steps)
    assert made.edits["n3"] == made.edits["n5"] == AlongChannels(2)
    assert made.contexts == ()
    assert made.receptive_field == (8, 8)


def test_layer_norm_over_the_whole_map():
    made = plan((8, 8), BODY, (FeatureNorm("layer norm", 3, False), (3, 6, 6)), MEAN)
    assert made.edits["n2"] == NormContext(1, (6, 6), (1, 1), True)
    assert [c.kind for c in made.contexts] == ["layer norm"]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([(FeatureNorm("layer norm", 3, True), (3, 8, 8))],
         "n1: normalises the last 3 axes of a 3×8×8 map, with a weight for every position.\nWhat is "
         "tied to positions of the window has no value outside it. Normalise along the channels "
         "only."),
        ([(FeatureNorm("layer norm", 1, False), (3, 8, 8))],
         "n1: normalises the last 1 axes of a 3×8×8 map, not its channels."),
        ([(FeatureNorm("RMS norm", 3, False), (3, 8, 8))],
         "n1: normalises the last 3 axes of a 3×8×8 map, not its channels."),
        ([(Permute((0, 2, 3, 1)), (8, 8, 3)), (GroupNorm("group norm", 2), (8, 8, 3))],
         "n2: treats axis 1 of a 3×8×8 map as channels, which it is not."),
        ([(Reshape("flatten"), (192,)), (GroupNorm("group norm", 2), (192,))],
         "n2: treats axis 1 of a 3×8×8 map as channels, which it is not."),
    ],
)  # fmt: skip
def test_norms_that_are_refused(steps, message):
    assert refusal(*steps).startswith(message)
