"""Ops without spatial effect, and the end of the network."""

import pytest

from blueprints import edits, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Convolution,
    Elementwise,
    Identity,
    Linear,
    Reduce,
    Reshape,
)
from fullconv.errors import RefusedError
from fullconv.surgery.rules import pointwise

OPS = set(pointwise.RULES)
MEAN = (Reduce("average", (2, 3)), (3,))


@pytest.mark.parametrize("op", [Elementwise("relu"), Identity("dropout")])
def test_no_effect_on_maps_flattened_maps_and_vectors(op):
    flat = (Reshape("flatten"), (192,))
    assert list(edits((8, 8), (op, (3, 8, 8)), MEAN, (op, (3,)))) == ["n2"]
    made = edits((8, 8), flat, (op, (192,)), (Linear(192, 4), (4,)), (op, (4,)))
    assert list(made) == ["n1", "n3"]


@pytest.mark.parametrize(
    "steps",
    [
        [MEAN],
        [(Convolution(4, square(8)), (4, 1, 1))],
        [(Convolution(4, square(8)), (4, 1, 1)), (Reshape("flatten"), (4,))],
        [(Convolution(1, square(8)), (1, 1, 1)), (Reshape("squeeze"), ())],
        [MEAN, (Reshape("unsqueeze"), (1, 3))],
    ],
)
def test_answers(steps):
    assert plan((8, 8), *steps).stride == (1, 1)


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([(Convolution(4, square(3)), (4, 6, 6))], "4×6×6 map"),
        ([(Reshape("flatten"), (192,))], "3×8×8 map"),
        ([(Reduce("max", (3,)), (3, 8))], "3×8×1 map"),
        ([(AdaptivePool("average", (4, 4)), (3, 4, 4)), (Reshape("flatten"), (48,))], "3×4×4 map"),
    ],
)
def test_answers_for_every_position(steps, what):
    with pytest.raises(RefusedError) as refusal:
        plan((8, 8), *steps)
    assert str(refusal.value) == (
        f"the network's output: is a {what}, not one score vector for the window.\nfullconv "
        "converts classifiers; this network already answers for every position, or not for the "
        "image at all."
    )
