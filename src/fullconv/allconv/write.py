"""From a plan to the all-convolutional network: the one place that changes its graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from fullconv.allconv.counts import CONVS
from fullconv.allconv.edits import (
    ConvBeforePool,
    DropPool,
    MeanHead,
    PoolToConv,
    Restride,
    ScoresHead,
    uneven,
)
from fullconv.allconv.layers import layer_before, padding_layer, pool_layer
from fullconv.allconv.network import AllConvolutional
from fullconv.allconv.plan import AllConvPlan, Step
from fullconv.allconv.surroundings import behind
from fullconv.allconv.tree import leave_unused, own_numbers
from fullconv.api.head import behind as nodes_behind
from fullconv.blueprint import AdaptivePool, GroupNorm, Node, Reduce, Softmax
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.modes import follow_mode
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.tracing import remove_dead
from fullconv.hosts.torch_fx.work import Work
from fullconv.hosts.torch_fx.write import operate
from fullconv.surgery.edits import Edit, NormContext, PoolContext, Resweep
from fullconv.surgery.plan import Plan


def apply(
    changes: AllConvPlan, plan: Plan, reading: Reading, *, share: bool = False
) -> AllConvolutional:
    """The network of `changes`, made from a classifier that was read; `plan` is its FCN's.

    It has copies of the classifier's parameters, or where `share` the very same. What can only be
    computed or fitted (`ScoresHead`) begins at random.
    """
    work = operate(dict(_edits(changes, plan, reading)), reading)
    steps = [_carry_out(work, step, plan, changes.ending) for step in changes.steps]
    _check_image(work, plan, steps)
    remove_dead(work.graph, work.tree)
    follow_mode(work.graph, work.tree, len(plan.window))
    work.graph.lint()
    leave_unused(work.tree, work.graph)
    if not share:
        own_numbers(work.tree)
    network = AllConvolutional(work.tree, work.graph, replace(changes, steps=tuple(steps)))
    count = sum(parameter.numel() for parameter in network.parameters())
    if count != changes.new_parameters:
        raise AssertionError(f"{count} parameters, planned were {changes.new_parameters}")
    return network


def _edits(changes: AllConvPlan, plan: Plan, reading: Reading) -> Iterator[tuple[str, Edit]]:
    """The edits that make the classifier run on images of any size, and the longer steps.

    Ops that look at the whole map look at all of the image, as they do in the classifier: those
    that do so at any size stay as they are.
    """
    blueprint = reading.blueprint
    replaced = any(isinstance(step.edit, ScoresHead) for step in changes.steps)
    gone = behind(blueprint, [cut.node for cut in plan.cuts]) if replaced else frozenset()
    gone |= set(changes.ending)
    for name, edit in plan.edits.items():
        if name not in gone and not _fits_any_size(blueprint.by_name[name], edit):
            yield name, edit
    for step in changes.steps:
        if isinstance(step.edit, Restride):
            sweeps = step.edit.sweeps
            if uneven(sweeps):
                sweeps = tuple(replace(sweep, padding=(0, 0)) for sweep in sweeps)
            yield step.node, Resweep(sweeps)


def _fits_any_size(node: Node, edit: Edit) -> bool:
    """Whether an op that looks at the whole map does so on any, and gives a map."""
    if isinstance(edit, PoolContext):
        keeps = isinstance(node.op, Reduce) and node.op.keepdim
        return isinstance(node.op, AdaptivePool) or keeps
    return isinstance(edit, NormContext) and isinstance(node.op, GroupNorm)


def _carry_out(work: Work, step: Step, plan: Plan, ending: tuple[str, ...]) -> Step:
    """Make one change; the step with the place of the new layer, if there is one."""
    edit, node = step.edit, work.nodes[step.node]
    if isinstance(edit, PoolToConv):
        layer = pool_layer(edit, _like(work, node))
        path = _place(work, node, layer)
        with work.graph.inserting_before(node):
            new = work.graph.call_module(path, (work.input(node),))
        work.become(node, new)
        return replace(step, layer=path)
    if isinstance(edit, ConvBeforePool):
        return replace(step, layer=_put_before(work, node, edit))
    if isinstance(edit, DropPool):
        if len(work.uses.get(str(node.target), ())) == 1:
            _set(work.tree, str(node.target), nn.Identity())
        else:
            work.drop(node)
    elif isinstance(edit, Restride) and uneven(edit.sweeps):
        source = work.input(node)
        path = _place(work, node, padding_layer(edit.sweeps), "pad")
        with work.graph.inserting_before(node):
            new = work.graph.call_module(path, (source,))
        node.replace_input_with(source, new)
    elif isinstance(edit, ScoresHead):
        conv = CONVS[len(plan.window) - 1](edit.channels, edit.outputs, 1)
        like = _like(work, node)
        path = _place(work, node, conv.to(like.device, like.dtype).eval(), "scores")
        cut = work.nodes[edit.cut]
        with work.graph.inserting_before(work.graph.output_node()):
            scores = work.graph.call_module(path, (cut,))
        _answer(work, scores, [cut], len(plan.window), ending)
        return replace(step, layer=path)
    elif isinstance(edit, MeanHead):
        scores = source = work.nodes[edit.source]
        if edit.whole:
            image = next(n for n in work.graph.nodes if n.op == "placeholder")
            step_of = plan.answers[0].step
            with work.graph.inserting_before(work.graph.output_node()):
                scores = work.graph.call_function(
                    runtime.whole_windows, (source, image, plan.window, plan.stride, step_of)
                )
        _answer(work, scores, [source], len(plan.window), ending)
    return step


def _put_before(work: Work, node: fx.Node, edit: ConvBeforePool) -> str:
    """A convolution before a pool, in one layer with it where the pool is one that is called once.

    Returns where it lies.
    """
    like = _like(work, node)
    pool = work.module(node) if len(work.uses.get(str(node.target), ())) == 1 else None
    source = work.input(node)
    path = _place(work, node, layer_before(edit, like, pool))
    with work.graph.inserting_before(node):
        new = work.graph.call_module(path, (source,))
    if pool is not None:
        work.become(node, new)
    else:
        node.replace_input_with(source, new)
    return path


def _answer(
    work: Work, scores: fx.Node, old: list[fx.Node], axes: int, ending: tuple[str, ...]
) -> None:
    """Let the network return the mean of a map of scores, through the classifier's ending.

    What else was computed from the `old` nodes goes.
    """
    graph, output = work.graph, work.graph.output_node()
    before = set(nodes_behind(old)) - {output}
    with graph.inserting_before(output):
        answer = graph.call_method("mean", (scores, tuple(range(2, 2 + axes))))  # (N, K)
        for name in ending:
            op = work.blueprint.by_name[name].op
            if isinstance(op, Softmax):
                function = torch.log_softmax if op.name == "log-softmax" else torch.softmax
                answer = graph.call_function(function, (answer, 1))
            else:
                answer = _again(work, work.nodes[name], answer)
    output.args = (answer,)
    for node in reversed(list(graph.nodes)):
        if node in before and not node.users:
            graph.erase_node(node)


def _again(work: Work, node: fx.Node, x: fx.Node) -> fx.Node:
    """A node that works on each number by itself, on another input."""
    source = work.input(node)
    return work.graph.node_copy(node, lambda given: x if given is source else given)


def _check_image(work: Work, plan: Plan, steps: list[Step]) -> None:
    """Check the image first: for heads as they were at least one window, else any size will do."""
    whole = any(isinstance(step.edit, MeanHead) and step.edit.whole for step in steps)
    least = plan.window if whole else (1,) * len(plan.window)
    image = next(node for node in work.graph.nodes if node.op == "placeholder")
    with work.graph.inserting_after(image):
        checked = work.graph.call_function(runtime.check_image)
    image.replace_all_uses_with(checked)
    checked.args = (image, plan.channels, least)


def _like(work: Work, node: fx.Node) -> torch.Tensor:
    """A tensor of the type that a node works with."""
    value: Any = node.meta.get("value")
    return next((p for p in work.tree.parameters() if p.is_floating_point()), value)


def _place(work: Work, node: fx.Node, layer: nn.Module, name: str = "pool") -> str:
    """Put a new layer where a node is computed; its path.

    A module that is called once gives its place and name; else the layer gets a name beside it, or
    in the module whose `forward` calls the function.
    """
    if node.op == "call_module":
        path = str(node.target)
        if len(work.uses[path]) == 1 and name != "pad":
            _set(work.tree, path, layer)
            return path
        owner, _, base = path.rpartition(".")
        base = f"{base}_pad" if name == "pad" else base
    else:
        stack = node.meta.get("nn_module_stack") or {}
        owner = str(list(stack.values())[-1][0]) if stack else ""
        base = name
    parent = work.tree.get_submodule(owner)
    number = 1
    while hasattr(parent, f"{base}_{number}"):
        number += 1
    path = f"{owner}.{base}_{number}" if owner else f"{base}_{number}"
    _set(work.tree, path, layer)
    return path


def _set(tree: nn.Module, path: str, layer: nn.Module) -> None:
    owner, _, name = path.rpartition(".")
    tree.get_submodule(owner)._modules[name] = layer
