"""From a plan to the FCN: the one place that changes a graph.

`WRITERS` says how each edit is carried out. A module that gets the same edit at every use is
replaced in the tree, under its own name; where its uses differ, each use gets a function call
of its own on the shared parameters, so that no edit reaches another use.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from fullconv.blueprint import Blueprint
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.modes import follow_mode
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.sharing import replace, share, stand_in_for
from fullconv.hosts.torch_fx.tracing import in_place, remove_dead
from fullconv.hosts.torch_fx.weights import Weights
from fullconv.surgery.edits import (
    AlongChannels,
    Bypass,
    CropToCommon,
    Edit,
    LinearToConv,
    Resweep,
    SetPool,
    TakeChannels,
)
from fullconv.surgery.plan import Plan

CONVS: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS: tuple[Any, ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
AVERAGE_POOLS: tuple[Any, ...] = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
MAX_POOLS: tuple[Any, ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


def apply(plan: Plan, reading: Reading) -> FCN:
    """The FCN of a classifier that was read and planned; the classifier stays as it was."""
    graph = fx.Graph()
    nodes: dict[fx.Node, fx.Node] = {}
    graph.output(graph.graph_copy(reading.graph, nodes))
    named = {old.name: new for old, new in nodes.items()}
    tree = share(reading.model, reading.constants)
    for module in tree.modules():
        module.training = False
    uses = _uses(reading.graph)
    weights = Weights(tree, uses, plan.edits)
    work = _Work(graph, tree, named, plan.edits, reading.blueprint, uses, weights)
    for name, edit in plan.edits.items():
        WRITERS[type(edit)](work, named[name], edit)
    for node in list(graph.nodes):
        # The map may lie in order where the classifier's permuted one had to be copied.
        if node.op == "call_method" and node.target == "contiguous" and _must_copy(work, node):
            work.call(node, torch.clone, work.input(node))
    follow_mode(graph, tree, len(plan.window))
    _guard(graph, plan)
    remove_dead(graph, tree)
    graph.lint()
    return FCN(tree, graph, plan)


def _uses(graph: fx.Graph) -> dict[str, list[str]]:
    """For each module that is called, the nodes that call it or read a tensor of it."""
    table: dict[str, list[str]] = {n.target: [] for n in graph.nodes if n.op == "call_module"}
    for node in graph.nodes:
        target = str(node.target)
        owner = target.rpartition(".")[0] if node.op == "get_attr" else target
        if node.op in ("call_module", "get_attr") and owner in table:
            table[owner].append(node.name)
    return table


@dataclass
class _Work:
    """A graph under the knife."""

    graph: fx.Graph
    tree: nn.Module
    nodes: dict[str, fx.Node]
    edits: dict[str, Edit]
    blueprint: Blueprint
    uses: dict[str, list[str]]
    weights: Weights
    replaced: set[str] = field(default_factory=set)

    def input(self, node: fx.Node) -> fx.Node:
        """The map a node works on."""
        original = next(name for name, now in self.nodes.items() if now is node)
        return self.nodes[self.blueprint.by_name[original].inputs[0]]

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module a node calls, if any."""
        return self.tree.get_submodule(str(node.target)) if node.op == "call_module" else None

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
        node.replace_all_uses_with(new)
        self._moved(node, new)

    def drop(self, node: fx.Node) -> None:
        """Let everyone read the node's input instead."""
        source = self.input(node)
        node.replace_all_uses_with(source)
        self._moved(node, source)

    def attribute(self, node: fx.Node, name: str) -> fx.Node | None:
        """A parameter of the module a node calls, as a node of its own; None if it has none."""
        module = self.module(node)
        if module is None or getattr(module, name, None) is None:
            return None
        with self.graph.inserting_before(node):
            return self.graph.get_attr(f"{node.target}.{name}")

    def _moved(self, old: fx.Node, new: fx.Node) -> None:
        for name, node in self.nodes.items():
            if node is old:
                self.nodes[name] = new
        self.graph.erase_node(old)


def _bypass(work: _Work, node: fx.Node, edit: Bypass) -> None:
    if _must_copy(work, node):
        work.call(node, torch.clone, work.input(node))
    elif not work.swap(node, lambda module: nn.Identity()):
        work.drop(node)


def _must_copy(work: _Work, node: fx.Node) -> bool:
    """Whether the classifier makes a copy here, and something may work in place on it.

    Where it makes a view, what changes one changes the other, and so it is in the FCN.
    """
    return (
        not node.meta.get("view", True)
        and len(work.input(node).users) > 1
        and any(in_place(n, work.tree) for n in work.graph.nodes)
    )


def _linear(work: _Work, node: fx.Node, edit: LinearToConv) -> None:
    linear = work.module(node)
    known = linear is None or str(node.target) in work.replaced or work.weights.in_one_shape(linear)
    if known and work.swap(node, lambda module: _convolution(module, edit, work.weights)):
        return
    if node.op == "call_module":
        weight, bias = work.attribute(node, "weight"), work.attribute(node, "bias")
    else:
        weight, bias = _arguments(node, ("weight", "bias"))
    work.call(
        node,
        runtime.linear_as_conv,
        work.input(node),
        weight,
        bias,
        edit.channels,
        edit.kernel,
        edit.dilation,
        edit.order,
        edit.taps,
        edit.bins,
    )


def _convolution(linear: nn.Module, edit: LinearToConv, weights: Weights) -> nn.Module:
    """The convolution over the numbers of a linear layer."""
    assert isinstance(linear, nn.Linear)
    weight = weights.reshaped(linear, edit)
    if edit.bins:
        return runtime.FoldedConv(weight, linear.bias, edit.kernel, edit.dilation, edit.bins)
    with torch.device("meta"):  # its own numbers are never made
        conv: nn.Module = CONVS[len(edit.kernel) - 1](
            edit.channels,
            edit.out_channels,
            edit.kernel,
            dilation=edit.dilation,
            bias=linear.bias is not None,
        )
    conv.weight, conv.bias = weight, linear.bias
    return conv


def _resweep(work: _Work, node: fx.Node, edit: Resweep) -> None:
    stride = tuple(sweep.stride for sweep in edit.sweeps)
    padding = tuple(sweep.padding[0] for sweep in edit.sweeps)
    dilation = tuple(sweep.dilation for sweep in edit.sweeps)

    def build(module: nn.Module) -> nn.Module:
        twin = share(module)
        twin.__dict__.update(stride=stride, padding=padding, dilation=dilation)
        doubled = [p for p in reversed(padding) for _ in range(2)]
        twin.__dict__["_reversed_padding_repeated_twice"] = doubled
        return twin

    if work.swap(node, build):
        return
    module = work.module(node)
    if module is not None:
        weight, bias = work.attribute(node, "weight"), work.attribute(node, "bias")
        groups: Any = module.groups
    else:
        weight, bias = _arguments(node, ("weight", "bias"))
        groups = node.kwargs.get("groups", node.args[6] if len(node.args) > 6 else 1)
    convolve = runtime.CONV[len(stride) - 1]
    work.call(node, convolve, work.input(node), weight, bias, stride, padding, dilation, groups)


def _set_pool(work: _Work, node: fx.Node, edit: SetPool) -> None:
    pool = edit.pool
    dims = len(pool.sweeps) - 1
    kernel = tuple(sweep.kernel for sweep in pool.sweeps)
    stride = tuple(sweep.stride for sweep in pool.sweeps)
    padding = tuple(sweep.padding[0] for sweep in pool.sweeps)
    dilation = tuple(sweep.dilation for sweep in pool.sweeps)
    ceil = pool.sweeps[0].ceil_mode
    if pool.kind == "max":
        settings: Any = (kernel, stride, padding, dilation)
        if not work.swap(node, lambda m: MAX_POOLS[dims](*settings, ceil_mode=ceil)):
            x = work.input(node)
            work.call(node, runtime.MAX_POOL[dims], x, *settings, ceil_mode=ceil)
        return
    counts: dict[str, Any] = {"count_include_pad": pool.count_include_pad}
    if any(d > 1 for d in dilation):
        x = work.input(node)
        work.call(
            node,
            runtime.average_pool,
            x,
            kernel,
            stride,
            padding,
            dilation,
            pool.count_include_pad,
            pool.divisor,
        )
        return
    settings = (kernel, stride, padding, ceil)
    if dims > 0:
        counts["divisor_override"] = pool.divisor
    if not work.swap(node, lambda m: AVERAGE_POOLS[dims](*settings, **counts)):
        work.call(node, runtime.AVERAGE_POOL[dims], work.input(node), *settings, **counts)


def _along_channels(work: _Work, node: fx.Node, edit: AlongChannels) -> None:
    module = work.module(node)
    if isinstance(module, BATCH_NORMS):

        def build(norm: nn.Module) -> nn.Module:
            twin = share(norm)
            twin.__class__ = BATCH_NORMS[edit.axes - 1]
            return twin

        if not work.swap(node, build):
            names = ("running_mean", "running_var", "weight", "bias")
            tensors = [work.attribute(node, name) for name in names]
            settings = {"momentum": module.momentum, "eps": module.eps}
            work.call(node, torch.nn.functional.batch_norm, work.input(node), *tensors, **settings)
    elif isinstance(module, nn.Softmax | nn.LogSoftmax):
        kind = type(module)
        if not work.swap(node, lambda m: kind(dim=1)):
            log = isinstance(module, nn.LogSoftmax)
            work.call(node, torch.log_softmax if log else torch.softmax, work.input(node), dim=1)
    elif node.target in (torch.nn.functional.batch_norm, torch.batch_norm, torch.prelu):
        pass  # the function itself takes any number of axes
    elif node.op in ("call_function", "call_method") and "softmax" in _name(node):
        log = "log" in _name(node)
        work.call(node, torch.log_softmax if log else torch.softmax, work.input(node), dim=1)
    elif _name(node).startswith("concat") or _name(node) == "cat":
        work.call(node, torch.cat, node.args[0] if node.args else node.kwargs["tensors"], dim=1)
    else:
        for source in node.all_input_nodes:
            if not source.meta.get("of_image", True) and source.meta["value"].numel() > 1:
                with work.graph.inserting_before(node):
                    new = work.graph.call_function(runtime.per_channel, (source, edit.axes))
                node.replace_input_with(source, new)


def _take_channels(work: _Work, node: fx.Node, edit: TakeChannels) -> None:
    index = (slice(None), slice(edit.start, edit.stop, edit.step))
    work.call(node, operator.getitem, work.input(node), index)


def _crop(work: _Work, node: fx.Node, edit: CropToCommon) -> None:
    maps = [source for source in node.all_input_nodes if source.meta.get("of_image", True)]
    with work.graph.inserting_before(node):
        cut = work.graph.call_function(runtime.common, (maps,))
        parts = [work.graph.call_function(operator.getitem, (cut, i)) for i in range(len(maps))]
    for source, part in zip(maps, parts, strict=True):
        node.replace_input_with(source, part)


WRITERS: dict[type[Edit], Callable[[_Work, fx.Node, Any], None]] = {
    Bypass: _bypass,
    LinearToConv: _linear,
    Resweep: _resweep,
    SetPool: _set_pool,
    AlongChannels: _along_channels,
    TakeChannels: _take_channels,
    CropToCommon: _crop,
}


def _guard(graph: fx.Graph, plan: Plan) -> None:
    """Check the image first; cut trailing cells last."""
    image = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(image):
        checked = graph.call_function(runtime.check_image)
    image.replace_all_uses_with(checked)
    checked.args = (image, plan.channels, plan.window)
    output = graph.output_node()
    (scores,) = output.all_input_nodes
    with graph.inserting_before(output):
        whole = graph.call_function(
            runtime.whole_windows, (scores, checked, plan.window, plan.stride)
        )
    output.args = (whole,)


def _arguments(node: fx.Node, names: tuple[str, ...]) -> list[Any]:
    """Arguments of a functional call that follow its input, positional or by keyword."""
    return [
        node.args[place] if place < len(node.args) else node.kwargs.get(name)
        for place, name in enumerate(names, 1)
    ]


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))
