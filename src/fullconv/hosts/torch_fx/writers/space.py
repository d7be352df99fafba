"""Layers that sweep over the map, pools, padding, and what takes or repeats cells."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx, nn

from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.work import Work, argument
from fullconv.surgery.edits import (
    CropToCommon,
    Enlarge,
    PoolWindow,
    Resweep,
    SetPad,
    SetPool,
    SpaceToDepth,
    TakeCells,
)

AVERAGE_POOLS: tuple[Any, ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
MAX_POOLS: tuple[Any, ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


def _resweep(work: Work, node: fx.Node, edit: Resweep) -> None:
    stride = tuple(sweep.stride for sweep in edit.sweeps)
    uneven = any(sweep.padding[0] != sweep.padding[1] for sweep in edit.sweeps)
    padding: Any = tuple(sweep.padding[0] for sweep in edit.sweeps)
    dilation = tuple(sweep.dilation for sweep in edit.sweeps)

    def build(module: nn.Module) -> nn.Module:
        twin = share(module)
        twin.__dict__.update(stride=stride, padding=padding, dilation=dilation)
        doubled = [p for p in reversed(padding) for _ in range(2)]
        twin.__dict__["_reversed_padding_repeated_twice"] = doubled
        return twin

    if not uneven and work.swap(node, build):
        return
    x = work.input(node)
    if uneven:  # "same" padding of an even kernel
        amounts = [n for sweep in reversed(edit.sweeps) for n in sweep.padding]
        with work.graph.inserting_before(node):
            x = work.graph.call_function(nn.functional.pad, (x, amounts))
        padding = (0,) * len(stride)
    module: Any = work.module(node)
    weight, bias = work.settings(node, "weight", "bias")
    groups = argument(node, 6, "groups", 1) if module is None else module.groups
    convolve = runtime.CONV[len(stride) - 1]
    work.call(node, convolve, x, weight, bias, stride, padding, dilation, groups)


def _set_pool(work: Work, node: fx.Node, edit: SetPool) -> None:
    pool, sweeps = edit.pool, edit.pool.sweeps
    dims = len(sweeps) - 1
    kernel, stride, dilation = (
        tuple(getattr(sweep, name) for sweep in sweeps) for name in ("kernel", "stride", "dilation")
    )
    pairs = tuple(sweep.padding for sweep in sweeps)
    padding, ceil = tuple(before for before, _ in pairs), sweeps[0].ceil_mode
    # PyTorch's pools pad alike on both sides, at most by half a kernel; averages are not dilated.
    small = all(2 * p <= k for p, k in zip(padding, kernel, strict=True))
    usual = small and all(before == after for before, after in pairs)
    x = work.input(node)
    if pool.kind == "max":
        settings: Any = (kernel, stride, padding, dilation)
        if not usual:
            work.call(node, runtime.max_pool, x, kernel, stride, pairs, dilation)
        elif not work.swap(node, lambda m: MAX_POOLS[dims](*settings, ceil_mode=ceil)):
            work.call(node, runtime.MAX_POOL[dims], x, *settings, ceil_mode=ceil)
        return
    usual = usual and max(dilation) == 1 and pool.counted in ((), pairs)
    if not usual:
        counted = (pool.counted or pairs) if pool.count_include_pad else ()
        settings = (kernel, stride, pairs, dilation, counted, pool.divisor)
        work.call(node, runtime.average_pool, x, *settings)
        return
    settings = (kernel, stride, padding, ceil)
    counts: dict[str, Any] = {"count_include_pad": pool.count_include_pad}
    if dims > 0:
        counts["divisor_override"] = pool.divisor
    if not work.swap(node, lambda m: AVERAGE_POOLS[dims](*settings, **counts)):
        work.call(node, runtime.AVERAGE_POOL[dims], x, *settings, **counts)


def _pool_window(work: Work, node: fx.Node, edit: PoolWindow) -> None:
    work.call(node, runtime.box, work.input(node), edit.kind, edit.kernel, edit.dilation)


def _set_pad(work: Work, node: fx.Node, edit: SetPad) -> None:
    module: Any = work.module(node)
    value = argument(node, 3, "value", 0.0) if module is None else getattr(module, "value", 0.0)
    settings = (edit.amounts, edit.channels, edit.mode, value or 0.0, edit.dilation)
    work.call(node, runtime.pad_phases, work.input(node), *settings)


def _take_cells(work: Work, node: fx.Node, edit: TakeCells) -> None:
    cells = [slice(start, None, step) for start, step in zip(edit.starts, edit.steps, strict=True)]
    everything = slice(None)
    work.call(node, operator.getitem, work.input(node), (everything, everything, *cells))


def _space_to_depth(work: Work, node: fx.Node, edit: SpaceToDepth) -> None:
    blocks, steps, dilation = (
        tuple(getattr(sweep, name) for sweep in edit.sweeps)
        for name in ("kernel", "stride", "dilation")
    )
    settings = (blocks, steps, dilation, edit.parts, edit.order)
    work.call(node, runtime.space_to_depth, work.input(node), *settings)


def _enlarge(work: Work, node: fx.Node, edit: Enlarge) -> None:
    work.call(node, runtime.repeated, work.input(node), edit.factors)


def _crop(work: Work, node: fx.Node, edit: CropToCommon) -> None:
    maps = [source for source in node.all_input_nodes if source.meta.get("of_image", True)]
    inputs = [source for source in work.inputs(node) if source in maps]
    spared = tuple((maps.index(inputs[place]), axis) for place, axis in edit.spared)
    with work.graph.inserting_before(node):
        cut = work.graph.call_function(runtime.common, (maps, spared) if spared else (maps,))
        parts = [work.graph.call_function(operator.getitem, (cut, i)) for i in range(len(maps))]
    for source, part in zip(maps, parts, strict=True):
        node.replace_input_with(source, part)


WRITERS: dict[type, Any] = {
    Resweep: _resweep,
    SetPool: _set_pool,
    PoolWindow: _pool_window,
    SetPad: _set_pad,
    TakeCells: _take_cells,
    SpaceToDepth: _space_to_depth,
    Enlarge: _enlarge,
    CropToCommon: _crop,
}
