"""Ops that only give the numbers another shape or order, and ops that take some of them."""

from __future__ import annotations

from fullconv.blueprint import Node, Permute, Reshape, Slice
from fullconv.geometry import Sweep, times
from fullconv.surgery.edits import Bypass, TakeChannels
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, only_map, refuse
from fullconv.surgery.values import CHANNEL, Group, Map, Value


def regroup(x: Map, shape: tuple[int, ...]) -> tuple[Group, ...] | None:
    """The layout that shows `x` under `shape` (without batch), or None where axes are mixed.

    The numbers keep their order, so every tensor axis of the new shape must take up whole labels,
    in order. Labels of length 1 fill tensor axes of length 1 and are otherwise left out.
    """
    labels = [label for group in x.layout for label in group]
    long = [label for label in labels if x.length(label) > 1]
    short = [label for label in range(len(x.axes) + 1) if x.length(label) == 1]
    layout: list[Group] = []
    for position, extent in enumerate(shape):
        group: Group = ()
        while x.extent(group) < extent and long:
            group += (long.pop(0),)
        if x.extent(group) != extent:
            return None
        if not group and short:
            # Prefer the label this position has in an ordinary map, so that unsqueezing
            # a vector gives an ordinary map again.
            group = (short.pop(short.index(position) if position in short else 0),)
        layout.append(group)
    return None if long else tuple(layout)


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
    layout = regroup(x, node.shape[1:])
    if layout is None:
        refuse(
            node,
            f"{op.name} turns {times(x.shape)} into {times(node.shape[1:])}, which splits or "
            "mixes channels and space.",
            why="The result has no place in the image.",
            hint="Flatten all of (C, *space) at once, or leave channels and space apart.",
        )
    return Outcome(x.laid_out(layout), Bypass(), "the map keeps its shape")


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


def take(op: Slice, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Indexing: some channels, or every n-th cell."""
    x = only_map(node, inputs)
    full = (0, None, 1)
    if op.ranges[0] != full:
        refuse(node, "indexes the batch.", why="Images must stay independent of each other.")
    channels, axes = x.channels, list(x.axes)
    edit: TakeChannels | Bypass | None = None
    for axis, (start, stop, step) in enumerate(op.ranges[1:], 1):
        if (start, stop, step) == full and axis not in op.dropped:
            continue
        group = x.layout[axis - 1]
        if axis in op.dropped and CHANNEL not in group and x.extent(group) == 1:
            edit = edit or Bypass()  # the only cell there is
            continue
        if group == (CHANNEL,):
            last = x.channels if stop is None else stop
            channels = len(range(start, last, step))
            edit = TakeChannels(start, last, step)
        elif len(group) == 1 and x.is_plain and stop is None and axis not in op.dropped:
            index = group[0] - 1
            sweep = Sweep(1, step, (-start, 0))
            keep = setting.keep(index, axes[index], sweep)
            if axes[index].collapsed or keep != step:
                refuse(node, "takes every n-th cell of a map that is read more finely.")
            axes[index] = axes[index].swept(sweep, keep=keep)
        else:
            refuse(
                node,
                f"takes single positions of a {x}.",
                why="A fixed position of the window has no equivalent that slides.",
                hint="Pool over space instead.",
            )
    taken = edit is not None and any(a != b for a, b in zip(axes, x.axes, strict=True))
    if taken:
        refuse(node, "indexes channels and space at once.", hint="Index them one after the other.")
    layout = tuple(g for axis, g in enumerate(x.layout, 1) if axis not in op.dropped)
    why = "channels are axis 1 in every map" if edit else ""
    if isinstance(edit, Bypass):
        why = "there is one cell already"
    return Outcome(Map(channels, tuple(axes), layout), edit, why)


RULES: dict[type, Rule] = {Reshape: reshape, Permute: permute, Slice: take}
