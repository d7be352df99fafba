"""The plan of an all-convolutional network: pools and head, before any tensor is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from fullconv.allconv.edits import (
    AverageHead,
    ConvBeforePool,
    DropPool,
    Edit,
    ExactHead,
    PoolToConv,
    Restride,
)
from fullconv.allconv.heads import average_head
from fullconv.allconv.tracing import behind, never_negative, own_convolution
from fullconv.blueprint import Blueprint, Convolution, Node, Pool
from fullconv.errors import RefusedError, UsageError
from fullconv.geometry import Sweep, times
from fullconv.surgery.plan import Plan
from fullconv.tables import table

POOLS = ("conv", "strided", "convpool", "keep")
"""What becomes of pools: in Springenberg et al. 2015 (section 2, table 2) All-CNN, Strided-CNN,
ConvPool-CNN, and the base."""

HEADS = ("gap", "exact")
"""What becomes of the head: 1×1 convolution and global average, or the same as convolutions."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    Attributes:
        node, where: its name in the blueprint, and for people.
        was, why: what it was and why it changes, in words.
        start: what the new weights begin as, in words; empty where there are none.
        added: parameters that come, less those that go.
        edit: what it becomes.
    """

    node: str
    where: str
    was: str
    why: str
    start: str
    added: int
    edit: Edit


@dataclass(frozen=True, slots=True)
class AllConvPlan:
    """How a classifier becomes an all-convolutional network.

    Attributes:
        window: the classifier's input size, px per axis.
        channels, outputs: of the image, and how many scores.
        pools, head: what was asked for.
        steps: the changes, in the order of computation.
        before: parameters of the classifier.
        head_before: those of its layers behind the body.
    """

    window: tuple[int, ...]
    channels: int
    outputs: int
    pools: str
    head: str
    steps: tuple[Step, ...]
    before: int
    head_before: int

    @property
    def after(self) -> int:
        """Parameters of the new network."""
        return self.before + sum(step.added for step in self.steps)

    def summary(self) -> list[tuple[str, str]]:
        """The facts beside the steps, as (name, value) pairs for people."""
        pools = sum(step.added for step in self.steps if not is_head(step))
        head = sum(step.added for step in self.steps if is_head(step))
        return [
            ("window", f"{times(self.window)} px"),
            ("parameters before", f"{self.before:,}, of them {self.head_before:,} in the head"),
            ("parameters after", f"{self.after:,} (pools {pools:+,}, head {head:+,})"),
        ]

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-serialisable values."""
        steps = [
            {**asdict(step), "edit": type(step.edit).__name__, "becomes": str(step.edit)}
            for step in self.steps
        ]
        return {**asdict(self), "steps": steps, "after": self.after}

    def __str__(self) -> str:
        rows = [
            (step.where, step.was, str(step.edit), step.start or "–", step.why)
            for step in self.steps
        ]
        changes = table(("node", "was", "becomes", "starts as", "why"), rows)
        return f"{changes}\n{table((), self.summary())}"


def is_head(step: Step) -> bool:
    """Whether a step is about the head."""
    return isinstance(step.edit, AverageHead | ExactHead)


def make_plan(
    blueprint: Blueprint,
    plan: Plan,
    *,
    pools: str,
    head: str,
    parameters: Callable[[frozenset[str]], int],
    single: Callable[[str], bool],
) -> AllConvPlan:
    """The changes of a network that was read and planned.

    Args:
        blueprint, plan: of the classifier; the plan is that of `fullconv.plan`.
        pools, head: what is to become of them: see `POOLS` and `HEADS`.
        parameters: how many parameters the nodes of a set use that no other node uses; of no nodes
            at all, those of the whole network.
        single: whether the convolution of a node is a layer of its own whose steps can be changed.

    Raises UsageError for unknown words, RefusedError for a network with several answers, or whose
    head reads several maps.
    """
    for name, value, known in (("pools", pools, POOLS), ("head", head, HEADS)):
        if value not in known:
            raise UsageError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}.")
    if len(plan.answers) > 1:
        raise RefusedError(
            f"the network gives {len(plan.answers)} answers.",
            why="An all-convolutional network has one score vector.",
            hint="Wrap it in an nn.Module that returns the one to keep.",
        )
    rear = behind(blueprint, [cut.node for cut in plan.cuts])
    spared = rear | {context.node for context in plan.contexts}
    steps = [
        step
        for node in blueprint.nodes
        if isinstance(node.op, Pool) and node.name not in spared and _pools(node.op)
        for step in _of_pool(blueprint, node, node.op, pools, single)
    ]
    head_before = parameters(rear)
    if head == "exact":
        last = blueprint.by_name[blueprint.output.inputs[0]]
        steps.append(
            Step(last.name, "the head", "fully connected", "the same function", "", 0, ExactHead())
        )
    else:
        steps += average_head(blueprint, plan, rear, head_before, Step)
    return AllConvPlan(
        window=plan.window,
        channels=plan.channels,
        outputs=plan.outputs,
        pools=pools,
        head=head,
        steps=tuple(steps),
        before=parameters(frozenset()),
        head_before=head_before,
    )


def _pools(op: Pool) -> bool:
    return any(sweep.kernel > 1 or sweep.stride > 1 for sweep in op.sweeps)


def _of_pool(
    blueprint: Blueprint, node: Node, op: Pool, pools: str, single: Callable[[str], bool]
) -> list[Step]:
    """What becomes of one pool of the body."""
    if pools == "keep":
        return []
    source = blueprint.by_name[node.inputs[0]]
    channels, relu = source.shape[1], never_negative(blueprint, source)
    if pools == "convpool":
        sweeps = tuple(_same_size(sweep) for sweep in op.sweeps)
        edit = ConvBeforePool(channels, sweeps, relu)
        why = "a layer that learns what to pool"
        added = _parameters(channels, sweeps)
        return [Step(node.name, node.where, str(op), why, "the identity: exact", added, edit)]
    why = "learns how to pool"
    if pools == "strided" and op.kind == "max":
        found = _restrided(blueprint, node, op, single)
        if found is not None:
            conv, longer = found
            why = f"dropped: {conv.where} makes its steps"
            return [
                Step(conv.name, conv.where, str(conv.op), "makes the steps of the pool that is "
                     "dropped", "its own weights", 0, Restride(longer)),
                Step(node.name, node.where, str(op), why, "", 0, DropPool(conv.name)),
            ]  # fmt: skip
        why = "no convolution of its own before it that could make its steps"
    sweeps = tuple(sweep.explicit() for sweep in op.sweeps)
    value = 1 / (op.divisor or prod(sweep.kernel for sweep in sweeps))
    replaced = PoolToConv(channels, sweeps, value, relu, op.kind == "max")
    start = "the average, not the maximum" if op.kind == "max" else f"the average: {_exact(op)}"
    added = _parameters(channels, sweeps)
    return [Step(node.name, node.where, str(op), why, start, added, replaced)]


def _parameters(channels: int, sweeps: tuple[Sweep, ...]) -> int:
    return channels * channels * prod(sweep.kernel for sweep in sweeps) + channels


def _exact(op: Pool) -> str:
    """How far a convolution can be an average pool."""
    hangs = any(sweep.ceil_mode for sweep in op.sweeps)
    pads = any(sweep.pads for sweep in op.sweeps)
    uncounted = pads and (not op.count_include_pad or bool(op.counted))
    if op.divisor is None and (hangs or uncounted):
        return "exact but at the rim, where zeros count"
    return "exact"


def _same_size(sweep: Sweep) -> Sweep:
    """The sweep of a convolution of the pool's kernel that keeps the size of the map."""
    reach = sweep.extent - 1
    return Sweep(sweep.kernel, 1, (reach // 2, reach - reach // 2), sweep.dilation)


def _restrided(
    blueprint: Blueprint, node: Node, op: Pool, single: Callable[[str], bool]
) -> tuple[Node, tuple[Sweep, ...]] | None:
    """The convolution that can make the steps of a max pool, and its new sweeps."""
    if all(sweep.stride == 1 for sweep in op.sweeps):
        return None
    conv = own_convolution(blueprint, node)
    if conv is None or not isinstance(conv.op, Convolution) or not single(conv.name):
        return None
    if conv.op.padding_mode != "zeros":
        return None
    sizes = blueprint.by_name[conv.inputs[0]].shape[2:]
    found = [
        _longer(own, pool, size, wanted)
        for own, pool, size, wanted in zip(
            conv.op.sweeps, op.sweeps, sizes, node.shape[2:], strict=True
        )
    ]
    sweeps = tuple(sweep for sweep in found if sweep is not None)
    return (conv, sweeps) if len(sweeps) == len(found) else None


def _longer(own: Sweep, pool: Sweep, size: int, wanted: int) -> Sweep | None:
    """The sweep of a convolution that makes the pool's steps too and gives `wanted` cells.

    It reads where the middle of the pool's window lies, or as near to it as padding allows.
    """
    stride = own.stride * pool.stride
    middle = (pool.extent - 1) // 2 - pool.padding[0]
    for offset in [*range(middle, 0, -1), 0] if middle > 0 else [0]:
        before = own.padding[0] - offset * own.stride
        least = (wanted - 1) * stride + own.extent - size - before
        after = max(least, 0)
        if before >= 0 and after < least + stride:
            if least <= own.padding[1] < least + stride:
                after = own.padding[1]
            return Sweep(own.kernel, stride, (before, after), own.dilation)
    return None
