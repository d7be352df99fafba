"""Which worker a node of an FCN's graph gets: every op by its rule, or refused."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx

from fullconv.blueprint import (
    Combine,
    Concat,
    Convolution,
    Elementwise,
    Identity,
    Op,
    Pad,
    PerChannel,
    Pool,
    Reduce,
    Slice,
    Softmax,
)
from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.optimized.network import full_precision
from fullconv.hosts.torch_fx.read import described
from fullconv.hosts.torch_fx.streaming import moves, surveys, sweeps, vectors
from fullconv.hosts.torch_fx.streaming.worker import Reading, Worker, cell_by_cell, evaluated

_CELL_BY_CELL = (
    runtime.layer_norm,
    runtime.rms_norm,
    runtime.conv_channels,
    runtime.shuffle_channels,
    runtime.reduce_part,
    runtime.softmax_part,
    full_precision,
)
"""What an FCN calls that works among the channels of every cell."""

CASTS = ("float", "half", "double", "to", "type", "type_as", "pos")
"""Functions that may return their input itself."""

CALLS: dict[Any, Callable[[fx.Node, Reading], Worker]] = {
    **dict.fromkeys(_CELL_BY_CELL, cell_by_cell),
    **sweeps.CALLS,
    **moves.CALLS,
    **surveys.CALLS,
    runtime.from_vectors: vectors.from_vectors,
}
"""Every function of an FCN's own that is streamed, and how."""


def worker_of(node: fx.Node, reading: Reading) -> Worker:
    """The worker of a node that depends on the image. Raises RefusedError."""
    source: Any = node.args[0] if node.args else None
    if node.target is operator.getitem and isinstance(source, fx.Node):
        if source.target is runtime.common:
            return moves.common(node, source, reading)
        if not isinstance(reading.values[source], Tensor):
            return _piece(node, source, reading)
    if node.target in CALLS:
        return CALLS[node.target](node, reading)
    if node.target is F.normalize and 1 in reading.arguments(node, ("input", "p", "dim"))[2:]:
        return cell_by_cell(node, reading)
    if node.op == "call_module":
        kind = type(reading.tree.get_submodule(str(node.target)))
        if kind in sweeps.MODULES:
            return sweeps.MODULES[kind](node, reading)
        if kind is runtime.StochasticDepth:
            return cell_by_cell(node, reading)
    op, _ = described(node, reading.tree)
    return _by_op(node, op, reading)


def _by_op(node: fx.Node, op: Op, reading: Reading) -> Worker:
    """The worker of a node of PyTorch's own, by what it computes."""
    if isinstance(op, Convolution):
        return sweeps.convolution(node, op, reading)
    if isinstance(op, Pool):
        return sweeps.pool(reading.map_inputs(node), op)
    if isinstance(op, Pad):
        return moves.padding(node, op, reading)
    if isinstance(op, Slice):
        return moves.sliced(node, op, reading)
    among = (
        isinstance(op, Elementwise | PerChannel | Combine | Identity)
        or (isinstance(op, Softmax | Concat) and op.axis == 1)
        or (isinstance(op, Reduce) and op.axes == (1,) and op.keepdim)
    )
    if among:
        views = isinstance(op, Identity) or getattr(op, "name", "") in CASTS
        return cell_by_cell(node, reading, fresh=not views)
    raise RefusedError(
        f"{op or type(op).__name__} is not streamed: it is not known which cells it needs.",
        hint="Scan the image as a whole: fcn(image).",
    )


def _piece(node: fx.Node, source: fx.Node, reading: Reading) -> Worker:
    """One of the pieces a map's channels are cut into."""
    op, _ = described(node, reading.tree)
    if not isinstance(op, Slice) or any(entry != (0, None, 1) for entry in op.ranges[2:]):
        raise RefusedError("it cuts the map into pieces along space.")
    cut, index = evaluated(source, reading), node.args[1]

    def run(pieces: Any, places: Any, pads: Any) -> Tensor:
        return cut(pieces, places, pads)[index]  # type: ignore[index]

    return Worker(run, reading.map_inputs(source), reading.same())
