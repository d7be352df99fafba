"""Ops that only give the numbers another shape or order."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from fullconv.blueprint import Expand, Node, Permute, Reshape
from fullconv.blueprint import SpaceToDepth as PixelUnshuffle
from fullconv.geometry import Sweep, times
from fullconv.surgery.edits import Bypass, ShuffleChannels, SpaceToDepth
from fullconv.surgery.rules.regroup import regroup
from fullconv.surgery.rules.rule import (
    Outcome,
    Rule,
    Setting,
    check_fragments,
    only_map,
    plain_map,
    refuse,
)
from fullconv.surgery.values import CHANNEL, Map, Value


def reshape(op: Reshape, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Flatten, view, squeeze and their kin: nothing happens to the numbers of a map."""
    x = only_map(node, inputs)
    if node.problem or (node.shape and node.shape[0] != setting.batch):
        if len(node.shape) == 2 and node.shape[1] != x.extent(tuple(range(len(x.axes) + 1))):
            refuse_sizes(node, x, node.shape[1], setting)
        refuse(
            node,
            f"{op.name} makes {times(node.shape)} of {setting.batch} images.",
            why="Images must stay independent of each other.",
            hint="Flatten from axis 1 on: torch.flatten(x, 1).",
        )
    found = regroup(x, node.shape[1:])
    if found is None:
        refuse(
            node,
            f"{op.name} turns {times(x.shape)} into {times(node.shape[1:])}, which mixes channels "
            "and space.",
            why="The result has no place in the image.",
            hint="Flatten all of (C, *space) at once, or leave channels and space apart.",
        )
    if found.value.blocks:
        return _blocks(node, found.value, setting)
    if found.shuffle is not None:
        edit = ShuffleChannels(*found.shuffle)
        return Outcome(found.value, edit, "the channels change their order")
    return Outcome(found.value, Bypass(), "the map keeps its shape")


def _blocks(node: Node, x: Map, setting: Setting) -> Outcome:
    """Cells seen in blocks wait until the blocks are made channels (space to depth)."""
    dims = len(x.axes)
    blocks = {dims + axis for axis, block in enumerate(x.blocks, 1) if block > 1}
    (home, *others) = [group for group in x.layout if blocks & set(group)]
    moved = set(x.channel_labels) | blocks
    if others or set(home) != moved:
        return Outcome(x, Bypass(), "its cells are seen in blocks")
    axes, sweeps = [], []
    for index, (axis, block) in enumerate(zip(x.axes, x.blocks, strict=True)):
        sweep = Sweep(block, block)
        keep = setting.keep(index, axis, sweep)
        check_fragments(node, setting, axis, keep)
        axes.append(axis.swept(sweep, keep=keep))
        sweeps.append(setting.inner(axis, sweep, keep))
    order = tuple(label if label <= CHANNEL else label - dims for label in home)
    layout = tuple((CHANNEL,) if group == home else group for group in x.layout)
    value = Map(x.channels * prod(x.blocks), tuple(axes), layout)
    edit = SpaceToDepth(tuple(sweeps), x.parts or (x.channels,), order)
    return Outcome(value, edit, "blocks of cells become channels")


def pixel_unshuffle(
    op: PixelUnshuffle, node: Node, inputs: tuple[Value, ...], setting: Setting
) -> Outcome:
    """Space to depth in one op; the map may have cells left over that fill no block."""
    x = plain_map(node, inputs[0])
    dims = len(x.axes)
    home = (CHANNEL, *range(dims + 1, 2 * dims + 1))
    layout = (home, *((label,) for label in range(1, dims + 1)))
    seen = replace(x, layout=layout, blocks=(op.block,) * dims)
    return _blocks(node, seen, setting)


def refuse_sizes(node: Node, x: Map, features: int, setting: Setting) -> None:
    """Refuse a map that does not have the `features` a layer was built for.

    The window that would fit is found from the geometry: a map of `k` cells per axis stands
    over `k·stride − slack` px and a little more.
    """
    cells, rest = divmod(features, x.channels)
    fits = ""
    side = round(cells ** (1 / max(1, len(x.axes))))
    if rest == 0 and side >= 1 and side ** len(x.axes) == cells:
        ranges = [(side * a.stride - a.slack, (side + 1) * a.stride - a.slack - 1) for a in x.axes]
        # The strides of cells that stand for whole windows are no longer the layers' own.
        as_built = all(axis.dilation == 1 and not axis.collapsed for axis in x.axes)
        if as_built and all(low > 0 for low, _ in ranges):
            low, high = ranges[0]
            size = f"{low}" if low == high else f"{low} to {high}"
            given = "the size" if low == high else "the sizes"
            fits = (
                f"pass window={low}, {given} the layer fits ({size} px)."
                if len(set(ranges)) == 1
                else f"pass window={tuple(low for low, _ in ranges)}."
            )
    refuse(
        node,
        f"expects {features} features, but its input is a {x} "
        f"({x.extent(tuple(range(len(x.axes) + 1)))}).",
        why=f"The window given was {times(setting.window)};",
        hint=fits or "pass the window the model was built for.",
    )


def permute(op: Permute, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Tensor axes in another order: the FCN keeps channels first and remembers the order."""
    x = only_map(node, inputs)
    if op.order[0] != 0:
        refuse(node, "moves the batch.", why="Images must stay independent of each other.")
    layout = tuple(x.layout[axis - 1] for axis in op.order[1:])
    return Outcome(x.laid_out(layout), Bypass(), "the map stays channels first")


def expand(op: Expand, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """A vector pooled from a map and repeated for all its cells: in the FCN every cell has one."""
    x = only_map(node, (inputs[0],))
    shape = node.shape[1:]
    if node.shape[0] != setting.batch or len(shape) != len(x.layout):
        refuse(node, f"repeats a {x} as {times(node.shape)}.", why="It adds an axis.")
    axes, pooled = list(x.axes), False
    for group, have, want in zip(x.layout, x.shape, shape, strict=True):
        if have == want:
            continue
        (label, *others) = group or (CHANNEL,)
        axis = axes[label - 1] if 0 < label <= len(x.axes) and not others else None
        if axis is None or (axis.context and axis.context != want):
            refuse(
                node,
                f"repeats a {x} as {times(shape)}.",
                why="Only what was pooled from a map can be given back to all its cells.",
            )
        pooled = pooled or not axis.context
        axes[label - 1] = replace(axis, size=want, context=0, collapsed=False)
    value = replace(x, axes=tuple(axes))
    meets = (0,) if pooled else ()
    return Outcome(value, Bypass(), "every cell has its own already", meets=meets)


RULES: dict[type, Rule] = {
    Reshape: reshape,
    Permute: permute,
    Expand: expand,
    PixelUnshuffle: pixel_unshuffle,
}
