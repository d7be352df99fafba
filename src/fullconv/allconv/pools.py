"""What becomes of the pools of a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from fullconv.allconv.edits import ConvBeforePool, DropPool, PoolToConv, Restride, uneven
from fullconv.allconv.plan import Step
from fullconv.allconv.surroundings import behind, own_convolution
from fullconv.blueprint import Blueprint, Constant, Convolution, Node, Pool
from fullconv.geometry import Sweep


@dataclass(frozen=True, slots=True)
class Around:
    """A blueprint, and what is asked of it at every pool.

    Attributes:
        blueprint: of the classifier.
        consumers: who reads each node.
        never_negative: the nodes with no number below 0.
        steps_can_change: whether the convolution of a node is PyTorch's own.
    """

    blueprint: Blueprint
    consumers: Mapping[str, tuple[Node, ...]]
    never_negative: frozenset[str]
    steps_can_change: Callable[[str], bool]


def is_pool(node: Node) -> bool:
    """Whether a node is a pool that does anything."""
    return isinstance(node.op, Pool) and any(s.kernel > 1 or s.stride > 1 for s in node.op.sweeps)


def steps_of_pool(around: Around, node: Node, pools: str, *, fitted: bool) -> list[Step]:
    """The changes for one pool, as one of `POOLS` says; `fitted` where there are images."""
    op = node.op
    assert isinstance(op, Pool)
    if pools == "keep":
        return []
    if pools == "convpool":
        return [_before(around, node, op)]
    if pools == "strided" and op.kind == "max":
        dropped = _dropped(around, node, op)
        if dropped:
            return dropped
    why = "learns how to pool"
    if pools == "strided":
        why = "averages are kept" if op.kind == "average" else "no convolution of its own before it"
    channels, relu = _input(around, node)
    sweeps = tuple(sweep.explicit() for sweep in op.sweeps)
    value = 1 / (op.divisor or prod(sweep.kernel for sweep in sweeps))
    single = all(sweep.kernel == 1 for sweep in sweeps)
    maximum = op.kind == "max" and not single
    if single:
        value = 1.0 if op.divisor is None or op.kind == "max" else value
    if maximum:
        start = "fitted maximum" if fitted else "average"
    else:
        start = "exact" if single else _exactness(around, node, op)
    edit = PoolToConv(channels, sweeps, value, relu, maximum)
    added = channels * channels * prod(sweep.kernel for sweep in sweeps) + channels
    return [Step(node.name, node.where, str(op), why, edit, start, added)]


def _input(around: Around, node: Node) -> tuple[int, bool]:
    """The channels of what a pool gets, and whether a ReLU on it changes nothing."""
    source = around.blueprint.by_name[node.inputs[0]]
    return source.shape[1], source.name in around.never_negative


def _before(around: Around, node: Node, op: Pool) -> Step:
    """A convolution that keeps the size of the map, as PyTorch pads for that."""
    channels, relu = _input(around, node)
    reach = [sweep.kernel - 1 for sweep in op.sweeps]
    sweeps = tuple(Sweep(n + 1, 1, (n // 2, n - n // 2)) for n in reach)
    edit = ConvBeforePool(channels, sweeps, relu)
    added = channels * channels * prod(sweep.kernel for sweep in sweeps) + channels
    why = "a layer before it learns what to pool"
    return Step(node.name, node.where, str(op), why, edit, "identity", added)


def _exactness(around: Around, node: Node, op: Pool) -> str:
    """How far a convolution is an average pool: what it pads with are numbers like all others."""
    sizes = around.blueprint.by_name[node.inputs[0]].shape[2:]
    if op.divisor is not None:
        return "exact"  # the sum is divided by one number everywhere
    uncounted = not op.count_include_pad or bool(op.counted)
    hangs = any(s.overhang(size) > 0 for s, size in zip(op.sweeps, sizes, strict=True))
    if hangs or (uncounted and any(sweep.pads for sweep in op.sweeps)):
        return "exact inside"
    return "exact at the window" if any(s.ceil_mode for s in op.sweeps) else "exact"


def _dropped(around: Around, node: Node, op: Pool) -> list[Step]:
    """A max pool that goes, and the convolution before it that makes its steps; or nothing."""
    conv = own_convolution(around.blueprint, around.consumers, node)
    if conv is None or not isinstance(conv.op, Convolution):
        return []
    sizes = around.blueprint.by_name[conv.inputs[0]].shape[2:]
    everywhere = _meets_others(around, node)
    sweeps = tuple(
        _longer(own, pool, size, wanted, everywhere=everywhere)
        for own, pool, size, wanted in zip(
            conv.op.sweeps, op.sweeps, sizes, node.shape[2:], strict=True
        )
    )
    zeros = conv.op.padding_mode == "zeros" or not uneven(sweeps)
    if not zeros or not around.steps_can_change(conv.name):
        return []
    why = f"the convolution before it makes its steps: {conv.where}"
    return [
        Step(conv.name, conv.where, str(conv.op), f"makes the steps of {node.where}",
             Restride(sweeps), "own weights"),
        Step(node.name, node.where, str(op), why, DropPool(conv.name)),
    ]  # fmt: skip


def _meets_others(around: Around, node: Node) -> bool:
    """Whether what follows a node is joined by maps that were not computed from it."""
    blueprint = around.blueprint
    after = behind(blueprint, [node.name]) | {node.name}
    beside = {
        name
        for later in blueprint.nodes
        if later.name in after and later is not node
        for name in later.inputs
        if name not in after
    }
    return any(not isinstance(blueprint.by_name[name].op, Constant) for name in beside)


def _longer(own: Sweep, pool: Sweep, size: int, wanted: int, *, everywhere: bool) -> Sweep:
    """The sweep of a convolution that makes the pool's steps too and gives `wanted` cells.

    Its first cell lies where the middle of the pool's first window does, or as near to it as
    padding allows that is alike on both sides; at least padding of a size will do. In images of
    other sizes it may give a cell more or less than the pool, unless it must not (`everywhere`).
    """
    stride = own.stride * pool.stride
    middle = Fraction(pool.extent - 1, 2) - pool.padding[0]  # cells of the convolution
    ideal = own.padding[0] - own.stride * middle
    # Floor divisions collapse: both sides together, for as many cells in images of any size.
    exact = own.gain() + own.stride * pool.gain() + own.extent - stride
    least = (wanted - 1) * stride + own.extent - size
    totals = range(exact, exact + 1) if everywhere else range(least, least + stride)
    alike = [total // 2 for total in totals if total % 2 == 0 and total >= 0]
    if alike:
        best = min(alike, key=lambda p: (abs(p - ideal), -p))
        return Sweep(own.kernel, stride, (best, best), own.dilation)
    before = -int(-ideal // 1)  # of two middles the first, as with padding alike
    after = min(max(before, totals[0] - before), totals[-1] - before)
    return Sweep(own.kernel, stride, (before, after), own.dilation)
