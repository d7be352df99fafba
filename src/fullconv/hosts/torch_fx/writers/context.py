"""Context ops: pools and norms that see a box around every cell, or the whole map."""

from __future__ import annotations

from typing import Any

from torch import fx

from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.work import Work, argument, called
from fullconv.surgery.edits import Attend, NormContext, PoolContext


def _pool(work: Work, node: fx.Node, edit: PoolContext) -> None:
    settings = (edit.kind, edit.kernel, edit.dilation, edit.local, edit.axes)
    work.call(node, runtime.pool_context, work.input(node), *settings)


_PLACES = {"group_norm": (2, 4), "instance_norm": (3, 7), "layer_norm": (2, 4)}
"""Where norms by function have their weight, which the bias follows, and their epsilon."""


def _norm(work: Work, node: fx.Node, edit: NormContext) -> None:
    module: Any = work.module(node)
    if module is not None:
        weight, bias = work.attribute(node, "weight"), work.attribute(node, "bias")
        eps = module.eps
    else:
        place, last = _PLACES[called(node)]
        weight, bias = argument(node, place, "weight"), argument(node, place + 1, "bias")
        eps = argument(node, last, "eps", 1e-5)
    settings = (edit.groups, edit.kernel, edit.dilation, edit.local)
    work.call(node, runtime.norm_context, work.input(node), weight, bias, eps, *settings)


def _attend(work: Work, node: fx.Node, edit: Attend) -> None:
    first, second = work.inputs(node)
    x, weights = (first, second) if edit.weights else (second, first)
    settings = (edit.kernel, edit.dilation, edit.local, edit.every)
    work.call(node, runtime.attend, x, weights, *settings)


WRITERS: dict[type, Any] = {PoolContext: _pool, NormContext: _norm, Attend: _attend}
