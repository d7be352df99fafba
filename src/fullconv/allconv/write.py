"""From a plan to the all-convolutional network: the one place that changes its graph."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import singledispatchmethod
from typing import Any

import torch
from torch import fx, nn

from fullconv.allconv.edits import (
    AverageHead,
    ConvBeforePool,
    DropPool,
    Edit,
    ExactHead,
    PoolToConv,
    Restride,
)
from fullconv.allconv.network import AllConvolutional
from fullconv.allconv.plan import AllConvPlan
from fullconv.geometry import Sweep
from fullconv.hosts.torch_fx.fcn import FCN, copy_graph
from fullconv.hosts.torch_fx.modes import follow_mode
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.runtime import conv_weight
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.tracing import remove_dead
from fullconv.surgery.edits import LinearToConv, bare

CONVS: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PADS: tuple[Any, ...] = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)
ENDINGS: Mapping[str, Any] = {
    "softmax": torch.softmax,
    "log-softmax": torch.log_softmax,
    "sigmoid": torch.sigmoid,
}


def apply(plan: AllConvPlan, reading: Reading, fcn: FCN) -> AllConvolutional:
    """The network of a plan, with copies of the classifier's parameters.

    `fcn` is the classifier's FCN, whose head "exact" takes.
    """
    exact = plan.head == "exact"
    graph = copy_graph(fcn.graph if exact else reading.graph)
    tree = share(fcn if exact else reading.model, {} if exact else reading.constants)
    tree = copy.deepcopy(_bare(tree) if exact else tree)
    for module in tree.modules():
        module.training = False
    work = _Work(graph, tree, reading, fcn)
    for step in plan.steps:
        work.carry_out(step.edit, step.node)
    if not any(isinstance(step.edit, AverageHead | ExactHead) for step in plan.steps):
        work.average()
    follow_mode(graph, tree, len(plan.window))
    remove_dead(graph, tree)
    graph.lint()
    network = AllConvolutional(tree, graph, plan, work.layers)
    network.delete_all_unused_submodules()
    return network.eval()


def _bare(fcn: nn.Module) -> nn.Module:
    """The members of an FCN in a module of no class of its own."""
    tree = nn.Module()
    for store in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
        tree.__dict__[store] = fcn.__dict__[store]
    return tree


class _Work:
    """A graph while its pools and its head change."""

    def __init__(self, graph: fx.Graph, tree: nn.Module, reading: Reading, fcn: FCN) -> None:
        self.graph, self.tree, self.reading, self.fcn = graph, tree, reading, fcn
        self.nodes = {node.name: node for node in graph.nodes}
        self.layers: dict[str, str] = {}
        self.like = next(fcn.parameters(), torch.empty(0))

    @singledispatchmethod
    def carry_out(self, edit: Edit, name: str) -> None:
        """Make the change of one node."""
        raise TypeError(f"{type(edit).__name__} has no writer")

    @carry_out.register
    def _(self, edit: PoolToConv, name: str) -> None:
        layer, conv = self._convolution(edit.sweeps, edit.channels, edit.relu)
        with torch.no_grad():
            diagonal = torch.arange(edit.channels)
            conv.weight.zero_()
            conv.weight[diagonal, diagonal] = edit.value
            conv.bias.zero_()
        node = self.nodes[name]
        call = self._call(layer, node, self._input(name), replace=True)
        self.layers[name] = str(call.target)
        self._put(node, call)

    @carry_out.register
    def _(self, edit: ConvBeforePool, name: str) -> None:
        layer, conv = self._convolution(edit.sweeps, edit.channels, edit.relu)
        with torch.no_grad():
            diagonal = torch.arange(edit.channels)
            conv.weight.zero_()
            conv.weight[(diagonal, diagonal, *(s.padding[0] for s in edit.sweeps))] = 1
            conv.bias.zero_()
        node, source = self.nodes[name], self._input(name)
        call = self._call(layer, node, source, replace=False)
        self.layers[name] = str(call.target)
        node.replace_input_with(source, call)

    @carry_out.register
    def _(self, edit: DropPool, name: str) -> None:
        self._put(self.nodes[name], self._input(name))

    @carry_out.register
    def _(self, edit: Restride, name: str) -> None:
        node = self.nodes[name]
        path = str(node.target)
        old: Any = self.tree.get_submodule(path)
        old.stride = tuple(sweep.stride for sweep in edit.sweeps)
        if _even(edit.sweeps):
            old.padding = tuple(sweep.padding[0] for sweep in edit.sweeps)
        else:
            old.padding = (0,) * len(edit.sweeps)
            pad = PADS[len(edit.sweeps) - 1](_amounts(edit.sweeps), 0.0)
            source = self._input(name)
            node.replace_input_with(source, self._call(pad, node, source, replace=False))
        old._reversed_padding_repeated_twice = [n for p in reversed(old.padding) for n in (p, p)]

    @carry_out.register
    def _(self, edit: AverageHead, name: str) -> None:
        dims = len(self.fcn.window)
        conv = CONVS[dims - 1](edit.channels, edit.outputs, 1)
        conv = conv.to(self.like.device, self.like.dtype)
        if edit.linear:
            self._begin_with(conv, edit.linear)
        cut, output = self.nodes[edit.cut], self.graph.output_node()
        old = _behind(cut)
        path = self.layers[name] = self._path(self.nodes[name], "score")
        self._owner(path)._modules[path.rpartition(".")[2]] = conv.eval()
        with self.graph.inserting_before(output):
            scores = self.graph.call_module(path, (cut,))
            mean = self._mean(scores)
            if edit.ending:
                args = (mean,) if edit.ending == "sigmoid" else (mean, 1)
                mean = self.graph.call_function(ENDINGS[edit.ending], args)
        output.args = (mean,)
        for node in reversed(list(self.graph.nodes)):
            if node in old and node is not output and not node.users:
                self.graph.erase_node(node)

    @carry_out.register
    def _(self, edit: ExactHead, name: str) -> None:
        self.average()

    def average(self) -> None:
        """Let the network return the mean over space of what it returned."""
        output = self.graph.output_node()
        (scores,) = output.all_input_nodes
        if len(self.fcn.plan.answers) and self._is_map(scores):
            with self.graph.inserting_before(output):
                scores = self._mean(scores)
        output.args = (scores,)

    def _is_map(self, node: fx.Node) -> bool:
        value = node.meta.get("value")
        return value is None or value.ndim > 2

    def _mean(self, scores: fx.Node) -> fx.Node:
        axes = tuple(range(2, 2 + len(self.fcn.window)))
        return self.graph.call_function(torch.mean, (scores, axes))

    def _begin_with(self, conv: nn.Module, linear: str) -> None:
        """Weights of the 1×1 convolution: those of an FC layer, summed over the map."""
        edit = bare(self.fcn.plan.edits.get(linear))
        node = next(n for n in self.reading.graph.nodes if n.name == linear)
        if not isinstance(edit, LinearToConv) or node.op != "call_module":
            return
        module: Any = self.reading.model.get_submodule(str(node.target))
        new: Any = conv
        with torch.no_grad():
            kernel = conv_weight(module.weight, edit.channels, edit.taps, edit.order)
            new.weight.copy_(kernel.flatten(2).sum(2).reshape(new.weight.shape))
            if module.bias is None:
                new.bias.zero_()
            else:
                new.bias.copy_(module.bias)

    def _convolution(
        self, sweeps: tuple[Sweep, ...], channels: int, relu: bool
    ) -> tuple[nn.Module, Any]:
        """A layer that sweeps so, and the convolution in it."""
        dims, even = len(sweeps), _even(sweeps)
        conv = CONVS[dims - 1](
            channels,
            channels,
            tuple(sweep.kernel for sweep in sweeps),
            tuple(sweep.stride for sweep in sweeps),
            tuple(sweep.padding[0] for sweep in sweeps) if even else 0,
            tuple(sweep.dilation for sweep in sweeps),
        ).to(self.like.device, self.like.dtype)
        layer = nn.Sequential()
        if not even:
            layer.add_module("pad", PADS[dims - 1](_amounts(sweeps), 0.0))
        layer.add_module("conv", conv)
        if relu:
            layer.add_module("relu", nn.ReLU())
        return layer.eval(), conv

    def _call(self, layer: nn.Module, node: fx.Node, source: fx.Node, *, replace: bool) -> fx.Node:
        """A call of `layer` on `source` in front of `node`, under a name that tells its place."""
        path = self._path(node, "conv", replace=replace)
        self._owner(path)._modules[path.rpartition(".")[2]] = layer
        with self.graph.inserting_before(node):
            call: fx.Node = self.graph.call_module(path, (source,))
        return call

    def _path(self, node: fx.Node, kind: str, *, replace: bool = False) -> str:
        """Where a new layer lives: in the place of a module that is called once, else beside it."""
        if node.op == "call_module":
            path = str(node.target)
            uses = [n for n in self.graph.nodes if n.op == "call_module" and n.target == path]
            if replace and len(uses) == 1:
                return path
            path = f"{path}_{kind}"
        else:
            stack = node.meta.get("nn_module_stack") or {}
            inside = str(list(stack.values())[-1][0]) if stack else ""
            path = f"{inside}.{node.name}_{kind}" if inside else f"{node.name}_{kind}"
        owner, _, name = path.rpartition(".")
        members = self.tree.get_submodule(owner)._modules
        number, free = 2, name
        while free in members:
            free, number = f"{name}_{number}", number + 1
        return f"{owner}.{free}" if owner else free

    def _owner(self, path: str) -> nn.Module:
        return self.tree.get_submodule(path.rpartition(".")[0])

    def _input(self, name: str) -> fx.Node:
        node: fx.Node = self.nodes[self.reading.blueprint.by_name[name].inputs[0]]
        return node

    def _put(self, node: fx.Node, new: fx.Node) -> None:
        """Let everyone read `new` instead of a node."""
        node.replace_all_uses_with(new)
        for name, own in self.nodes.items():
            self.nodes[name] = new if own is node else own
        self.graph.erase_node(node)


def _behind(node: fx.Node) -> set[fx.Node]:
    """The nodes that are computed from a node."""
    found: set[fx.Node] = set()
    frontier = [node]
    while frontier:
        fresh = set(frontier.pop().users) - found
        found |= fresh
        frontier += fresh
    return found


def _even(sweeps: tuple[Sweep, ...]) -> bool:
    return all(sweep.padding[0] == sweep.padding[1] for sweep in sweeps)


def _amounts(sweeps: tuple[Sweep, ...]) -> tuple[int, ...]:
    """Padding as PyTorch takes it: last axis first."""
    return tuple(amount for sweep in reversed(sweeps) for amount in sweep.padding)
