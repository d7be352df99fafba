"""What a blueprint says of the surroundings of a node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Combine,
    Concat,
    Convolution,
    Elementwise,
    Enlarge,
    Expand,
    Identity,
    Node,
    PerChannel,
    Permute,
    Pool,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    SpaceToDepth,
    Stack,
)

NOT_NEGATIVE = frozenset(
    ("relu", "relu6", "sigmoid", "hardsigmoid", "softplus", "square", "abs", "exp", "sqrt")
)
"""Functions of each number that give none below 0, in lower case and without underscores."""

_KEEPS_SIGN = (
    AdaptivePool, Concat, Expand, Identity, Permute, Pool, Reduce, Reshape, Slice, SpaceToDepth,
    Stack,
)  # fmt: skip
"""Ops that make no number below 0 of numbers that are not."""

_SUMS = frozenset(("add", "iadd", "mul", "imul", "maximum", "multiply"))


def behind(blueprint: Blueprint, names: Iterable[str]) -> frozenset[str]:
    """The nodes that are computed from any of the named ones."""
    named = frozenset(names)
    found = set(named)
    for node in blueprint.nodes:
        if not found.isdisjoint(node.inputs):
            found.add(node.name)
    return frozenset(found - named)


def never_negative(blueprint: Blueprint) -> frozenset[str]:
    """The nodes of which it can be told that none of their numbers is below 0."""
    found: set[str] = set()
    for node in blueprint.nodes:
        op = node.op
        if isinstance(op, Elementwise):
            sure = plain_name(op.name) in NOT_NEGATIVE
        elif isinstance(op, Softmax):
            sure = op.name == "softmax"
        elif isinstance(op, Reduce) and op.kind in ("norm", "variance", "sample variance"):
            sure = True
        else:
            keeps = isinstance(op, _KEEPS_SIGN)
            sums = isinstance(op, Combine) and plain_name(op.name) in _SUMS
            keeps = keeps or sums or (isinstance(op, Enlarge) and op.mode != "bicubic")
            sure = keeps and bool(node.inputs) and found.issuperset(node.inputs)
        if sure:
            found.add(node.name)
    return frozenset(found)


def plain_name(name: str) -> str:
    """The name of a function whether it is a module, a function or works in place."""
    return name.lower().strip("_")


def own_convolution(
    blueprint: Blueprint, consumers: Mapping[str, tuple[Node, ...]], node: Node
) -> Node | None:
    """The convolution whose result reaches a node number by number, and nobody else.

    Between them every cell goes its own way: batch norm, activations, dropout.
    """
    while node.inputs:
        node = blueprint.by_name[node.inputs[0]]
        if len(consumers[node.name]) != 1:
            return None
        if isinstance(node.op, Convolution):
            return node
        if not isinstance(node.op, PerChannel | Elementwise | Identity):
            return None
    return None
