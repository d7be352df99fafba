"""Layers that sweep a kernel over the map: convolutions, pools, padding."""

from __future__ import annotations

from dataclasses import replace

from fullconv.blueprint import Convolution, Node, Pad, Pool
from fullconv.geometry import Axis, Sweep
from fullconv.surgery.edits import Edit, Resweep, SetPool
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, only_map, plain_map, refuse
from fullconv.surgery.values import Map, Value

SMALL_KERNEL = 3
"""Up to this size a kernel that happens to cover the whole map is down-sampling, not a head."""


def _covers(sweep: Sweep, axis: Axis) -> bool:
    """Whether one position of the kernel takes in the whole axis, and nothing else."""
    hangs_over = sweep.extent > axis.size
    if sweep.pads or sweep.count(axis.size) != 1 or (hangs_over and sweep.dilation > 1):
        return False
    return sweep.extent >= axis.size > 1


def _check_collapsed(node: Node, x: Map, sweeps: tuple[Sweep, ...]) -> None:
    """A cell that stands for a whole window has no neighbours of its own window to look at."""
    for axis, sweep in zip(x.axes, sweeps, strict=True):
        if axis.collapsed and (sweep.kernel > 1 or sweep.pads):
            refuse(
                node,
                f"has a kernel of {sweep.kernel} with padding {sweep.padding}, over a map that is "
                "one cell at the window.",
                why="In the FCN the neighbouring cells belong to other windows.",
                hint="A 1×1 convolution without padding computes the same at the window if the "
                "kernel's centre is taken.",
            )


def _check_dilated(node: Node, x: Map, sweeps: tuple[Sweep, ...]) -> None:
    """Adaptive pooling makes the cells of a window; what a kernel sees beside them is not known."""
    for axis, sweep in zip(x.axes, sweeps, strict=True):
        if axis.dilation > 1 and (sweep.pads or sweep.overhang(axis.size) > 0):
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
    x = plain_map(node, only_map(node, inputs))
    _check_collapsed(node, x, op.sweeps)
    _check_dilated(node, x, op.sweeps)
    head = node.name in setting.last
    axes, sweeps = [], []
    for index, (axis, sweep) in enumerate(zip(x.axes, op.sweeps, strict=True)):
        large = sweep.stride == 1 or sweep.kernel > SMALL_KERNEL
        collapse = head and large and _covers(sweep, axis)
        keep = 1 if collapse else setting.keep(index, axis, sweep)
        axes.append(axis.swept(sweep, keep=keep, collapse=collapse))
        sweeps.append(axis.inner(sweep, keep=keep))
    edit = Resweep(tuple(sweeps)) if tuple(sweeps) != op.sweeps else None
    return Outcome(
        Map.plain(op.out_channels, tuple(axes)),
        edit,
        "its stride would skip windows" if edit else "",
        _sees_outside(x, op.sweeps),
    )


def pool(op: Pool, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """A pool stays one, unless it covers the whole map: then it must not step over windows.

    `nn.AvgPool2d(7)` strides by 7: harmless on a 7×7 map, but in an FCN it would jump from one
    window to the seventh next.
    """
    x = plain_map(node, inputs[0])
    _check_collapsed(node, x, op.sweeps)
    _check_dilated(node, x, op.sweeps)
    head = node.name in setting.last
    axes, sweeps, whole = [], [], False
    for index, (axis, sweep) in enumerate(zip(x.axes, op.sweeps, strict=True)):
        large = op.kind == "average" or sweep.kernel > SMALL_KERNEL
        if head and large and _covers(sweep, axis):
            whole = True
            # A kernel that hangs over the end takes in the cells that are there.
            sweep = replace(sweep, kernel=min(sweep.kernel, axis.size), stride=1, ceil_mode=False)
            axes.append(axis.swept(sweep, keep=1, collapse=True))
            sweeps.append(axis.inner(sweep, keep=1))
            continue
        keep = setting.keep(index, axis, sweep)
        axes.append(axis.swept(sweep, keep=keep))
        sweeps.append(axis.inner(sweep, keep=keep))
    edit: Edit | None = None
    if tuple(sweeps) != op.sweeps:
        edit = SetPool(replace(op, sweeps=tuple(sweeps)))
    why = "a global pool; its stride would skip windows" if whole else "keeps the wanted stride"
    pads = not whole and _sees_outside(x, op.sweeps)
    return Outcome(Map.plain(x.channels, tuple(axes)), edit, why if edit else "", pads)


def pad(op: Pad, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Padding of the map; of the channels too. Amounts computed from sizes are as at the window."""
    x = plain_map(node, inputs[0])
    if op.amounts[0] != (0, 0):
        refuse(node, "pads the batch.", why="Images must stay independent of each other.")
    sweeps = tuple(Sweep(1, padding=amount) for amount in op.amounts[2:])
    _check_collapsed(node, x, sweeps)
    _check_dilated(node, x, sweeps)
    axes = tuple(axis.swept(sweep, keep=1) for axis, sweep in zip(x.axes, sweeps, strict=True))
    channels = x.channels + sum(op.amounts[1])
    return Outcome(Map.plain(channels, axes), pads=_sees_outside(x, sweeps))


RULES: dict[type, Rule] = {Convolution: convolution, Pool: pool, Pad: pad}
