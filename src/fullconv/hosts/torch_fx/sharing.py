"""A second module tree over the same parameters, so that surgery leaves the classifier alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

_STORES = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules")
HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)


def share(model: nn.Module, constants: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """A copy of the module tree that holds the very same parameters, buffers and hooks.

    Modules used in two places stay one module. `constants` are added as buffers that the state
    dict leaves out.
    """
    copies: dict[int, nn.Module] = {}

    def copy(module: nn.Module) -> nn.Module:
        if id(module) in copies:
            return copies[id(module)]
        twin = type(module).__new__(type(module))
        copies[id(module)] = twin
        twin.__dict__.update(module.__dict__)
        for store in _STORES:
            twin.__dict__[store] = module.__dict__[store].copy()
        for name, child in module._modules.items():
            twin._modules[name] = None if child is None else copy(child)
        return twin

    tree = copy(model)
    for name, tensor in (constants or {}).items():
        tree.register_buffer(name, tensor, persistent=False)
    return tree


def replace(tree: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` in the place of `old`, under all names it has in the tree."""
    for owner in list(tree.modules()):
        for name, child in owner._modules.items():
            if child is old:
                owner._modules[name] = new


def stand_in_for(new: nn.Module, old: nn.Module) -> nn.Module:
    """`new` with the hooks and the mode of the module it replaces; later hooks reach both."""
    for name in HOOKS:
        new.__dict__[name] = old.__dict__[name]
    new.training = old.training
    return new
