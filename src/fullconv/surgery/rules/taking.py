"""Indexing: some channels, or every n-th cell."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from fullconv.blueprint import Node, Slice
from fullconv.geometry import Sweep
from fullconv.surgery.edits import Bypass, TakeCells, TakeChannels
from fullconv.surgery.rules.channels import without_part
from fullconv.surgery.rules.rule import (
    Outcome,
    Rule,
    Setting,
    check_fragments,
    only_map,
    refuse,
)
from fullconv.surgery.values import CHANNEL, Map, Value

FULL = (0, None, 1)


def take(op: Slice, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Indexing of one kind: channels, a part of them, cells, or the only cell there is."""
    x = only_map(node, inputs)
    if op.ranges[0] != FULL:
        refuse(node, "indexes the batch.", why="Images must stay independent of each other.")
    taken = [
        axis
        for axis, span in enumerate(op.ranges[1:], 1)
        if (span != FULL or axis in op.dropped) and not _only_cell(op, x, axis)
    ]
    labels = {label for axis in taken for label in x.layout[axis - 1]}
    layout = tuple(g for axis, g in enumerate(x.layout, 1) if axis not in op.dropped)
    if not taken:
        edit = None if layout == x.layout else Bypass()
        return Outcome(x.laid_out(layout), edit, "there is one cell already" if edit else "")
    if max(labels) <= CHANNEL and len(taken) == 1:
        return _channels(op, node, x, taken[0], layout)
    cells = x.is_plain and not set(taken) & set(op.dropped) and min(labels) > CHANNEL
    if cells and all(op.ranges[axis][1] is None for axis in taken):
        return _cells(op, node, x, setting)
    if min(labels) <= CHANNEL and x.is_plain:
        refuse(node, "indexes channels and space at once.", hint="Index them one after the other.")
    return refuse(
        node,
        f"takes single positions of a {x}.",
        why="A fixed position of the window has no equivalent that slides.",
        hint="Pool over space instead.",
    )


def _only_cell(op: Slice, x: Map, axis: int) -> bool:
    """Whether an axis of length 1 is dropped or kept: nothing is lost."""
    group = x.layout[axis - 1]
    start, stop, _ = op.ranges[axis]
    channels = any(label <= CHANNEL for label in group)
    return x.extent(group) == 1 and not channels and start == 0 and (stop is None or stop >= 1)


def _channels(
    op: Slice, node: Node, x: Map, axis: int, layout: tuple[tuple[int, ...], ...]
) -> Outcome:
    """Some of the channels, or some of the slowest part they are seen as."""
    group, (start, stop, step) = x.group(axis), op.ranges[axis]
    why = "channels are axis 1 in every map"
    if group != (CHANNEL,) or (x.parts and step != 1):
        refuse(
            node,
            f"takes some of a part of a {x}'s channels.",
            why="Only the first part can be taken from.",
        )
    stop = x.length(CHANNEL) if stop is None else stop
    if not x.parts:
        value = replace(x, channels=len(range(start, stop, step)), layout=layout)
        if x.is_plain and layout == x.layout:
            return Outcome(value)
        return Outcome(value, TakeChannels(start, stop, step), why)
    rest = prod(x.parts[1:])
    edit = TakeChannels(start * rest, stop * rest, 1)
    if axis in op.dropped:
        return Outcome(without_part(x, 0, layout), edit, why)
    parts = (stop - start, *x.parts[1:])
    return Outcome(replace(x, channels=prod(parts), parts=parts, layout=layout), edit, why)


def _cells(op: Slice, node: Node, x: Map, setting: Setting) -> Outcome:
    """Every n-th cell, as in a strided shortcut."""
    axes, starts, steps = [], [], []
    for index, (axis, (start, _, step)) in enumerate(zip(x.axes, op.ranges[2:], strict=True)):
        sweep = Sweep(1, step, (-start, 0))
        keep = setting.keep(index, axis, sweep)
        check_fragments(node, setting, axis, keep)
        if (axis.collapsed or axis.context) and (start, step) != (0, 1):
            refuse(node, "takes every n-th cell of a map that is one cell at the window.")
        axes.append(axis.swept(sweep, keep=keep))
        inner = setting.inner(axis, sweep, keep)
        starts.append(-inner.padding[0])
        steps.append(inner.stride)
    was = [(start, step) for start, _, step in op.ranges[2:]]
    same = was == list(zip(starts, steps, strict=True))
    edit = None if same else TakeCells(tuple(starts), tuple(steps))
    why = "" if same else "its step would skip windows"
    return Outcome(Map.plain(x.channels, tuple(axes)), edit, why)


RULES: dict[type, Rule] = {Slice: take}
