"""Where values meet: sums, products, concatenation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce as fold

from fullconv.blueprint import Combine, Concat, Node, Stack
from fullconv.geometry import Axis, times
from fullconv.surgery.edits import AlongChannels, CropToCommon, Edit, StackChannels
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, refuse
from fullconv.surgery.values import CHANNEL, Fixed, Group, Map, Value


@dataclass(frozen=True, slots=True)
class _Meeting:
    """How branches meet: their common axes; whether they may differ in trailing cells; which were
    pooled from the map they meet, and which (input, axis) are one cell for the whole image."""

    axes: tuple[Axis, ...]
    ragged: bool
    meets: tuple[int, ...]
    spared: tuple[tuple[int, int], ...]

    @property
    def crop(self) -> CropToCommon | None:
        """The edit that ragged branches need."""
        return CropToCommon(self.spared) if self.ragged else None


RAGGED = "on some image sizes a branch has a cell more"
REORDERED = "a vector's entries are a map's channels"


def _meet(node: Node, maps: list[Map], setting: Setting) -> _Meeting:
    """The axes of the joined map.

    Branches line up when their cells are equally many at the window and equally far apart in the
    image. Refuses those that do not.
    """
    joined: list[Axis] = []
    ragged = False
    meets: set[int] = set()
    spared: set[tuple[int, int]] = set()
    for label, axes in enumerate(zip(*(x.axes for x in maps), strict=True), 1):
        size = max(axis.size for axis in axes)
        spread = [a for a in axes if a.size == size and not a.collapsed and not a.context]
        kept = list(axes)
        if (spread and size > 1) or any(axis.context for axis in axes):
            found = {place for place, axis in enumerate(axes) if _was_pooled(axis, size)}
            meets |= found
            kept = [axis for place, axis in enumerate(axes) if place not in found]
        bodies = [axis for axis in kept if not axis.context]
        if len({axis.size for axis in bodies} | {a.context for a in kept if a.context}) > 1:
            _refuse_sizes(node, maps)
        steps = {(axis.stride, axis.dilation) for axis in kept}
        if len(steps) > 1:
            refuse(
                node,
                "joins branches that do not line up: their cells are "
                f"{' and '.join(str(step) for step, _ in sorted(steps))} px apart.",
                why="Cell by cell they would belong to different windows.",
                hint="Give all branches the same total stride.",
            )
        ragged = ragged or len({axis.slack for axis in kept}) > 1
        ragged = ragged or (len(kept) > 1 and any(axis.loose for axis in kept))
        if bodies and not setting.local:
            spared |= {
                (place, label)
                for place, axis in enumerate(axes)
                if axis.context and setting.spread(axis) == 1
            }
        axis = fold(Axis.joined, [*bodies, *(axis for axis in kept if axis.context)])
        collapsed = any(axis.collapsed for axis in bodies)
        joined.append(replace(axis, collapsed=collapsed, context=0 if bodies else axis.context))
    return _Meeting(tuple(joined), ragged, tuple(sorted(meets)), tuple(sorted(spared)))


def _was_pooled(axis: Axis, size: int) -> bool:
    """Whether it is one cell where the others have `size`, without being known for a context."""
    return not axis.context and (axis.collapsed or axis.size < size)


def _refuse_sizes(node: Node, maps: list[Map]) -> None:
    refuse(
        node,
        f"joins {' and '.join(dict.fromkeys(str(x) for x in maps))}, one of them pooled from a map "
        "of another size.",
        why="Which box of that map belongs to which cell is not defined.",
        hint="Pool from the map that the result is joined with.",
    )


def _layout(node: Node, maps: list[Map]) -> tuple[tuple[Group, ...], tuple[int, ...]]:
    """The layout and the parts of what several maps make, or a refusal if they differ."""
    if len({len(x.layout) for x in maps}) == 1 and not any(x.blocks for x in maps):
        seen = [[x.group(axis) for x in maps] for axis in range(1, len(maps[0].layout) + 1)]
        alike = all(len({group for group in groups if group}) < 2 for groups in seen)
        parts = {x.parts for x in maps if x.channels > 1 or x.parts}
        if alike and len(parts) < 2:
            largest = max(maps, key=lambda x: (len(x.parts), sum(map(len, x.layout))))
            return largest.layout, largest.parts
    return refuse(
        node,
        f"joins tensors laid out differently: {', '.join(str(x) for x in maps)}.",
        hint="Bring them to the same shape first.",
    )


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
        if group != (CHANNEL,) or x.parts:
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
    places = [place for place, x in enumerate(inputs) if isinstance(x, Map)]
    maps = [x for x in inputs if isinstance(x, Map)]
    layout, parts = _layout(node, maps)
    channels = max(x.channels for x in maps)
    if any(x.channels not in (1, channels) for x in maps):
        refuse(node, f"joins {' and '.join(str(x) for x in maps)}.")
    meeting = _meet(node, maps, setting)
    meets = tuple(places[index] for index in meeting.meets)
    first = replace(maps[0], layout=layout, parts=parts)
    counts = [_check_fixed(node, first, x) for x in inputs if isinstance(x, Fixed)]
    # A single channel is repeated for every entry of a constant.
    value = Map(max(channels, *counts, 1), meeting.axes, layout, parts=parts)
    plain = layout == Map.plain(1, meeting.axes).layout
    if max(counts, default=1) > 1 and not plain:
        if meeting.ragged:
            refuse(node, "joins branches of different length with a constant; split it in two.")
        return Outcome(value, AlongChannels(len(meeting.axes)), REORDERED, meets=meets)
    return Outcome(value, meeting.crop, RAGGED if meeting.ragged else "", meets=meets)


def _alike(node: Node, op: Concat | Stack, inputs: tuple[Value, ...], verb: str) -> list[Map]:
    """The maps that are put side by side, all of one layout."""
    maps = [x for x in inputs if isinstance(x, Map)]
    if len(maps) != len(inputs):
        refuse(
            node,
            f"{verb} a map with a constant.",
            why="A constant has no place in the image (a class token?).",
        )
    if op.axis == 0:
        refuse(node, f"{verb} along the batch.", why="Images must stay independent of each other.")
    if len({x.layout for x in maps}) > 1 or not all(x.is_whole for x in maps):
        refuse(
            node,
            f"joins tensors laid out differently: {', '.join(str(x) for x in maps)}.",
            hint="Bring them to the same shape first.",
        )
    return maps


def concat(op: Concat, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Concatenation of channels."""
    maps = _alike(node, op, inputs, "concatenates")
    if maps[0].layout[op.axis - 1] != (CHANNEL,):
        refuse(
            node,
            f"concatenates along axis {op.axis} of {', '.join(str(x) for x in maps)}.",
            why="Only channels can be concatenated at every window.",
        )
    meeting = _meet(node, maps, setting)
    value = Map(sum(x.channels for x in maps), meeting.axes, maps[0].layout)
    edit: Edit | None = meeting.crop
    if edit is None and not maps[0].is_plain:
        edit = AlongChannels(len(meeting.axes))
    why = RAGGED if meeting.ragged else REORDERED if edit else ""
    return Outcome(value, edit, why, meets=meeting.meets)


def stack(op: Stack, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Stacking in front of the channels: the stack and the channels are parts of one axis."""
    maps = _alike(node, op, inputs, "stacks")
    layout = maps[0].layout
    if op.axis > len(layout) or layout[op.axis - 1] != (CHANNEL,):
        refuse(
            node,
            f"stacks {', '.join(str(x) for x in maps)} along axis {op.axis}.",
            why="Only stacking directly in front of the channels has a rule.",
            hint="Use torch.cat along the channels.",
        )
    meeting = _meet(node, maps, setting)
    if meeting.ragged or meeting.meets or len({x.channels for x in maps}) > 1:
        refuse(node, f"stacks {', '.join(str(x) for x in maps)}, which differ in size.")
    layout = (*layout[: op.axis - 1], (CHANNEL,), (CHANNEL - 1,), *layout[op.axis :])
    value = Map(
        sum(x.channels for x in maps), meeting.axes, layout, parts=(len(maps), maps[0].channels)
    )
    return Outcome(value, StackChannels(), "the stack is a part of the channels")


RULES: dict[type, Rule] = {Combine: combine, Concat: concat, Stack: stack}
