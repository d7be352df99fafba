"""A graph under the knife: what writers may do to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from fullconv.blueprint import Blueprint
from fullconv.hosts.torch_fx.sharing import replace, stand_in_for
from fullconv.hosts.torch_fx.tracing import in_place
from fullconv.hosts.torch_fx.weights import Weights
from fullconv.surgery.edits import Edit


@dataclass
class Work:
    """A graph and its module tree while edits are carried out.

    A module that gets the same edit at every use is replaced in the tree, under its own name; where
    its uses differ, each use gets a function call of its own on the shared parameters, so that no
    edit reaches another use.
    """

    graph: fx.Graph
    tree: nn.Module
    nodes: dict[str, fx.Node]
    edits: dict[str, Edit]
    blueprint: Blueprint
    uses: dict[str, list[str]]
    weights: Weights
    replaced: set[str] = field(default_factory=set)
    before: dict[fx.Node, str] = field(init=False)

    def __post_init__(self) -> None:
        self.before = {node: name for name, node in self.nodes.items()}

    def input(self, node: fx.Node) -> fx.Node:
        """The map a node works on."""
        return self.nodes[self.blueprint.by_name[self.before[node]].inputs[0]]

    def inputs(self, node: fx.Node) -> list[fx.Node]:
        """All values a node works on, as the blueprint counts them."""
        return [self.nodes[name] for name in self.blueprint.by_name[self.before[node]].inputs]

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module a node calls, if any."""
        return self.tree.get_submodule(str(node.target)) if node.op == "call_module" else None

    def is_of_torch(self, node: fx.Node) -> bool:
        """Whether a node calls what PyTorch brings, not what somebody has added."""
        module = self.module(node)
        called = node.target if module is None else type(module)
        home = getattr(called, "__module__", None) or ""
        return isinstance(called, str) or home.partition(".")[0] in ("torch", "_operator")

    def alike(self, node: fx.Node) -> bool:
        """Whether every use of the node's module gets the same edit."""
        return len({self.edits.get(name) for name in self.uses[str(node.target)]}) == 1

    def swap(self, node: fx.Node, build: Callable[[nn.Module], nn.Module]) -> bool:
        """Replace a node's module in the tree; False where its uses differ, or it has none."""
        module = self.module(node)
        if module is None or not self.alike(node):
            return False
        target = str(node.target)
        if target not in self.replaced:
            self.replaced.add(target)
            replace(self.tree, module, stand_in_for(build(module), module))
        return True

    def call(self, node: fx.Node, function: Any, *args: Any, **kwargs: Any) -> None:
        """Turn a node into a function call, in place."""
        with self.graph.inserting_before(node):
            new = self.graph.call_function(function, args, kwargs)
        self.become(node, new)

    def become(self, node: fx.Node, new: fx.Node) -> None:
        """Let everyone read `new` instead of a node, which goes."""
        node.replace_all_uses_with(new)
        self._moved(node, new)

    def after(self, node: fx.Node, function: Any, *args: Any) -> None:
        """Let everyone read `function(node, *args)` instead of a node."""
        with self.graph.inserting_after(node):
            new = self.graph.call_function(function, ())
        node.replace_all_uses_with(new)
        new.args = (node, *args)
        name = self.before[node]
        self.nodes[name] = new
        self.before[new] = name

    def drop(self, node: fx.Node) -> None:
        """Let everyone read the node's input instead."""
        self.become(node, self.input(node))

    def attribute(self, node: fx.Node, name: str) -> fx.Node | None:
        """A parameter of the module a node calls, as a node of its own; None if it has none."""
        module = self.module(node)
        if module is None or getattr(module, name, None) is None:
            return None
        with self.graph.inserting_before(node):
            return self.graph.get_attr(f"{node.target}.{name}")

    def settings(self, node: fx.Node, *names: str) -> list[Any]:
        """Parameters of the module a node calls, or arguments of the function after its input."""
        if node.op == "call_module":
            return [self.attribute(node, name) for name in names]
        return [argument(node, place, name) for place, name in enumerate(names, 1)]

    def must_copy(self, node: fx.Node) -> bool:
        """Whether the classifier makes a copy here, and something may work in place on it.

        Where it makes a view, what changes one changes the other, and so it is in the FCN.
        """
        return (
            not node.meta.get("view", True)
            and len(self.input(node).users) > 1
            and any(in_place(n, self.tree) for n in self.graph.nodes)
        )

    def bypass(self, node: fx.Node) -> None:
        """The node becomes its input."""
        if self.must_copy(node):
            self.call(node, torch.clone, self.input(node))
        elif not self.swap(node, lambda module: nn.Identity()):
            self.drop(node)

    def _moved(self, old: fx.Node, new: fx.Node) -> None:
        for name, node in self.nodes.items():
            if node is old:
                self.nodes[name] = new
        self.before.setdefault(new, self.before[old])
        self.graph.erase_node(old)


def argument(node: fx.Node, place: int, name: str, default: Any = None) -> Any:
    """An argument of a functional call, positional or by keyword."""
    return node.args[place] if place < len(node.args) else node.kwargs.get(name, default)


def called(node: fx.Node) -> str:
    """The name of the called function or method."""
    return str(getattr(node.target, "__name__", node.target))
