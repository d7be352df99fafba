"""Fully-connected layers as matrix products where their map is small."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from fullconv.hosts.torch_fx.optimized.folding import is_plain
from fullconv.hosts.torch_fx.runtime import ProductConv
from fullconv.hosts.torch_fx.sharing import replace, stand_in_for
from fullconv.surgery.edits import LinearToConv, bare
from fullconv.surgery.plan import Plan


def take_products(graph: fx.Graph, tree: nn.Module, plan: Plan) -> int:
    """Let the layers that were fully connected choose between product and convolution.

    Those of one spatial axis stay convolutions: no memory format puts their channels last. Returns
    how many were changed; `tree` changes, no tensor in it does.
    """
    changed: dict[int, Any] = {}
    for node in graph.nodes:
        edit = bare(plan.edits.get(node.name))
        if node.op != "call_module" or not isinstance(edit, LinearToConv):
            continue
        module: Any = tree.get_submodule(str(node.target))
        if is_plain(module, (nn.Conv2d, nn.Conv3d)) and _slides(module):
            changed[id(module)] = module
    for module in changed.values():
        replace(tree, module, stand_in_for(ProductConv(module), module))
    return len(changed)


def _slides(conv: Any) -> bool:
    """Whether it moves cell by cell over what is there and sees every channel."""
    return bool(set(conv.stride) == {1} and not any(conv.padding) and conv.groups == 1)
