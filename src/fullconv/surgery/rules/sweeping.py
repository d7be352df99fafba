"""Layers that sweep a kernel over the map: convolutions, pools, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fullconv.blueprint import Convolution, Node, Pad, Pool
from fullconv.geometry import Axis, Sweep
from fullconv.surgery.edits import ConvAlongChannels, Edit, Resweep, SetPad, SetPool
from fullconv.surgery.rules.context import survey
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

SMALL_KERNEL = 3
"""Up to this size a kernel that happens to cover the whole map is down-sampling, not a head."""


def _covers(sweep: Sweep, axis: Axis) -> bool:
    """Whether one position of the kernel takes in the whole axis, and nothing else."""
    hangs_over = sweep.extent > axis.size
    if sweep.pads or sweep.count(axis.size) != 1 or (hangs_over and sweep.dilation > 1):
        return False
    return sweep.extent >= axis.size > 1


def _check_alone(node: Node, x: Map, sweeps: tuple[Sweep, ...]) -> None:
    """A cell that stands for a whole window has no neighbours of its own window to look at."""
    for axis, sweep in zip(x.axes, sweeps, strict=True):
        if (axis.collapsed or axis.context) and (sweep.kernel > 1 or sweep.pads):
            refuse(
                node,
                f"has a kernel of {sweep.kernel} with padding {sweep.padding}, over a map that is "
                "one cell at the window.",
                why="In the FCN the neighbouring cells belong to other windows.",
                hint="A 1×1 convolution without padding computes the same at the window if the "
                "kernel's centre is taken.",
            )


def _check_binned(node: Node, x: Map, sweeps: tuple[Sweep, ...]) -> None:
    """Adaptive pooling makes the cells of a window; what a kernel sees beside them is not known."""
    for axis, sweep in zip(x.axes, sweeps, strict=True):
        if axis.binned and (sweep.pads or sweep.overhang(axis.size) > 0):
            refuse(
                node,
                f"reaches beyond the {axis.size} cells that adaptive pooling made.",
                why="In the FCN there are cells of other windows beside them, not the rim it pads.",
                hint="Choose a window at which that pooling does nothing, or remove the padding.",
            )


def _sees_outside(x: Map, sweeps: tuple[Sweep, ...]) -> bool:
    """Whether the layer reaches beyond the map: by padding, or by hanging over its end."""
    return any(
        max(sweep.padding) > 0 or sweep.overhang(axis.size) > 0
        for axis, sweep in zip(x.axes, sweeps, strict=True)
    )


def convolution(
    op: Convolution, node: Node, inputs: tuple[Value, ...], setting: Setting
) -> Outcome:
    """A convolution stays one; its stride may turn into dilation of what follows."""
    x = only_map(node, inputs)
    if _along_channels(op, x):
        return _convolve_channels(op, node, x)
    x = plain_map(node, x)
    _check_alone(node, x, op.sweeps)
    _check_binned(node, x, op.sweeps)
    head = node.name in setting.last
    axes, sweeps = [], []
    for index, (axis, sweep) in enumerate(zip(x.axes, op.sweeps, strict=True)):
        large = sweep.stride == 1 or sweep.kernel > SMALL_KERNEL
        collapse = head and large and _covers(sweep, axis)
        keep = 1 if collapse else setting.keep(index, axis, sweep)
        check_fragments(node, setting, axis, keep)
        if op.padding_mode != "zeros" and sweep.pads and setting.spread(axis) > 1:
            refuse(
                node,
                f"pads by {op.padding_mode}, which a dilated convolution does not do.",
                hint='Pass method="fragments".',
            )
        axes.append(axis.swept(sweep, keep=keep, collapse=collapse))
        sweeps.append(setting.inner(axis, sweep, keep))
    edit = Resweep(tuple(sweeps)) if tuple(sweeps) != op.sweeps else None
    return Outcome(
        Map.plain(op.out_channels, tuple(axes)),
        edit,
        _why(sweeps, op.sweeps) if edit else "",
        _sees_outside(x, op.sweeps),
    )


def _why(sweeps: Sequence[Sweep], was: Sequence[Sweep]) -> str:
    """Why a layer sweeps differently in the FCN."""
    steps = any(new.stride < old.stride for new, old in zip(sweeps, was, strict=True))
    return "its stride would skip windows" if steps else "its cells lie apart: an earlier stride"


def _along_channels(op: Convolution, x: Map) -> bool:
    """Whether it sweeps along the entries of a vector: `(N, 1, C)` with one channel in and out."""
    labels = {label for group in x.layout[:-1] for label in group if x.length(label) > 1}
    return (
        x.is_whole
        and len(op.sweeps) == 1
        and len(x.layout) == 2
        and x.group(2) == (CHANNEL,)
        and (CHANNEL not in x.layout[0] and not labels)
        and x.channels > 1
    )


def _convolve_channels(op: Convolution, node: Node, x: Map) -> Outcome:
    """A convolution over the entries of a vector (ECA-Net, section 3.2)."""
    (sweep,) = op.sweeps
    uneven = sweep.padding[0] != sweep.padding[1] or op.padding_mode != "zeros"
    if op.out_channels != 1 or (sweep.pads and uneven):
        refuse(node, "turns the entries of a vector into several channels; only one has a rule.")
    edit = ConvAlongChannels(sweep.stride, sweep.padding[0], sweep.dilation)
    value = replace(x, channels=sweep.count(x.channels))
    return Outcome(value, edit, "a vector's entries are a map's channels")


def pool(op: Pool, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """A pool stays one, unless it covers the whole map: then it must not step over windows.

    `nn.AvgPool2d(7)` strides by 7: harmless on a 7×7 map, but in an FCN it would jump from one
    window to the seventh next.
    """
    x = plain_map(node, inputs[0])
    _check_alone(node, x, op.sweeps)
    _check_binned(node, x, op.sweeps)
    if node.name in setting.contexts:
        return _pool_context(op, node, x, setting)
    head = node.name in setting.last
    axes, sweeps, whole = [], [], False
    for index, (axis, sweep) in enumerate(zip(x.axes, op.sweeps, strict=True)):
        large = op.kind == "average" or sweep.kernel > SMALL_KERNEL
        if head and large and _covers(sweep, axis):
            whole = True
            # A kernel that hangs over the end takes in the cells that are there.
            sweep = replace(sweep, kernel=min(sweep.kernel, axis.size), stride=1, ceil_mode=False)
            axes.append(axis.swept(sweep, keep=1, collapse=True))
            sweeps.append(setting.inner(axis, sweep, 1))
            continue
        keep = setting.keep(index, axis, sweep)
        check_fragments(node, setting, axis, keep)
        axes.append(axis.swept(sweep, keep=keep))
        sweeps.append(setting.inner(axis, sweep, keep))
    edit: Edit | None = None
    if tuple(sweeps) != op.sweeps:
        if len({sweep.ceil_mode for sweep in sweeps}) > 1:
            sweeps = [sweep.explicit() for sweep in sweeps]  # pools have one setting for all axes
        edit = SetPool(replace(op, sweeps=tuple(sweeps), counted=_counted(x, op, setting)))
    why = "a global pool; its stride would skip windows" if whole else _why(sweeps, op.sweeps)
    pads = not whole and _sees_outside(x, op.sweeps)
    return Outcome(Map.plain(x.channels, tuple(axes)), edit, why if edit else "", pads)


def _counted(x: Map, op: Pool, setting: Setting) -> tuple[tuple[int, int], ...]:
    """The padding an average divides by: the layer's own, not what ceil mode adds."""
    if op.kind != "average" or not op.count_include_pad:
        return ()
    return tuple(
        (sweep.padding[0] * setting.spread(axis), sweep.padding[1] * setting.spread(axis))
        for axis, sweep in zip(x.axes, op.sweeps, strict=True)
    )


def _pool_context(op: Pool, node: Node, x: Map, setting: Setting) -> Outcome:
    """A pool over the whole map whose result meets that map again."""
    if not all(
        axis.size == 1 or _covers(s, axis) for axis, s in zip(x.axes, op.sweeps, strict=True)
    ):
        refuse(
            node,
            f"pools a part of a {x} to one cell, which then meets the whole map.",
            why="Which part it is depends on the window.",
            hint="Pool over the whole map.",
        )
    if op.divisor is not None:
        refuse(node, "divides the sum over the whole map by a number of its own.")
    return survey(x, op.kind, tuple(range(1, len(x.axes) + 1)), x.layout, setting)


def pad(op: Pad, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Padding of the map; of the channels too. Amounts computed from sizes are as at the window."""
    x = plain_map(node, inputs[0])
    if op.amounts[0] != (0, 0):
        refuse(node, "pads the batch.", why="Images must stay independent of each other.")
    if op.amounts[1] != (0, 0) and op.mode != "constant":
        refuse(node, f"pads channels by {op.mode}.", hint="Only constants can be added there.")
    sweeps = tuple(Sweep(1, padding=amount) for amount in op.amounts[2:])
    _check_alone(node, x, sweeps)
    _check_binned(node, x, sweeps)
    axes = tuple(axis.swept(sweep, keep=1) for axis, sweep in zip(x.axes, sweeps, strict=True))
    channels = x.channels + sum(op.amounts[1])
    spread = tuple(setting.spread(axis) for axis in x.axes)
    edit, why = None, ""
    if any(step > 1 and sweep.pads for step, sweep in zip(spread, sweeps, strict=True)):
        edit = SetPad(op.amounts[2:], op.amounts[1], op.mode, spread)
        why = "its cells lie apart: an earlier stride"
    return Outcome(Map.plain(channels, axes), edit, why, pads=_sees_outside(x, sweeps))


RULES: dict[type, Rule] = {Convolution: convolution, Pool: pool, Pad: pad}
