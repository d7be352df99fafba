"""The head of a classifier as a 1×1 convolution and an average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fullconv.allconv.edits import AverageHead
from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Elementwise,
    Identity,
    Linear,
    Node,
    Output,
    Permute,
    Pool,
    Reduce,
    Reshape,
    Softmax,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import LinearToConv, bare
from fullconv.surgery.plan import Plan


def average_head(
    blueprint: Blueprint,
    plan: Plan,
    rear: frozenset[str],
    parameters: int,
    step: Callable[..., Any],
) -> list[Any]:
    """The step that replaces the head; none where it has no FC layers.

    Raises RefusedError where it does not read one map, channels first.
    """
    nodes = [node for node in blueprint.nodes if node.name in rear]
    layers = [node for node in nodes if isinstance(node.op, Linear)]
    if not layers:
        return []
    if len(plan.cuts) != 1:
        raise RefusedError(
            f"its head reads {len(plan.cuts)} maps: {', '.join(c.node for c in plan.cuts)}.",
            why="A 1×1 convolution and an average replace a head that reads one.",
            hint='Pass head="exact".',
        )
    (cut,) = plan.cuts
    if any(len(group) != 1 for group in cut.layout) or [g[0] for g in cut.layout] != sorted(
        group[0] for group in cut.layout
    ):
        raise RefusedError(
            "its head reads a map that is not channels first.",
            where=blueprint.by_name[cut.node].where,
            hint='Pass head="exact".',
        )
    ending = _ending(blueprint)
    linear = layers[0].name if _only_averages(nodes, layers, ending) else ""
    start = "random: train it, or fit it to images"
    if linear:
        edit = bare(plan.edits.get(linear))
        pooled = isinstance(edit, LinearToConv) and all(n == 1 for n in edit.taps)
        start = f"{layers[0].where}: " + (
            "exact" if pooled else "its weights summed over the map, exact where that is flat"
        )
    head = AverageHead(cut.channels, plan.outputs, ending, linear, cut.node)
    what = f"{len(layers)} FC layer{'s' if len(layers) > 1 else ''}"
    added = plan.outputs * (cut.channels + 1) - parameters
    where = layers[0].where if len(layers) == 1 else f"{layers[0].where} … {layers[-1].where}"
    why = "far fewer parameters; another function, to be trained again"
    if linear and start.endswith(": exact"):
        why = "the scores of an average are the average of scores"
    return [step(layers[0].name, where, what, why, start, added, head)]


def _ending(blueprint: Blueprint) -> str:
    """What the scores go through last."""
    node: Node = blueprint.by_name[blueprint.output.inputs[0]]
    while isinstance(node.op, Identity | Reshape):
        node = blueprint.by_name[node.inputs[0]]
    if isinstance(node.op, Softmax):
        return node.op.name
    if isinstance(node.op, Elementwise) and node.op.name.lower() == "sigmoid":
        return "sigmoid"
    return ""


def _only_averages(nodes: list[Node], layers: list[Node], ending: str) -> bool:
    """Whether the head is one FC layer on the map, or on its average, and nothing else."""

    def harmless(node: Node) -> bool:
        op = node.op
        if isinstance(op, AdaptivePool | Pool | Reduce):
            return op.kind == "average"
        if isinstance(op, Softmax | Elementwise):
            return bool(ending)
        return isinstance(op, Linear | Reshape | Permute | Identity | Output)

    return len(layers) == 1 and all(harmless(node) for node in nodes)
