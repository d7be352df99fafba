"""Resizing a map inside the body, as high-resolution networks do to join branches."""

from __future__ import annotations

from fullconv.blueprint import Enlarge, Node
from fullconv.geometry import times
from fullconv.surgery import edits
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, plain_map, refuse
from fullconv.surgery.values import Map, Value


def enlarge(op: Enlarge, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Repeating every cell a whole number of times, fixed to what it is at the window."""
    x = plain_map(node, inputs[0])
    sizes, wanted = tuple(axis.size for axis in x.axes), node.shape[2:]
    uneven = any(want % have for want, have in zip(wanted, sizes, strict=True))
    if op.mode != "nearest" or uneven:
        refuse(
            node,
            f"resizes {times(sizes)} cells to {times(wanted)} by {op.mode}.",
            why="What each cell becomes depends on where it lies in the window.",
            hint="Only repeating cells a whole number of times (nearest) can slide.",
        )
    factors = tuple(want // have for want, have in zip(wanted, sizes, strict=True))
    for axis, factor in zip(x.axes, factors, strict=True):
        if factor > 1 and axis.dilation > 1 and setting.stride is not None:
            refuse(
                node,
                f"repeats every cell {factor} times, of a map that is read at a finer stride.",
                why="What a cell becomes depends on where its window begins: windows "
                f"{axis.stride} px apart do not share it.",
                hint=f"Pass a stride that is a multiple of {axis.stride * axis.dilation}, or none.",
            )
        apart = axis.collapsed or axis.context or axis.dilation > 1
        if factor > 1 and (apart or axis.stride % factor):
            refuse(
                node,
                f"enlarges a {x} whose cells are {axis.stride} px apart by {factor}.",
                why="In the FCN the neighbours of a cell belong to other windows.",
            )
    axes = tuple(axis.enlarged(factor) for axis, factor in zip(x.axes, factors, strict=True))
    edit = edits.Enlarge(factors)
    return Outcome(Map.plain(x.channels, axes), edit, "by a factor, whatever the size of the map")


RULES: dict[type, Rule] = {Enlarge: enlarge}
