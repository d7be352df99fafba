"""The module tree of a network: without what it does not use, and with numbers of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

from fullconv.hosts.torch_fx.sharing import HOOKS


def leave_unused(tree: nn.Module, graph: fx.Graph) -> None:
    """Take out of a tree all modules, parameters and buffers that a graph does not use."""
    called = {id(tree.get_submodule(str(n.target))) for n in graph.nodes if n.op == "call_module"}
    read = {str(node.target) for node in graph.nodes if node.op == "get_attr"}

    def is_used(module: nn.Module, path: str) -> bool:
        if id(module) in called:
            return True
        for name, child in list(module._modules.items()):
            if child is None or not is_used(child, f"{path}{name}."):
                del module._modules[name]
        stores: Any = (module._parameters, module._buffers)
        for store in stores:
            for name in [name for name in store if f"{path}{name}" not in read]:
                del store[name]
                module._non_persistent_buffers_set.discard(name)
        return bool(module._modules or module._parameters or module._buffers)

    is_used(tree, "")


def own_numbers(tree: nn.Module) -> None:
    """Give a tree copies of its parameters, buffers and tables of hooks; what was one stays one."""
    copies: dict[int, torch.Tensor] = {}

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in copies:
            twin = tensor.detach().clone(memory_format=torch.contiguous_format)
            if isinstance(tensor, nn.Parameter):
                twin = nn.Parameter(twin, requires_grad=tensor.requires_grad)
            copies[id(tensor)] = twin
        return copies[id(tensor)]

    for module in tree.modules():
        stores: Any = (module._parameters, module._buffers)
        for store in stores:
            for name, tensor in store.items():
                store[name] = None if tensor is None else copy(tensor)
        for name in HOOKS:
            if isinstance(module.__dict__.get(name), dict):
                module.__dict__[name] = module.__dict__[name].copy()
