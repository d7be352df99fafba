"""The invariants of a blueprint."""

import pytest

from blueprints import own_kinds
from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Concat,
    Convolution,
    Elementwise,
    Input,
    Linear,
    Node,
    Op,
    Output,
    Permute,
    Pool,
    Reduce,
    Softmax,
)
from fullconv.geometry import Sweep

IMAGE = Node("x", Input(), (), (2, 3, 8, 8))
RELU = Node("y", Elementwise("relu"), ("x",), (2, 3, 8, 8))
END = Node("end", Output(), ("y",), (2, 3, 8, 8))


def test_lookup():
    network = Blueprint((IMAGE, RELU, END), (8, 8), 3, 2)
    assert network.by_name["y"] is RELU
    assert network.output is END
    assert network.consumers() == {"x": (RELU,), "y": (END,), "end": ()}
    assert network == Blueprint((IMAGE, RELU, END), (8, 8), 3, 2)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((IMAGE, RELU, RELU, END), "node names must be unique"),
        ((IMAGE, RELU), "ends in its one output"),
        ((RELU, END), "has one input"),
        ((IMAGE, END, RELU), "ends in its one output"),
        ((IMAGE, Node("z", Elementwise("relu"), ("y",)), RELU, END), "before its inputs {'y'}"),
    ],
)
def test_invariants(nodes, message):
    with pytest.raises(AssertionError, match=message):
        Blueprint(nodes, (8, 8), 3, 2)


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Convolution(8, (Sweep(3), Sweep(5))), "Conv 3×5 → 8"),
        (Pool("max", (Sweep(2, 2), Sweep(3, 1))), "max pool 2×3, stride 2×1"),
        (AdaptivePool("average", (7, 7)), "adaptive average pool to 7×7"),
        (Reduce("max", (2, 3)), "max over axes 2, 3"),
        (Linear(4, 2), "Linear 4 → 2"),
        (Softmax(1, "log-softmax"), "log-softmax along axis 1"),
        (Concat(1), "concatenate along axis 1"),
        (Permute((0, 2, 1)), "permute to 0, 2, 1"),
    ],
)
def test_ops_in_words(op, text):
    assert str(op) == text


def test_every_op_compares_as_a_value():
    kinds = {kind.__name__ for kind in own_kinds(Op)}
    assert "Convolution" in kinds
    assert Linear(4, 2) == Linear(4, 2) != Linear(2, 4)
