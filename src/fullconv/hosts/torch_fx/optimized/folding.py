"""Batch norms folded into the convolutions in front of them: Jacob et al. 2018, section 3.2.

In inference a batch norm multiplies every channel by a number and adds another. A convolution with
its weights multiplied and its bias shifted does both at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.modes import BATCH_NORMS
from fullconv.hosts.torch_fx.sharing import HOOKS, replace, share

CONV_MODULES: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d, runtime.FoldedConv)
CONV_CALLS: tuple[Any, ...] = (
    *runtime.CONV,
    torch.conv1d,
    torch.conv2d,
    torch.conv3d,
    runtime.linear_as_conv,
)
"""Functions whose arguments begin with input, weight `(out, ...)` and bias `(out,)`."""

_ORDER: dict[Any, tuple[str, ...]] = {
    F.batch_norm: ("input", "running_mean", "running_var", "weight", "bias", "training"),
    torch.batch_norm: ("input", "weight", "bias", "running_mean", "running_var", "training"),
}


class _LeftError(Exception):
    """A batch norm stays as it is; the message says why."""


@dataclass(frozen=True, slots=True)
class _Norm:
    """What a batch norm does to channel `c`: `x * scale[c] + shift[c]`, in float64."""

    scale: Tensor
    shift: Tensor


def fold(
    graph: fx.Graph, tree: nn.Module, dtype: torch.dtype | None
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Fold every batch norm that can be; `graph` and `tree` change, no tensor in the tree does.

    Folded weights are computed in float64 and kept as `dtype`, or as they were with None.

    Returns how many were folded, and `(name, why)` of those that were not.
    """
    uses = _uses(graph, tree)
    count, left = 0, []
    for node in list(graph.nodes):
        if not _is_batch_norm(node, tree):
            continue
        try:
            _fold(graph, tree, node, uses, dtype)
            count += 1
        except _LeftError as why:
            name = node.target if node.op == "call_module" else node.name
            left.append((str(name), str(why)))
    _clear(graph, tree)
    return count, tuple(left)


def _uses(graph: fx.Graph, tree: nn.Module) -> dict[int, int]:
    """How often each module is called, or a tensor of it read, under whatever name."""
    uses: dict[int, int] = {}
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            target = str(node.target)
            owner = target.rpartition(".")[0] if node.op == "get_attr" else target
            module = id(tree.get_submodule(owner))
            uses[module] = uses.get(module, 0) + 1
    return uses


def _is_batch_norm(node: fx.Node, tree: nn.Module) -> bool:
    if node.op == "call_module":
        return isinstance(tree.get_submodule(str(node.target)), nn.modules.batchnorm._BatchNorm)
    return node.op == "call_function" and node.target in _ORDER


def _fold(
    graph: fx.Graph,
    tree: nn.Module,
    node: fx.Node,
    uses: dict[int, int],
    dtype: torch.dtype | None,
) -> None:
    """Fold one batch norm. Raises _LeftError before anything is changed."""
    read, norm = _norm(node, tree)
    source = _before_phases(read)
    module = tree.get_submodule(str(source.target)) if source.op == "call_module" else None
    calls = source.op == "call_function" and source.target in CONV_CALLS
    if not calls and not isinstance(module, CONV_MODULES):
        if source.target is runtime.rephased:
            raise _LeftError("phases move into the batch before it")
        raise _LeftError("no convolution is in front of it")
    if len(source.users) > 1:
        raise _LeftError("something else reads the convolution too")
    if module is None:
        _into_call(graph, tree, source, norm, dtype)
    else:
        _into_module(tree, module, norm, uses, dtype)
    node.replace_all_uses_with(read)
    graph.erase_node(node)


def _before_phases(node: fx.Node) -> fx.Node:
    """What `node` is, but for phases that come back from the batch: those cells are the same.

    Where phases move into the batch, cells are added that the batch norm would see.
    """
    while node.target is runtime.rephased and len(node.users) == 1:
        source, before, after = node.args
        if any(new > old for old, new in zip(before, after, strict=True)):  # type: ignore[arg-type]
            break
        node = source  # type: ignore[assignment]
    return node


def _norm(node: fx.Node, tree: nn.Module) -> tuple[fx.Node, _Norm]:
    """What a batch norm reads, and what it does to it."""
    if node.op == "call_module":
        module: Any = tree.get_submodule(str(node.target))
        _check_plain(module, BATCH_NORMS, "the batch norm")
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (getattr(module, name) for name in names)
        source, eps = node.all_input_nodes[0], module.eps
    else:
        order = (*_ORDER[node.target], "momentum", "eps")
        given: dict[str, Any] = {**dict(zip(order, node.args, strict=False)), **node.kwargs}
        if given.get("training"):
            raise _LeftError("it takes its statistics from the batch")
        mean, var, weight, bias = (
            None if given.get(name) is None else _tensor(tree, given[name], "its numbers")
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        source, eps = given["input"], given.get("eps", 1e-5)
    if mean is None or var is None:
        raise _LeftError("it takes its statistics from the batch")
    scale = (_exact(var) + eps).rsqrt()
    if weight is not None:
        scale = scale * _exact(weight)
    shift = -_exact(mean) * scale
    return source, _Norm(scale, shift if bias is None else shift + _exact(bias))


def is_plain(module: nn.Module, kinds: tuple[Any, ...]) -> bool:
    """Whether a module does what its type says and nothing more."""
    try:
        _check_plain(module, kinds, "")
    except _LeftError:
        return False
    return True


def _check_plain(module: nn.Module, kinds: tuple[Any, ...], what: str) -> None:
    """Raise _LeftError for a module that does more than its type says."""
    if type(module) not in kinds:
        raise _LeftError(f"{what} is a {type(module).__name__}")
    if any(getattr(module, name) for name in HOOKS if name != "_is_full_backward_hook"):
        raise _LeftError(f"{what} has hooks")
    if "forward" in vars(module):
        raise _LeftError(f"{what} has a forward of its own")


def _tensor(tree: nn.Module, node: Any, what: str) -> Tensor:
    """The parameter or buffer that an argument names."""
    if isinstance(node, fx.Node) and node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        module = tree.get_submodule(owner)
        for store in (module._parameters, module._buffers):
            found = store.get(name)
            if found is not None:
                return found
    raise _LeftError(f"{what} are computed in every pass")


def _exact(tensor: Tensor) -> Tensor:
    """In float64, on the CPU: not every device has it."""
    return tensor.detach().to(tensor.device if tensor.is_meta else "cpu").double()


def _folded(
    weight: Tensor, bias: Tensor | None, norm: _Norm, dtype: torch.dtype | None
) -> tuple[nn.Parameter, nn.Parameter]:
    """The weight `(out, ...)` and the bias of a convolution with a batch norm behind it."""
    if not weight.is_floating_point() or len(weight) != len(norm.scale):
        raise _LeftError("the convolution's weights are of another kind")
    scaled = _exact(weight) * norm.scale.reshape(-1, *(1,) * (weight.ndim - 1))
    shift = norm.shift if bias is None else norm.shift + _exact(bias) * norm.scale
    first, second = (t.to(weight.device, dtype or weight.dtype) for t in (scaled, shift))
    return nn.Parameter(first, requires_grad=False), nn.Parameter(second, requires_grad=False)


def _into_module(
    tree: nn.Module,
    conv: nn.Module,
    norm: _Norm,
    uses: dict[int, int],
    dtype: torch.dtype | None,
) -> None:
    _check_plain(conv, CONV_MODULES, "the convolution")
    if uses[id(conv)] > 1:
        raise _LeftError("the convolution is used elsewhere too")
    weight, bias = conv._parameters.get("weight"), conv._parameters.get("bias")
    if weight is None:
        raise _LeftError("the convolution's weights are computed in every pass")
    twin = share(conv)
    twin._parameters["weight"], twin._parameters["bias"] = _folded(weight, bias, norm, dtype)
    uses[id(twin)] = 1
    replace(tree, conv, twin)


def _into_call(
    graph: fx.Graph, tree: nn.Module, conv: fx.Node, norm: _Norm, dtype: torch.dtype | None
) -> None:
    """Fold into a function call: it reads new tensors, under new names beside the old ones."""
    names = ("input", "weight", "bias")
    given: dict[str, Any] = {**dict(zip(names, conv.args, strict=False)), **conv.kwargs}
    weight = _tensor(tree, given.get("weight"), "the convolution's weights")
    bias = None
    if given.get("bias") is not None:
        bias = _tensor(tree, given["bias"], "the convolution's weights")
    owner, _, attribute = str(given["weight"].target).rpartition(".")
    module = tree.get_submodule(owner)
    read = []
    for part, tensor in zip((attribute, "bias"), _folded(weight, bias, norm, dtype), strict=True):
        name = f"{part}_folded"
        while hasattr(module, name):
            name += "_"
        module.register_parameter(name, tensor)
        with graph.inserting_before(conv):
            read.append(graph.get_attr(f"{owner}.{name}" if owner else name))
    conv.args = (given["input"], *read, *conv.args[3:])
    conv.kwargs = {k: v for k, v in conv.kwargs.items() if k not in names}
    for old in (given["weight"], given.get("bias")):
        if isinstance(old, fx.Node) and not old.users:
            graph.erase_node(old)


def _clear(graph: fx.Graph, tree: nn.Module) -> None:
    """Take the tensors nobody reads out of the tree, and the modules nobody calls.

    What is only a place for others (timm keeps an activation inside its batch norms) becomes a
    container.
    """
    needed: set[tuple[int, str]] = set()
    called: set[int] = set()
    for node in graph.nodes:
        if node.op not in ("call_module", "get_attr"):
            continue
        at: Any = tree
        for name in str(node.target).split("."):
            needed.add((id(at), name))
            at = getattr(at, name)
        if node.op == "call_module":
            called |= {id(inner) for inner in at.modules()}
    for module in list(tree.modules()):
        if id(module) in called:
            continue
        for store in (module._parameters, module._buffers, module._modules):
            for name in [name for name in store if (id(module), name) not in needed]:
                del store[name]
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            place = nn.Module()
            place._modules = module._modules
            replace(tree, module, place)
