"""Ops that pool over the whole map or to a fixed output size: adaptive pools and reductions."""

from __future__ import annotations

from dataclasses import replace

from fullconv.blueprint import AdaptivePool, Node, Pool, Reduce
from fullconv.geometry import Axis, Sweep, times
from fullconv.surgery.edits import Bypass, Edit, PoolWindow, SetPool
from fullconv.surgery.rules.channels import reduce_channels
from fullconv.surgery.rules.context import survey
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, only_map, plain_map, refuse
from fullconv.surgery.values import CHANNEL, Bins, Map, Value


def spans(cells: int, output: int) -> Bins:
    """The half-open bins of adaptive pooling from `cells` to `output`, as PyTorch lays them."""
    return tuple((i * cells // output, -(-(i + 1) * cells // output)) for i in range(output))


def _one(axis: Axis, setting: Setting) -> tuple[Axis, Sweep]:
    """An axis pooled to one cell for the whole window, and the sweep that does it."""
    sweep = Sweep(axis.size)
    if axis.context:
        return axis, sweep  # there is one value, the same for all cells of the window
    return axis.swept(sweep, keep=1, collapse=True), setting.inner(axis, sweep, 1)


def adaptive_pool(
    op: AdaptivePool, node: Node, inputs: tuple[Value, ...], setting: Setting
) -> Outcome:
    """Adaptive pooling, fixed to what it does at the window.

    Per axis: to one cell, a pool over the window; to as many cells as there are, nothing; to a
    divisor, a pool of stride 1 whose result is read at a dilation; to any other number, bins that
    overlap or differ in size: these wait to be folded into the linear layer that follows.
    """
    x = plain_map(node, inputs[0])
    if node.name in setting.contexts:
        every = tuple(range(1, len(x.axes) + 1))
        if any(output != 1 for output in op.output):
            refuse(
                node,
                f"pools a {x} to {times(op.output)} cells, which then meet the map again.",
                why="Which of them belongs to which cell depends on the window.",
                hint="Pool to one cell.",
            )
        return survey(x, op.kind, every, x.layout, setting)
    axes: list[Axis] = []
    sweeps: list[Sweep] = []
    bins: list[Bins] = []
    for axis, output in zip(x.axes, op.output, strict=True):
        waiting: Bins = ()
        if output == 1:
            after, sweep = _one(axis, setting)
        elif axis.size % output == 0:
            regular = Sweep(axis.size // output, axis.size // output)
            after, sweep = axis.swept(regular, keep=1), setting.inner(axis, regular, 1)
            after = replace(after, binned=axis.binned or after.dilation > axis.dilation)
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
    """A mean, maximum or sum over space is a pool over the window; over channels it stays one."""
    x = only_map(node, inputs)
    if 0 in op.axes:
        refuse(node, "reduces the batch.", why="Images must stay independent of each other.")
    labels = {label for axis in op.axes for label in x.layout[axis - 1]}
    if labels and max(labels) <= CHANNEL:
        return reduce_channels(op, node, x, labels)
    if min(labels, default=1) <= CHANNEL or not x.is_whole or x.bins:
        refuse(
            node,
            f"takes the {op.kind} over channels and space of a {x} at once.",
            why="Only reductions over space, or over channels, have a rule.",
            hint="Reduce one after the other.",
        )
    # With keepdim the axes stay in the shape, with length 1.
    layout = tuple(g for axis, g in enumerate(x.layout, 1) if op.keepdim or axis not in op.axes)
    if node.name in setting.contexts:
        return survey(x, op.kind, tuple(sorted(labels)), layout, setting)
    axes, sweeps = list(x.axes), [Sweep(1) for _ in x.axes]
    for label in labels:
        axes[label - 1], sweeps[label - 1] = _one(x.axes[label - 1], setting)
    kernel = tuple(sweep.kernel for sweep in sweeps)
    edit: Edit = Bypass()
    if op.kind not in ("average", "max", "min", "sum") or any(size > 1 for size in kernel):
        edit = (
            SetPool(Pool(op.kind, tuple(sweeps)))
            if op.kind in ("average", "max")
            else (PoolWindow(op.kind, kernel, tuple(sweep.dilation for sweep in sweeps)))
        )
    why = (
        "there is one cell already"
        if isinstance(edit, Bypass)
        else ("over space it is a pool over the window")
    )
    return Outcome(Map(x.channels, tuple(axes), layout), edit, why)


RULES: dict[type, Rule] = {AdaptivePool: adaptive_pool, Reduce: reduce}
