"""Where the parts of a shape go when a tensor is seen under another one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod

from fullconv.surgery.values import CHANNEL, Group, Map


@dataclass(frozen=True, slots=True)
class Regrouped:
    """How a reshape shows a map.

    Attributes:
        value: the map under its new layout.
        shuffle: `(parts, order)` where the channels must change their order for it, else None.
    """

    value: Map
    shuffle: tuple[tuple[int, ...], tuple[int, ...]] | None = None


@dataclass(slots=True)
class _Piece:
    """A label, or a part that a label is split into on the way."""

    label: int
    length: int
    rest: bool = False  # the inner part of a split axis
    name: int = field(default=0)  # the label it gets in the end


def regroup(x: Map, shape: tuple[int, ...]) -> Regrouped | None:
    """The layout that shows `x` under `shape` (without batch), or None where axes are mixed.

    The numbers keep their order, so every tensor axis of the new shape takes up whole labels, in
    order, or a part of one: channels may be split into parts, an axis into cells and a block.
    Labels of length 1 fill tensor axes of length 1 and are otherwise left out.
    """
    labels = [label for group in x.layout for label in group]
    queue = [_Piece(label, x.length(label)) for label in labels if x.length(label) > 1]
    groups: list[list[_Piece]] = []
    pieces: list[_Piece] = []
    for extent in shape:
        group: list[_Piece] = []
        have = 1
        while have < extent and queue:
            need, remainder = divmod(extent, have)
            piece = queue[0]
            if remainder:
                return None
            if need % piece.length:
                if piece.length % need or not _may_split(x, piece):
                    return None
                outer = _Piece(piece.label, need)
                queue[0] = _Piece(piece.label, piece.length // need, rest=True)
                piece = outer
            else:
                queue.pop(0)
            group.append(piece)
            pieces.append(piece)
            have *= piece.length
        if have != extent:
            return None
        groups.append(group)
    return None if queue else _named(x, groups, pieces)


def _may_split(x: Map, piece: _Piece) -> bool:
    """Channels may be split again and again; an axis once, and only where its cells are its own."""
    if piece.label <= CHANNEL:
        return True
    if piece.label > len(x.axes) or x.blocks or x.bins or piece.rest:
        return False
    axis = x.axes[piece.label - 1]
    return not axis.collapsed and not axis.context and not axis.binned


def _named(x: Map, groups: list[list[_Piece]], pieces: list[_Piece]) -> Regrouped:
    """Give every piece its label: adjacent parts of the channels become one again."""
    dims = len(x.axes)
    ordered = sorted((p for p in pieces if p.label <= CHANNEL), key=lambda p: -p.label)
    shuffle = None
    if any(_out_of_order(group, ordered) for group in groups):
        parts = tuple(piece.length for piece in ordered)
        appearing = [piece for piece in pieces if piece.label <= CHANNEL]
        order = tuple(next(i for i, p in enumerate(ordered) if p is one) for one in appearing)
        shuffle, ordered = (parts, order), appearing
    merged: list[list[_Piece]] = []
    for piece in ordered:
        if merged and _adjacent(groups, merged[-1][-1], piece):
            merged[-1].append(piece)
        else:
            merged.append([piece])
    for place, run in enumerate(merged):
        for piece in run:
            piece.name = -place
    blocks = list(x.blocks or (1,) * dims)
    for piece in pieces:
        if piece.label > CHANNEL:
            piece.name = piece.label + (dims if piece.rest and piece.label <= dims else 0)
            if piece.rest:
                blocks[piece.label - 1] = piece.length
    for group in groups:
        for one, other in pairwise(group):
            if one.name in range(1, dims + 1) and other.name == one.name + dims:
                blocks[one.name - 1] = 1  # split and put together again
    gone = {dims + axis for axis, block in enumerate(blocks, 1) if block == 1}
    layout = [
        tuple(dict.fromkeys(piece.name for piece in group if piece.name not in gone))
        for group in groups
    ]
    lengths = tuple(prod(piece.length for piece in run) for run in merged)
    value = replace(
        x,
        layout=_with_short(x, layout),
        parts=lengths if len(lengths) > 1 else (),
        blocks=tuple(blocks) if max(blocks, default=1) > 1 else (),
    )
    return Regrouped(value, shuffle)


def _out_of_order(group: list[_Piece], ordered: list[_Piece]) -> bool:
    """Whether channels meet in a tensor axis in another order than they lie in."""
    places = [
        next(place for place, one in enumerate(ordered) if one is piece)
        for piece in group
        if piece.label <= CHANNEL
    ]
    return any(after != before + 1 for before, after in pairwise(places))


def _adjacent(groups: list[list[_Piece]], one: _Piece, other: _Piece) -> bool:
    """Whether two pieces follow each other in one tensor axis."""
    return any(
        first is one and second is other for group in groups for first, second in pairwise(group)
    )


def _with_short(x: Map, layout: list[Group]) -> tuple[Group, ...]:
    """Give tensor axes of length 1 the labels of length 1.

    The label that a position has in an ordinary map is preferred, so that unsqueezing a vector
    gives an ordinary map again.
    """
    short = [
        label
        for label in range(len(x.axes) + 1)
        if x.length(label) == 1 and not (label == CHANNEL and x.parts)
    ]
    filled: list[Group] = []
    for position, group in enumerate(layout):
        if not group and short:
            group = (short.pop(short.index(position) if position in short else 0),)
        filled.append(group)
    return tuple(filled)
