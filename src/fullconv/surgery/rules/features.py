"""Ops along the features of a cell: linear layers, batch norm, softmax."""

from __future__ import annotations

from dataclasses import replace

from fullconv.blueprint import Linear, Node, PerChannel, Softmax
from fullconv.geometry import Sweep, times
from fullconv.surgery.edits import AlongChannels, Bypass, LinearToConv, SoftmaxParts
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, only_map, refuse
from fullconv.surgery.rules.shapes import refuse_sizes
from fullconv.surgery.values import CHANNEL, Map, Value


def linear(op: Linear, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """A linear layer is a convolution: over the flattened map, or 1×1 over channels.

    See Long, Shelhamer & Darrell 2015, section 3.1, and the CS231n notes on converting FC layers.
    """
    x = only_map(node, inputs)
    group = x.group(len(x.layout))
    others = [label for g in x.layout[:-1] for label in g if x.length(label) > 1]
    covers_space = not others or CHANNEL in others
    if x.channels == 1 and CHANNEL not in group and not others:
        # A single channel may stand apart from the flattened cells, or be left out.
        apart = tuple(tuple(n for n in g if n != CHANNEL) for g in x.layout[:-1])
        x = x.laid_out((*apart, x.layout[-1]))
    elif CHANNEL not in group or (len(group) > 1 and not covers_space):
        refuse(
            node,
            f"is applied along space, to the last axis of a {x}.",
            why="A fully-connected layer becomes a convolution only along channels, or along all "
            "of a flattened map.",
            hint="Flatten the map before it: torch.flatten(x, 1).",
        )
    if x.extent(group) != op.in_features:
        refuse_sizes(node, x, op.in_features, setting)
    if any(spans and index not in group for index, spans in enumerate(x.bins, 1)):
        refuse(
            node,
            f"works on single cells of a {x} whose bins overlap at this window.",
            why="Such bins can be folded only into a linear layer over all of them.",
            hint="Choose a window whose map divides evenly into the bins.",
        )
    if not x.is_whole:
        refuse(
            node,
            f"works on a {x} whose channels are still in {times(x.parts)} parts.",
            why="Which weights belong to which channel is not known.",
            hint="Bring the channels back to one axis first.",
        )
    flattened = any(label in group for label in range(1, len(x.axes) + 1))
    kernel = tuple(axis.size if index in group else 1 for index, axis in enumerate(x.axes, 1))
    dilation = tuple(
        setting.spread(axis) if k > 1 else 1 for axis, k in zip(x.axes, kernel, strict=True)
    )
    edit = LinearToConv(x.channels, op.out_features, kernel, dilation, group, x.bins)
    axes = tuple(
        axis.swept(Sweep(k), keep=1, collapse=True)
        if index in group or (axis.size == 1 and not axis.context)
        else axis
        for index, (axis, k) in enumerate(zip(x.axes, kernel, strict=True), 1)
    )
    if flattened:
        why = "a weight for every channel of every cell of the window"
    else:
        why = "the same weights at every cell"
    return Outcome(Map(op.out_features, axes, (*x.layout[:-1], (CHANNEL,))), edit, why)


def per_channel(op: PerChannel, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Batch norm scales channels; on a vector it becomes the batch norm of a map."""
    x = only_map(node, inputs)
    if x.group(1) != (CHANNEL,) or x.is_flattened or not x.is_whole:
        refuse(
            node,
            f"treats axis 1 of a {x} as channels, which it is not.",
            why="A scale for every position is tied to the window.",
            hint="Put it before the flattening or after the linear layer.",
        )
    if x.is_plain:
        return Outcome(x)
    return Outcome(x, AlongChannels(len(x.axes)), "a vector's entries are a map's channels")


def softmax(op: Softmax, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Softmax over classes, at every cell."""
    x = only_map(node, inputs)
    if op.axis == 0:
        refuse(
            node, f"{op.name} over the batch.", why="Images must stay independent of each other."
        )
    group = x.group(op.axis)
    if len(group) == 1 and group[0] <= CHANNEL and x.parts:
        edit = SoftmaxParts(op.name, x.parts, -group[0])
        return Outcome(x, edit, "the parts of a map's channels are one axis")
    space = {label for label in range(1, len(x.axes) + 1) if x.length(label) > 1}
    if op.name == "softmax" and x.channels == 1 and x.is_whole and set(group) - {CHANNEL} == space:
        return Outcome(replace(x, soft=True), Bypass(), "it is taken with the sum it weighs")
    if group != (CHANNEL,):
        refuse(
            node,
            f"{op.name} over space, along axis {op.axis} of a {x}.",
            why="Weights that sum to one over positions are attention: every window would need its "
            "own.",
        )
    if x.is_plain:
        return Outcome(x)
    return Outcome(x, AlongChannels(len(x.axes)), "a vector's entries are a map's channels")


RULES: dict[type, Rule] = {Linear: linear, PerChannel: per_channel, Softmax: softmax}
