"""What moves cells: padding, cutting, phases, repetition, blocks that become channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx

from fullconv.blueprint import Pad, Slice
from fullconv.errors import RefusedError
from fullconv.geometry import Sweep
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.streaming.sweeps import mirrored
from fullconv.hosts.torch_fx.streaming.worker import (
    Places,
    Reading,
    Run,
    Worker,
    cell_by_cell,
    evaluated,
)
from fullconv.streams.course import Limit
from fullconv.streams.reach import Reach, Same, Spread, Swept

Pairs = Sequence[Sequence[int]]


def _as_read(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
    """What was read is the result: the gathering itself pads and cuts."""
    return pieces[0]


def padding(node: fx.Node, op: Pad, reading: Reading) -> Worker:
    """Padding by module or by function."""
    if op.amounts[0] != (0, 0):
        raise RefusedError("padding of the batch is not streamed.")
    module = reading.tree.get_submodule(str(node.target)) if node.op == "call_module" else None
    if module is None:
        value = reading.arguments(node, ("input", "pad", "mode", "value"))[3]
    else:
        value = getattr(module, "value", 0.0)
    maps = reading.map_inputs(node)
    return _padded(maps, op.amounts[2:], op.amounts[1], op.mode, value or 0.0, (1,) * reading.dims)


def pad_phases(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.pad_phases`."""
    names = ("x", "amounts", "channels", "mode", "value", "dilation")
    _, amounts, channels, mode, value, dilation = reading.arguments(node, names)
    return _padded(reading.map_inputs(node), amounts, channels, mode, value, dilation)


def _padded(
    maps: tuple[fx.Node, ...],
    amounts: Pairs,
    channels: Sequence[int],
    mode: str,
    value: float,
    dilation: Sequence[int],
) -> Worker:
    rows = [(a, b, d) for (a, b), d in zip(amounts, dilation, strict=True)]
    if mode != "constant":
        return mirrored(maps, rows, mode)
    reaches = tuple(Swept(Sweep(1, 1, (a * d, b * d))) for a, b, d in rows)
    if not any(channels):
        return Worker(_as_read, maps, reaches, value)

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        return F.pad(pieces[0], [0, 0] * len(rows) + list(channels), value=value)

    return Worker(run, maps, reaches, value)


def sliced(node: fx.Node, op: Slice, reading: Reading) -> Worker:
    """Indexing along the channels, or from some cell on in steps."""
    maps = reading.map_inputs(node)
    (_, stop, step), *spatial = op.ranges[1:]
    whole = (0, None, 1)
    if op.ranges[0] != whole or op.dropped or any(end is not None for _, end, _ in spatial):
        raise RefusedError("it takes cells counted from the end, or entries one by one.")
    if all(entry == whole for entry in spatial):
        return cell_by_cell(node, reading)
    reaches = tuple(Swept(Sweep(1, every, (-first, 0))) for first, _, every in spatial)
    channels = slice(op.ranges[1][0], stop, step)

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        steps = [slice(None, None, every) for _, _, every in spatial]
        return pieces[0][(slice(None), channels, *steps)]

    return Worker(run, maps, reaches)


def rephased(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.rephased`: phases into the batch, or back from it."""
    _, before, after = reading.arguments(node, ("x", "before", "after"))
    return Worker(
        _own(evaluated(node, reading)), reading.map_inputs(node), _moved(before, after), 0.0
    )


def together(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.together`: phases in their places, without those that filled them up."""
    names = ("x", "image", "phases", "stride", "slack")
    x, _, phases, stride, slack = reading.arguments(node, names)
    ones = (1,) * len(phases)

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        return runtime.rephased(pieces[0], phases, ones)

    limits = tuple(Limit(s, more) for s, more in zip(stride, slack, strict=True))
    return Worker(_own(run), (x,), _moved(phases, ones), limits=limits)


def _moved(before: Sequence[int], after: Sequence[int]) -> tuple[Reach, ...]:
    def reach(was: int, becomes: int) -> Reach:
        if becomes > was:
            by = becomes // was
            return Swept(Sweep(by, by, (0, by - 1)))
        return Same() if becomes == was else Spread(was // becomes)

    return tuple(reach(was, becomes) for was, becomes in zip(before, after, strict=True))


def repeated(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.repeated`."""
    _, factors = reading.arguments(node, ("x", "factors"))
    reaches = tuple(Same() if factor == 1 else Spread(factor) for factor in factors)
    return Worker(_own(evaluated(node, reading)), reading.map_inputs(node), reaches)


def _own(run: Run) -> Run:
    """Of cells that come in groups, those of the place: a group may be wanted in part."""

    def cut(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        y = run(pieces, places, pads)
        for axis, place in enumerate(places, 2):
            length = place.read[1] - place.read[0]
            factor = y.shape[axis] // length if length else 1
            if factor > 1:
                y = y.narrow(axis, place.start - place.read[0] * factor, place.stop - place.start)
        return y

    return cut


def space_to_depth(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.space_to_depth`."""
    names = ("x", "blocks", "steps", "dilation")
    _, blocks, steps, dilation = reading.arguments(node, names)
    rows = zip(blocks, steps, dilation, strict=True)
    reaches = tuple(Swept(Sweep(b, s, (0, 0), d)) for b, s, d in rows)
    return Worker(evaluated(node, reading), reading.map_inputs(node), reaches)


def whole_windows(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.whole_windows`: the cells of whole windows, every so many of them."""
    names = ("scores", "image", "window", "stride", "step")
    scores, _, window, stride, step = reading.arguments(node, names)
    limits = tuple(
        Limit(pixels, -extent, every, 1)
        for extent, pixels, every in zip(window, stride, step, strict=True)
    )
    cut = Worker(_as_read, (scores,), reading.same(), limits=limits)
    if max(step) == 1:
        return cut

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        return pieces[0][(slice(None), slice(None), *(slice(None, None, every) for every in step))]

    reaches = tuple(Swept(Sweep(1, every)) for every in step)
    return Worker(run, (scores,), reaches, before=cut)


def common(node: fx.Node, source: fx.Node, reading: Reading) -> Worker:
    """One of the maps that `runtime.common` cuts to the cells that all of them have."""
    maps, spared = reading.arguments(source, ("maps", "spared"))
    if spared:
        raise RefusedError("it meets a map of one cell for the whole image.")
    own = maps[node.args[1]]
    others = tuple(other for other in maps if other is not own and other in reading.maps)
    return Worker(_as_read, (own,), reading.same(), others=others)


CALLS: dict[Any, Callable[[fx.Node, Reading], Worker]] = {
    runtime.pad_phases: pad_phases,
    runtime.rephased: rephased,
    runtime.together: together,
    runtime.repeated: repeated,
    runtime.space_to_depth: space_to_depth,
    runtime.whole_windows: whole_windows,
}
