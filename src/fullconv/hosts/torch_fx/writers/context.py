"""Context ops: pools and norms that see a box around every cell, or the whole map."""

from __future__ import annotations

from typing import Any

from torch import fx

from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.work import Work, argument
from fullconv.surgery.edits import Attend, NormContext, PoolContext


def _pool(work: Work, node: fx.Node, edit: PoolContext) -> None:
    settings = (edit.kind, edit.kernel, edit.dilation, edit.local, edit.axes)
    work.call(node, runtime.pool_context, work.input(node), *settings)


def _norm(work: Work, node: fx.Node, edit: NormContext) -> None:
    module: Any = work.module(node)
    if module is not None:
        weight, bias = work.attribute(node, "weight"), work.attribute(node, "bias")
        eps = module.eps
    else:
        names = ("weight", "bias", "eps")
        place = {"group_norm": 2, "instance_norm": 3, "layer_norm": 2}[str(_function(node))]
        weight, bias = (argument(node, place + i, name) for i, name in enumerate(names[:2]))
        last = 7 if _function(node) == "instance_norm" else place + 2
        eps = argument(node, last, "eps", 1e-5)
    settings = (edit.groups, edit.kernel, edit.dilation, edit.local)
    work.call(node, runtime.norm_context, work.input(node), weight, bias, eps, *settings)


def _attend(work: Work, node: fx.Node, edit: Attend) -> None:
    first, second = work.inputs(node)
    x, weights = (first, second) if edit.weights else (second, first)
    settings = (edit.kernel, edit.dilation, edit.local, edit.every)
    work.call(node, runtime.attend, x, weights, *settings)


def _function(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


WRITERS: dict[type, Any] = {PoolContext: _pool, NormContext: _norm, Attend: _attend}
