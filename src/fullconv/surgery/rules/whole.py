"""Ops that pool over the whole map or to a fixed output size: adaptive pools and reductions."""

from __future__ import annotations

from fullconv.blueprint import AdaptivePool, Node, Pool, Reduce
from fullconv.geometry import Axis, Sweep, times
from fullconv.surgery.edits import Bypass, Edit, SetPool
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, only_map, plain_map, refuse
from fullconv.surgery.values import CHANNEL, Bins, Map, Value


def spans(cells: int, output: int) -> Bins:
    """The half-open bins of adaptive pooling from `cells` to `output`, as PyTorch lays them."""
    return tuple((i * cells // output, -(-(i + 1) * cells // output)) for i in range(output))


def _one(kernel: int, axis: Axis) -> tuple[Axis, Sweep]:
    """An axis pooled to one cell for the whole window, and the sweep that does it."""
    sweep = Sweep(kernel)
    return axis.swept(sweep, keep=1, collapse=True), axis.inner(sweep, keep=1)


def adaptive_pool(
    op: AdaptivePool, node: Node, inputs: tuple[Value, ...], setting: Setting
) -> Outcome:
    """Adaptive pooling, fixed to what it does at the window.

    Per axis: to one cell, a pool over the window; to as many cells as there are, nothing; to a
    divisor, a pool of stride 1 whose result is read at a dilation; to any other number, bins that
    overlap or differ in size: these wait to be folded into the linear layer that follows.
    """
    x = plain_map(node, inputs[0])
    axes: list[Axis] = []
    sweeps: list[Sweep] = []
    bins: list[Bins] = []
    for axis, output in zip(x.axes, op.output, strict=True):
        waiting: Bins = ()
        if output == 1:
            after, sweep = _one(axis.size, axis)
        elif axis.size % output == 0:
            regular = Sweep(axis.size // output, axis.size // output)
            after, sweep = axis.swept(regular, keep=1), axis.inner(regular, keep=1)
        else:
            after, sweep = axis, Sweep(1)
            waiting = spans(axis.size, output)
        axes.append(after)
        sweeps.append(sweep)
        bins.append(waiting)
    if any(bins) and op.kind == "max":
        refuse(
            node,
            f"takes maxima over overlapping bins, {times([a.size for a in x.axes])} cells to "
            f"{times(op.output)}.",
            why="Bins that differ in size have no equivalent that slides.",
            hint="Choose a window whose map divides evenly.",
        )
    moves = any(sweep.kernel > 1 for sweep in sweeps)
    edit: Edit = SetPool(Pool(op.kind, tuple(sweeps))) if moves else Bypass()
    if any(bins):
        why = "its overlapping bins are folded into the linear layer that follows"
    elif moves:
        why = f"at the window it is this pool: {times([a.size for a in x.axes])} cells in"
    else:
        why = "at the window its bins are single cells"
    value = Map(x.channels, tuple(axes), x.layout, tuple(bins) if any(bins) else ())
    return Outcome(value, edit, why)


def reduce(op: Reduce, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """A mean or maximum over space is a pool over the window."""
    x = only_map(node, inputs)
    if 0 in op.axes:
        refuse(node, "reduces the batch.", why="Images must stay independent of each other.")
    labels = {label for axis in op.axes for label in x.layout[axis - 1]}
    if CHANNEL in labels:
        refuse(
            node,
            f"takes the {op.kind} over the channels of a {x}.",
            why="Only reductions over space have a rule.",
        )
    axes, sweeps = list(x.axes), [Sweep(1) for _ in x.axes]
    for label in labels:
        axes[label - 1], sweeps[label - 1] = _one(x.axes[label - 1].size, x.axes[label - 1])
    # With keepdim the axes stay in the shape, with length 1.
    layout = tuple(g for axis, g in enumerate(x.layout, 1) if op.keepdim or axis not in op.axes)
    moves = any(sweep.kernel > 1 for sweep in sweeps)
    edit: Edit = SetPool(Pool(op.kind, tuple(sweeps))) if moves else Bypass()
    why = "over space it is a pool over the window" if moves else "there is one cell already"
    return Outcome(Map(x.channels, tuple(axes), layout), edit, why)


RULES: dict[type, Rule] = {AdaptivePool: adaptive_pool, Reduce: reduce}
