"""Attention pooling: a mean of the map, weighed by a softmax over its cells."""

import pytest

from blueprints import blueprint, plan, square
from fullconv.blueprint import Combine, Convolution, MatMul, Permute, Reshape, Softmax
from fullconv.errors import RefusedError
from fullconv.surgery.edits import Attend
from fullconv.surgery.planner import make_plan

WEIGHTS = (
    (Convolution(1, square(1)), (1, 4, 4), ["n0"]),
    (Reshape("flatten"), (1, 16)),
    (Softmax(2), (1, 16)),
)
MAP = (Reshape("flatten"), (3, 16), ["n0"])


def test_of_the_window_in_a_head():
    steps = (
        *WEIGHTS,
        (Permute((0, 2, 1)), (16, 1)),
        MAP,
        (MatMul("matmul"), (3, 1), ["n5", "n4"]),
    )
    made = plan((4, 4), *steps)
    assert made.edits["n6"] == Attend(1, (4, 4), (1, 1), True, False)
    assert made.contexts == ()


def test_with_the_weights_first():
    steps = (
        *WEIGHTS,
        MAP,
        (Permute((0, 2, 1)), (16, 3)),
        (MatMul("matmul"), (1, 3), ["n3", "n5"]),
    )
    assert plan((4, 4), *steps).edits["n6"] == Attend(0, (4, 4), (1, 1), True, False)


@pytest.mark.parametrize("sees", ["window", "image"])
def test_of_every_cell_where_it_meets_the_map(sees):
    steps = (
        *WEIGHTS,
        (Permute((0, 2, 1)), (16, 1)),
        MAP,
        (MatMul("matmul"), (3, 1), ["n5", "n4"]),
        (Reshape("view"), (3, 1, 1)),
        (Combine("mul"), (3, 4, 4), ["n0", "n7"]),
        (Convolution(2, square(4)), (2, 1, 1)),
    )
    made = make_plan(blueprint((4, 4), *steps), context=sees)
    assert made.edits["n6"] == Attend(1, (4, 4), (1, 1), sees == "window", True)
    assert [(c.node, c.kind) for c in made.contexts] == [("n6", "attention over the map")]


@pytest.mark.parametrize(
    "steps",
    [
        # Queries times keys, and weights that were changed after the softmax.
        (MAP, (Permute((0, 2, 1)), (16, 3)), (MatMul("matmul"), (3, 3), ["n1", "n2"])),
        (*WEIGHTS, (Combine("mul"), (1, 16), ["n3", "n3"])),
    ],
)
def test_any_other_attention_is_refused(steps):
    with pytest.raises(RefusedError, match="attention|Attention"):
        plan((4, 4), *steps)
