"""Ops among the channels of a cell: reductions over them, or over the parts they are seen as."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from fullconv.blueprint import Node, Reduce
from fullconv.surgery.edits import ReduceChannels
from fullconv.surgery.rules.rule import Outcome, refuse
from fullconv.surgery.values import CHANNEL, Group, Map


def without_part(x: Map, part: int, layout: tuple[Group, ...]) -> Map:
    """`x` with one part of its channels gone, under a layout that still has the old labels."""
    parts = tuple(length for place, length in enumerate(x.parts) if place != part)

    def renamed(label: int) -> int:
        return label + 1 if label < -part else label

    left = tuple(tuple(renamed(n) for n in group if n != -part) for group in layout)
    return replace(x, channels=prod(parts), layout=left, parts=parts if len(parts) > 1 else ())


def reduce_channels(op: Reduce, node: Node, x: Map, labels: set[int]) -> Outcome:
    """A reduction over all channels (RMS norm, spatial attention), or over one part of them."""
    every = set(x.channel_labels)
    layout = tuple(g for axis, g in enumerate(x.layout, 1) if op.keepdim or axis not in op.axes)
    why = "in every map the channels are axis 1"
    if labels == every:
        edit = ReduceChannels(op.kind, (x.channels,), 0)
        # A single channel may stay in the shape, or be left out of it.
        left = tuple(tuple(n for n in group if n >= CHANNEL) for group in layout)
        return Outcome(replace(x, channels=1, layout=left, parts=()), edit, why)
    if len(labels) > 1:
        refuse(node, f"takes the {op.kind} over {len(labels)} of the parts of a {x}'s channels.")
    (label,) = labels
    edit = ReduceChannels(op.kind, x.parts, -label)
    return Outcome(without_part(x, -label, layout), edit, why)
