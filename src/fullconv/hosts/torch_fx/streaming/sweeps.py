"""Convolutions and pools, which sweep over space: run without padding on what they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

from fullconv.blueprint import Convolution, Pool
from fullconv.errors import RefusedError
from fullconv.geometry import Sweep
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.runtime.pools import taps
from fullconv.hosts.torch_fx.streaming.worker import Places, Reading, Worker, evaluated
from fullconv.streams.places import Place
from fullconv.streams.reach import Mirrored, Reach, Swept, outside

PATCHES = 1024
"""Cells whose patches are multiplied at a time, or those of one row."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

Weights = Callable[[], tuple[Tensor, Tensor | None]]


def convolution(node: fx.Node, op: Convolution, reading: Reading) -> Worker:
    """A convolution, by module or by function."""
    maps = reading.map_inputs(node)
    if node.op == "call_module":
        module: Any = reading.tree.get_submodule(str(node.target))
        if type(module) not in CONVOLUTIONS:
            return _somebodys(node, op, reading)

        def weights() -> tuple[Tensor, Tensor | None]:
            return module.weight, module.bias
    else:
        _, weight, bias = reading.arguments(node, ("input", "weight", "bias"))

        def weights() -> tuple[Tensor, Tensor | None]:
            return weight, bias

    return convolved(maps, op, weights)


def _somebodys(node: fx.Node, op: Convolution, reading: Reading) -> Worker:
    """A convolution that somebody has described: run as it is, which takes that it pads nothing."""
    if any(sweep.pads for sweep in op.sweeps):
        raise RefusedError(
            "it is somebody's own convolution and pads; how to run it without is not known."
        )
    return Worker(evaluated(node, reading), reading.map_inputs(node), _swept(op.sweeps))


def convolved(maps: tuple[fx.Node, ...], op: Convolution, weights: Weights) -> Worker:
    """A convolution with the numbers that `weights` returns."""
    sweeps, before = op.sweeps, None
    if op.padding_mode != "zeros" and any(sweep.pads for sweep in sweeps):
        before = mirrored(maps, tuple((*sweep.padding, 1) for sweep in sweeps), op.padding_mode)
        sweeps = tuple(Sweep(s.kernel, s.stride, (0, 0), s.dilation) for s in sweeps)
    function = runtime.CONV[len(sweeps) - 1]
    stride, dilation = [s.stride for s in sweeps], [s.dilation for s in sweeps]

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        weight, bias = weights()
        y: Tensor = function(pieces[0], weight, bias, stride, list(pads), dilation, op.groups)
        return y

    reaches, weight = _swept(sweeps), weights()[0]
    return Worker(
        run, maps, reaches, 0.0, pads=_alike(sweeps), before=before, weight=weight, fresh=True
    )


def pool(maps: tuple[fx.Node, ...], op: Pool) -> Worker:
    """A max or average pool of any padding, dilation and way to count."""
    sweeps = op.sweeps
    kernel, stride, dilation = (
        [getattr(sweep, name) for sweep in sweeps] for name in ("kernel", "stride", "dilation")
    )
    dims = len(sweeps)
    half = tuple(p if 2 * p <= s.kernel else 0 for p, s in zip(_alike(sweeps), sweeps, strict=True))
    if op.kind == "max":

        def largest(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
            function = runtime.MAX_POOL[dims - 1]
            y: Tensor = function(pieces[0], kernel, stride, list(pads), dilation)
            return y

        return Worker(largest, maps, _swept(sweeps), float("-inf"), pads=half, fresh=True)

    pairs = tuple(sweep.padding for sweep in sweeps)
    counted = (op.counted or pairs) if op.count_include_pad else ((0, 0),) * dims
    nothing = not any(sweep.pads for sweep in sweeps)
    every = nothing or (op.count_include_pad and counted == pairs)
    every = every and not any(sweep.ceil_mode for sweep in sweeps)
    if max(dilation) == 1 and (every or op.divisor is not None):
        more = {} if dims == 1 or op.divisor is None else {"divisor_override": op.divisor}

        def averaged(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
            function = runtime.AVERAGE_POOL[dims - 1]
            y: Tensor = function(pieces[0], kernel, stride, list(pads), **more)
            return y

        return Worker(averaged, maps, _swept(sweeps), 0.0, pads=half, fresh=True)

    def weighed(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        total = pieces[0]
        for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), 2):
            total = reduce(torch.add, taps(total, axis, k, s, d))
        if op.divisor is not None:
            return total / op.divisor
        for axis, (sweep, bounds, place) in enumerate(zip(sweeps, counted, places, strict=True)):
            shape = [-1 if other == axis else 1 for other in range(dims)]
            total = total / _counts(sweep, bounds, place, total).reshape(shape)
        return total

    return Worker(weighed, maps, _swept(sweeps), 0.0, fresh=True)


def _counts(sweep: Sweep, bounds: Sequence[int], place: Place, like: Tensor) -> Tensor:
    """How many of the cells that count the kernel covers at every output cell of a place."""
    first = torch.arange(place.start, place.stop, device=like.device) * sweep.stride
    inside = torch.arange(sweep.kernel, device=like.device) * sweep.dilation
    cells = (first - sweep.padding[0])[:, None] + inside  # (cells, kernel)
    covered = (cells >= -bounds[0]) & (cells < place.given + bounds[1])
    return covered.sum(1).clamp(min=1).to(like.dtype)


def mirrored(
    maps: tuple[fx.Node, ...], amounts: Sequence[tuple[int, int, int]], mode: str
) -> Worker:
    """Padding with cells of the map: (before, after, dilation) per axis."""
    reaches: tuple[Reach, ...] = tuple(
        Mirrored(before, after, apart, mode) for before, after, apart in amounts
    )

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        x = pieces[0]
        for axis, (reach, place) in enumerate(zip(reaches, places, strict=True), 2):
            if reach.count(0):
                index = [
                    cell - place.read[0] for cell in outside(place.given, *amounts[axis - 2], mode)
                ]
                wanted = torch.tensor(index[place.start : place.stop], device=x.device)
                x = x.index_select(axis, wanted)
        return x

    return Worker(run, maps, reaches)


def linear_as_conv(node: fx.Node, reading: Reading) -> Worker:
    """A linear layer slid over the map by function."""
    names = ("x", "weight", "bias", "channels", "kernel", "dilation", "order", "taps", "bins")
    _, weight, bias, channels, kernel, dilation, order, shape, bins = reading.arguments(node, names)

    def weights() -> tuple[Tensor, Tensor | None]:
        found = runtime.conv_weight(weight, channels, shape, order)
        return (runtime.folded(found, kernel, bins) if bins else found), bias

    return _linear(node, reading, kernel, dilation, weight.shape[0], weights)


def linear_module(node: fx.Node, reading: Reading) -> Worker:
    """A linear layer that is a convolution of its own kind: `FoldedConv`, `ProductConv`."""
    module: Any = reading.tree.get_submodule(str(node.target))
    if isinstance(module, runtime.FoldedConv):
        weight, bias = runtime.folded(module.weight, module.kernel, module.bins), module.bias
        shape = module.kernel, module.dilation, len(weight)
        return _linear(node, reading, *shape, lambda: (weight, bias))
    kernel = tuple(module.weight.shape[2:])
    shape = kernel, module.dilation, len(module.weight)
    found = _linear(node, reading, *shape, lambda: (module.weight, module.bias))

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        (x,) = pieces
        if x.dtype != module.weight.dtype:
            return found.run(pieces, places, pads)
        # A convolution would put its weights in order for every strip anew.
        rows = [place.stop - place.start for place in places]
        each = max(1, PATCHES // (len(x) * prod(rows[1:])))
        reach = module.dilation[0] * (kernel[0] - 1)
        parts = [
            module.product(x.narrow(2, first, min(each, rows[0] - first) + reach))
            for first in range(0, rows[0], each)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 2)

    return replace(found, run=run)


def _linear(
    node: fx.Node,
    reading: Reading,
    kernel: Sequence[int],
    dilation: Sequence[int],
    out: int,
    weights: Weights,
) -> Worker:
    sweeps = tuple(Sweep(k, 1, (0, 0), d) for k, d in zip(kernel, dilation, strict=True))
    return convolved(reading.map_inputs(node), Convolution(out, sweeps), weights)


def max_pool(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.max_pool`."""
    _, *settings = reading.arguments(node, ("x", "kernel", "stride", "pairs", "dilation"))
    return pool(reading.map_inputs(node), Pool("max", _sweeps(*settings)))


def average_pool(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.average_pool`."""
    names = ("x", "kernel", "stride", "pairs", "dilation", "counted", "divisor")
    _, kernel, stride, pairs, dilation, counted, divisor = reading.arguments(node, names)
    sweeps = _sweeps(kernel, stride, pairs, dilation)
    bounds = tuple(tuple(pair) for pair in counted or ())
    return pool(reading.map_inputs(node), Pool("average", sweeps, bool(counted), divisor, bounds))


def box(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.box`: a reduction over windows that lie inside the map."""
    _, kind, kernel, dilation = reading.arguments(node, ("x", "kind", "kernel", "dilation"))
    sweeps = _sweeps(kernel, [1] * len(kernel), [(0, 0)] * len(kernel), dilation)

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        return runtime.box(pieces[0], kind, kernel, dilation)

    return Worker(run, reading.map_inputs(node), _swept(sweeps))


def _sweeps(kernel: Any, stride: Any, pairs: Any, dilation: Any) -> tuple[Sweep, ...]:
    rows = zip(kernel, stride, pairs, dilation, strict=True)
    return tuple(Sweep(k, s, (p[0], p[1]), d) for k, s, p, d in rows)


def _swept(sweeps: Sequence[Sweep]) -> tuple[Reach, ...]:
    return tuple(Swept(sweep) for sweep in sweeps)


def _alike(sweeps: Sequence[Sweep]) -> tuple[int, ...]:
    """Per axis the padding that is the same on both sides, 0 where it is not."""
    return tuple(
        sweep.padding[0] if sweep.padding[0] == sweep.padding[1] and not sweep.ceil_mode else 0
        for sweep in sweeps
    )


CALLS: dict[Any, Callable[[fx.Node, Reading], Worker]] = {
    runtime.max_pool: max_pool,
    runtime.average_pool: average_pool,
    runtime.box: box,
    runtime.linear_as_conv: linear_as_conv,
}

MODULES: dict[type[nn.Module], Callable[[fx.Node, Reading], Worker]] = {
    runtime.FoldedConv: linear_module,
    runtime.ProductConv: linear_module,
}
