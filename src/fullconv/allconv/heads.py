"""What becomes of the head of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from fullconv.allconv.edits import MeanHead, ScoresHead
from fullconv.allconv.plan import Step
from fullconv.allconv.surroundings import plain_name
from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Combine,
    Constant,
    Convolution,
    Elementwise,
    Identity,
    Linear,
    Node,
    PerChannel,
    Permute,
    Pool,
    Reduce,
    Reshape,
    Softmax,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import LinearToConv, ReduceChannels, bare
from fullconv.surgery.plan import Plan


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a classifier.

    Attributes:
        nodes: what is computed from the body's last maps, up to the scores.
        scores: the node of the scores.
        ending: the nodes that scores go through last, number by number or as a softmax.
    """

    nodes: tuple[Node, ...]
    scores: Node
    ending: tuple[Node, ...]

    @property
    def layers(self) -> list[Node]:
        """The FC layers."""
        return [node for node in self.nodes if isinstance(node.op, Linear)]


def head_of(blueprint: Blueprint, rear: frozenset[str]) -> Head:
    """The head, of which `rear` are the nodes that are computed from the body's last maps."""
    node = blueprint.by_name[blueprint.output.inputs[0]]
    ending: list[Node] = []
    while node.name in rear and isinstance(node.op, Identity | Reshape | Softmax | Elementwise):
        if isinstance(node.op, Softmax | Elementwise):
            ending.insert(0, node)
        node = blueprint.by_name[node.inputs[0]]
    before = _before(blueprint, node)
    nodes = tuple(n for n in blueprint.nodes if n.name in rear and n.name in before)
    return Head(nodes, node, tuple(ending))


def exact_head(blueprint: Blueprint, plan: Plan, head: Head) -> list[Step]:
    """FC layers as `fullconv.convert` writes them, and the mean over the map."""
    names = {node.name for node in head.nodes}
    layers = [
        Step(step.node, step.where, step.was, step.why, edit, "exact")
        for step in plan.steps
        if step.node in names and isinstance(edit := bare(step.edit), LinearToConv)
    ]
    return [*layers, _mean(head.scores, head.scores, whole=True)]


def average_head(
    blueprint: Blueprint, plan: Plan, head: Head, removed: int, *, fitted: bool
) -> list[Step]:
    """A 1×1 convolution to the scores and the mean over the map; `fitted` where there are images.

    A head without FC layers is convolutional already: it stays, and so do its `removed`
    parameters. Raises RefusedError for one that reads several maps.
    """
    if not head.layers:
        if len(plan.cuts) == 1 and _is_mean(plan, head):
            return [_mean(blueprint.by_name[plan.cuts[0].node], head.scores, whole=False)]
        return [_mean(head.scores, head.scores, whole=True)]
    if len(plan.cuts) != 1:
        maps = ", ".join(blueprint.by_name[cut.node].where for cut in plan.cuts)
        raise RefusedError(
            f"the head reads {len(plan.cuts)} maps: {maps}.",
            where=head.layers[0].where,
            why="A 1×1 convolution and an average replace a head that reads one map.",
            hint='Pass head="exact", which keeps what the head computes.',
        )
    (cut,) = plan.cuts
    affine = all(_is_affine(blueprint, node) for node in head.nodes)
    alike = affine and all(_same_everywhere(plan, node) for node in head.nodes)
    start = "exact" if alike else "summed" if affine else "fitted scores" if fitted else "random"
    first, last = head.layers[0], head.layers[-1]
    where = first.where if first is last else f"{first.where} … {last.where}"
    was = str(first.op) if first is last else f"{len(head.layers)} FC layers"
    why = "the same weights for every cell"
    if alike:
        why = "the scores of the mean are the mean of scores"
    edit = ScoresHead(cut.node, cut.channels, plan.outputs, affine)
    added = plan.outputs * cut.channels + plan.outputs
    return [Step(last.name, where, was, why, edit, start, added, removed)]


def _mean(source: Node, scores: Node, *, whole: bool) -> Step:
    why = "one score vector for an image of any size"
    return Step(scores.name, scores.where, str(scores.op), why, MeanHead(source.name, whole),
                "exact")  # fmt: skip


def _before(blueprint: Blueprint, node: Node) -> set[str]:
    """A node and all that it is computed from."""
    found: set[str] = set()
    frontier = [node.name]
    while frontier:
        name = frontier.pop()
        if name not in found:
            found.add(name)
            frontier += blueprint.by_name[name].inputs
    return found


def _is_mean(plan: Plan, head: Head) -> bool:
    """Whether the head is the mean over the map and nothing else."""
    if any(isinstance(plan.edits.get(node.name), ReduceChannels) for node in head.nodes):
        return False
    return all(
        isinstance(node.op, Reshape | Identity | Permute) or _averages_all(plan, node)
        for node in head.nodes
    )


def _averages_all(plan: Plan, node: Node) -> bool:
    """Whether a node is the mean over all cells along every axis that it pools."""
    op = node.op
    if isinstance(op, AdaptivePool):
        return op.kind == "average" and all(cells == 1 for cells in op.output)
    if isinstance(op, Reduce):
        return op.kind == "average"
    (cut,) = plan.cuts
    sizes = tuple(axis.size for axis in cut.axes)
    return (
        isinstance(op, Pool)
        and op.kind == "average"
        and op.divisor is None
        and not any(sweep.pads for sweep in op.sweeps)
        and tuple(sweep.kernel for sweep in op.sweeps) == sizes
    )


_AFFINE = frozenset(("add", "sub", "mul", "neg", "iadd", "isub", "imul", "subtract", "multiply"))
"""Functions of one tensor and constants that scale and shift it."""


def _is_affine(blueprint: Blueprint, node: Node) -> bool:
    """Whether a node's numbers are sums of its input's times weights, and a constant."""
    op = node.op
    if isinstance(op, Pool | AdaptivePool | Reduce):
        return op.kind in ("average", "sum")
    if isinstance(op, PerChannel):
        return op.name.lower().replace("_", "").startswith("batchnorm")
    if isinstance(op, Combine | Elementwise):
        fixed = [isinstance(blueprint.by_name[name].op, Constant) for name in node.inputs]
        return fixed.count(False) == 1 and plain_name(op.name) in _AFFINE
    return isinstance(op, Linear | Convolution | Reshape | Permute | Identity)


def _same_everywhere(plan: Plan, node: Node) -> bool:
    """Whether a node of an affine head treats all cells of the window alike."""
    op = node.op
    if isinstance(op, Pool | AdaptivePool | Reduce):
        return _averages_all(plan, node) or (isinstance(op, Reduce) and op.kind == "sum")
    if isinstance(op, Convolution):
        return all(sweep.kernel == 1 for sweep in op.sweeps)
    edit = bare(plan.edits.get(node.name))
    return not isinstance(edit, LinearToConv) or all(n == 1 for n in edit.taps)
