"""Where values meet: sums, products, concatenation."""

from __future__ import annotations

from functools import reduce as fold

from fullconv.blueprint import Combine, Concat, Node
from fullconv.geometry import Axis, times
from fullconv.surgery.edits import AlongChannels, CropToCommon
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, refuse
from fullconv.surgery.values import CHANNEL, Fixed, Map, Value


def _meet(node: Node, maps: list[Map]) -> tuple[tuple[Axis, ...], bool]:
    """The axes of the joined map, and whether the branches may differ in trailing cells.

    Branches line up when their cells are equally many at the window and equally far apart in the
    image. Refuses those that do not.
    """
    joined: list[Axis] = []
    ragged = False
    for axes in zip(*(x.axes for x in maps), strict=True):
        if len({axis.size for axis in axes}) > 1 or len({axis.collapsed for axis in axes}) > 1:
            refuse(
                node,
                "joins a map with values pooled over the whole map "
                f"({' and '.join(dict.fromkeys(str(x) for x in maps))}): a context op, such as "
                "squeeze-excite.",
                why="Every window would need its own pooled values, so there is no exact dense "
                "form.",
                hint="Convert a network without context ops.",
            )
        steps = {(axis.stride, axis.dilation) for axis in axes}
        if len(steps) > 1:
            refuse(
                node,
                "joins branches that do not line up: their cells are "
                f"{' and '.join(str(step) for step, _ in sorted(steps))} px apart.",
                why="Cell by cell they would belong to different windows.",
                hint="Give all branches the same total stride.",
            )
        ragged = ragged or len({axis.slack for axis in axes}) > 1
        joined.append(fold(Axis.joined, axes))
    return tuple(joined), ragged


def _maps(node: Node, inputs: tuple[Value, ...]) -> list[Map]:
    maps = [x for x in inputs if isinstance(x, Map)]
    if len({x.layout for x in maps}) > 1:
        refuse(
            node,
            f"joins tensors laid out differently: {', '.join(str(x) for x in maps)}.",
            hint="Bring them to the same shape first.",
        )
    return maps


def _check_fixed(node: Node, x: Map, constant: Fixed) -> int:
    """Refuse a constant with a value for every position; tell how many channels it has."""
    groups = x.layout[len(x.layout) - min(len(x.layout), len(constant.shape)) :]
    sizes = constant.shape[len(constant.shape) - len(groups) :]
    if len(constant.shape) > len(x.layout) + 1 or (
        len(constant.shape) == len(x.layout) + 1 and constant.shape[0] != 1
    ):
        refuse(node, f"joins a {x} with a constant of shape {times(constant.shape)}.")
    channels = 1
    for group, size in zip(groups, sizes, strict=True):
        if size == 1:
            continue
        if group != (CHANNEL,):
            refuse(
                node,
                f"joins a {x} with a constant of shape {times(constant.shape)}, a value for every "
                "position of the window (a position embedding?).",
                why="It is tied to the window; outside it there is no value.",
                hint="Only constants that are the same at every position can slide.",
            )
        channels = size
    return channels


def combine(op: Combine, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Addition, multiplication and their kin, number by number."""
    maps = _maps(node, inputs)
    first = maps[0]
    channels = max(x.channels for x in maps)
    if any(x.channels not in (1, channels) for x in maps):
        refuse(node, f"joins {' and '.join(str(x) for x in maps)}.")
    axes, ragged = _meet(node, maps)
    counts = [_check_fixed(node, first, x) for x in inputs if isinstance(x, Fixed)]
    # A single channel is repeated for every entry of a constant.
    value = Map(max(channels, *counts, 1), axes, first.layout)
    if max(counts, default=1) > 1 and not first.is_plain:
        if ragged:
            refuse(node, "joins branches of different length with a constant; split it in two.")
        return Outcome(value, AlongChannels(len(axes)), "a vector's entries are a map's channels")
    if ragged:
        return Outcome(value, CropToCommon(), "on some image sizes a branch has a cell more")
    return Outcome(value)


def concat(op: Concat, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Concatenation of channels."""
    maps = _maps(node, inputs)
    if len(maps) != len(inputs):
        refuse(
            node,
            "concatenates a map with a constant.",
            why="A constant has no place in the image (a class token?).",
        )
    if op.axis == 0:
        refuse(
            node, "concatenates along the batch.", why="Images must stay independent of each other."
        )
    if maps[0].layout[op.axis - 1] != (CHANNEL,):
        refuse(
            node,
            f"concatenates along axis {op.axis} of {', '.join(str(x) for x in maps)}.",
            why="Only channels can be concatenated at every window.",
        )
    axes, ragged = _meet(node, maps)
    value = Map(sum(x.channels for x in maps), axes, maps[0].layout)
    if ragged:
        return Outcome(value, CropToCommon(), "on some image sizes a branch has a cell more")
    if maps[0].is_plain:
        return Outcome(value)
    return Outcome(value, AlongChannels(len(axes)), "a vector's entries are a map's channels")


RULES: dict[type, Rule] = {Combine: combine, Concat: concat}
