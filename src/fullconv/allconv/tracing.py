"""What a blueprint says of the surroundings of a node."""

from __future__ import annotations

from collections.abc import Iterable

from fullconv.blueprint import (
    Blueprint,
    Combine,
    Concat,
    Convolution,
    Elementwise,
    Identity,
    Node,
    PerChannel,
    Pool,
    Softmax,
)

NOT_NEGATIVE = frozenset(
    ("relu", "relu6", "hardsigmoid", "sigmoid", "softplus", "square", "abs", "exp")
)
"""Functions of each number that give none below 0, in lower case and without underscores."""


def behind(blueprint: Blueprint, names: Iterable[str]) -> frozenset[str]:
    """The nodes that are computed from any of the named ones."""
    found = set(names)
    for node in blueprint.nodes:
        if found & set(node.inputs):
            found.add(node.name)
    return frozenset(found - set(names))


def never_negative(blueprint: Blueprint, node: Node) -> bool:
    """Whether it can be told that no number of a node is below 0."""
    op = node.op
    if isinstance(op, Elementwise):
        return op.name.lower().strip("_") in NOT_NEGATIVE
    if isinstance(op, Softmax):
        return op.name == "softmax"
    passes = isinstance(op, Pool | Identity | Concat)
    adds = isinstance(op, Combine) and op.name.strip("_") in ("add", "iadd", "mul", "maximum")
    inputs = [blueprint.by_name[name] for name in node.inputs]
    return (passes or adds) and bool(inputs) and all(never_negative(blueprint, x) for x in inputs)


def own_convolution(blueprint: Blueprint, node: Node) -> Node | None:
    """The convolution whose result reaches a node number by number, and nobody else."""
    consumers = blueprint.consumers()
    while node.inputs:
        node = blueprint.by_name[node.inputs[0]]
        if len(consumers[node.name]) != 1:
            return None
        if isinstance(node.op, Convolution):
            return node
        if not isinstance(node.op, PerChannel | Elementwise | Identity):
            return None
        if isinstance(node.op, PerChannel) and "LocalResponse" in node.op.name:
            return None
    return None
