"""What training changes and tracing in inference mode has frozen: it follows the FCN's mode again.

A functional dropout becomes a module inside the module whose `forward` called it, so that its mode
is that module's: `fcn.train()` turns it on, `fcn.layer4.eval()` off. That it was off because of the
mode is taken for granted: in the trace `training=self.training` looks like `training=False`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fullconv.hosts.torch_fx.modules import qualified
from fullconv.hosts.torch_fx.runtime import StochasticDepth
from fullconv.hosts.torch_fx.sharing import HOOKS, replace, share, stand_in_for

DROPOUTS: dict[Any, type[nn.Module]] = {
    F.dropout: nn.Dropout,
    torch.dropout: nn.Dropout,
    F.dropout1d: nn.Dropout1d,
    F.dropout2d: nn.Dropout2d,
    F.dropout3d: nn.Dropout3d,
    F.alpha_dropout: nn.AlphaDropout,
    torch.alpha_dropout: nn.AlphaDropout,
    F.feature_alpha_dropout: nn.FeatureAlphaDropout,
    torch.feature_alpha_dropout: nn.FeatureAlphaDropout,
}
"""Functions as modules. Their arguments are input, p, whether to drop, and mostly inplace."""

ON_VECTORS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Dropout2d: nn.Dropout,
    nn.Dropout3d: nn.Dropout,
    nn.FeatureAlphaDropout: nn.AlphaDropout,
}
"""Dropout of whole channels as it works on a vector, entry by entry: on a map at every cell."""

BATCH_NORMS: tuple[Any, ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


STOCHASTIC_DEPTHS: dict[str, Callable[[Any], nn.Module]] = {
    "torchvision.ops.stochastic_depth.StochasticDepth": lambda m: StochasticDepth(m.p, m.mode),
    "timm.layers.drop.DropPath": lambda m: StochasticDepth(
        m.drop_prob or 0.0, scale=m.scale_by_keep
    ),
}
"""Modules of other packages as one of our own, which can be saved."""


def follow_mode(graph: fx.Graph, tree: nn.Module, axes: int) -> None:
    """Let dropout and batch norm of an FCN with `axes` spatial axes follow its mode."""
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in DROPOUTS:
            _follow_dropout(graph, tree, node, axes)
        elif node.target in (F.batch_norm, torch.batch_norm):
            _follow_batch_norm(graph, tree, node, axes)
    _drop_entries(graph, tree)
    for module in list(tree.modules()):
        build = STOCHASTIC_DEPTHS.get(qualified(type(module)))
        if build is not None:
            replace(tree, module, stand_in_for(build(module), module))


def _follow_dropout(graph: fx.Graph, tree: nn.Module, node: fx.Node, axes: int) -> None:
    """A dropout that its own `forward` turned off becomes a module, off like all others for now."""
    given = dict(zip(("input", "p", "training", "inplace"), node.args, strict=False))
    given.update(node.kwargs)
    kind = DROPOUTS[node.target]
    dims = node.meta["value"].ndim
    if dims == 2:
        kind = ON_VECTORS.get(kind, kind)
    whole_channels = kind in (nn.Dropout1d, *ON_VECTORS)
    if whole_channels and dims != axes + 2:
        return
    module = kind(given.get("p", 0.5), bool(given.get("inplace", False)))
    module.training = False
    _become(graph, node, _adopt(tree, node, module), given["input"])


def _adopt(tree: nn.Module, node: fx.Node, module: nn.Module) -> str:
    """Put a module for `node` into the module whose `forward` made the node; its path."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    owner, name = tree.get_submodule(path), node.name
    while hasattr(owner, name):
        name += "_"
    owner.add_module(name, module)
    return f"{path}.{name}" if path else name


def _become(graph: fx.Graph, node: fx.Node, path: str, source: Any) -> None:
    """Turn a function call into the call of a module."""
    with graph.inserting_before(node):
        call = graph.call_module(path, (source,))
    call.meta = dict(node.meta)
    node.replace_all_uses_with(call)
    graph.erase_node(node)


def _drop_entries(graph: fx.Graph, tree: nn.Module) -> None:
    """Modules that drop whole channels, where all they get are vectors."""
    calls: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "call_module":
            calls.setdefault(str(node.target), []).append(node)
    for path, nodes in calls.items():
        module = tree.get_submodule(path)
        kind = ON_VECTORS.get(type(module))
        if kind is not None and all(node.meta["value"].ndim == 2 for node in nodes):
            replace(tree, module, stand_in_for(kind(module.p, module.inplace), module))


def _follow_batch_norm(graph: fx.Graph, tree: nn.Module, node: fx.Node, axes: int) -> None:
    """Batch norm by function with the numbers of a batch norm module becomes that module.

    So timm's and other subclasses call it. The module's own `forward` is not traced in training
    mode, so it is asked whether it goes on with its statistics there.
    """
    names = ("input", "running_mean", "running_var", "weight", "bias", "training")
    if node.target is torch.batch_norm:
        names = ("input", "weight", "bias", "running_mean", "running_var", "training")
    given = dict(zip((*names, "momentum", "eps"), node.args, strict=False))
    given.update(node.kwargs)
    mean = given.get("running_mean")
    if not isinstance(mean, fx.Node) or mean.op != "get_attr":
        return
    path = str(mean.target).rpartition(".")[0]
    module, kind = tree.get_submodule(path), BATCH_NORMS[axes - 1]
    if not isinstance(module, nn.modules.batchnorm._BatchNorm):
        return
    for name in ("running_mean", "running_var", "weight", "bias"):
        found, own = given.get(name), getattr(module, name)
        if (found is None) != (own is None):
            return
        if isinstance(found, fx.Node) and found.target != f"{path}.{name}":
            return
    called = any(n.op == "call_module" and n.target == path for n in graph.nodes)
    if type(module) is not kind and (called or not _goes_on(module, node)):
        return
    if given.get("eps", 1e-5) != module.eps:
        return
    if type(module) is not kind:
        module.__class__ = kind
        for name in HOOKS:  # they were made for the whole of its `forward`
            if isinstance(module.__dict__[name], OrderedDict):
                module.__dict__[name] = OrderedDict()
    _become(graph, node, path, given["input"])


def _goes_on(module: Any, node: fx.Node) -> bool:
    """Whether a batch norm's `forward` moves its running mean in training mode, tried on a copy."""
    if type(module) in BATCH_NORMS:
        return True
    if "forward" in vars(module):
        return False
    twin: Any = share(module)
    for name, buffer in module._buffers.items():
        twin._buffers[name] = None if buffer is None else buffer.clone()
    twin.training = True
    cells = (2,) * (node.meta["value"].ndim - 2)
    mean = module.running_mean + 1  # a batch with another mean than it has seen so far
    x = mean.reshape(1, -1, *(1 for _ in cells)).expand(2, -1, *cells).clone()  # (2, C, *cells)
    try:
        with torch.no_grad():
            twin.forward(x)
            return not torch.equal(twin.running_mean, module.running_mean)
    except Exception:  # whatever a forward of someone else's raises: it stays as it was traced
        return False
