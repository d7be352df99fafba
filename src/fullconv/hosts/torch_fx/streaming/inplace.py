"""Ops that work in place, when maps are kept in parts: what they change, everyone reads changed."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.tracing import in_place

_OPERATORS = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


class Aliases:
    """Which node holds a map's numbers at any point of a graph.

    `values` are those of all nodes at the window. A node that works in place gives a map of its own
    in a stream, and those that read the old one after it read the new one.
    """

    def __init__(self, graph: fx.Graph, tree: nn.Module, values: Mapping[fx.Node, Any]) -> None:
        self._order = {node: place for place, node in enumerate(graph.nodes)}
        self._values = values
        self._changes: dict[int, list[fx.Node]] = {}
        for node in graph.nodes:
            if node.all_input_nodes and in_place(node, tree) and isinstance(values[node], Tensor):
                self._changes.setdefault(self._storage(node.all_input_nodes[0]), []).append(node)

    def now(self, source: fx.Node, reader: fx.Node) -> fx.Node:
        """The node whose map `reader` finds where it reads `source`; for the image, the image.

        Raises RefusedError where only a part of that map was changed.
        """
        if source.target is runtime.check_image:
            source = source.all_input_nodes[0]
        since = [
            node
            for node in self._changes.get(self._storage(source), [])
            if self._order[source] < self._order[node] < self._order[reader]
        ]
        if not since:
            return source
        if any(self._layout(node) != self._layout(source) for node in since):
            raise RefusedError(
                "it reads a map of which a part was changed in place.",
                hint="Write the network without working in place on a part.",
            )
        return since[-1]

    def _storage(self, node: fx.Node) -> int:
        value = self._values[node]
        return int(value.untyped_storage()._cdata) if isinstance(value, Tensor) else -1

    def _layout(self, node: fx.Node) -> tuple[Any, ...]:
        value = self._values[node]
        return tuple(value.shape), value.stride(), value.storage_offset()


def on_its_own(node: fx.Node, tree: nn.Module) -> tuple[Any, dict[str, Any]]:
    """What to call, with which keywords, so that a node leaves its input as it is.

    Raises RefusedError for what only works in place.
    """
    target, keywords = node.target, dict(node.kwargs)
    if node.op == "call_module":
        module = tree.get_submodule(str(target))
        if getattr(module, "inplace", False):
            module = share(module)
            module.__dict__["inplace"] = False
        return module, keywords
    if keywords.get("inplace"):
        keywords["inplace"] = False
        return target, keywords
    if not in_place(node, tree):
        return target, keywords
    if target in _OPERATORS:
        return _OPERATORS[target], keywords
    name = str(getattr(target, "__name__", target)).removesuffix("_")
    if node.op == "call_method":
        return name, keywords
    for home in (torch, torch.nn.functional):
        if hasattr(home, name):
            return getattr(home, name), keywords
    raise RefusedError(f"{name} is only known in place.")
