"""The reference for padded networks: the classifier's head slid over its body's feature map."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from fullconv.hosts.torch_fx.fcn import copy_graph
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.tracing import remove_dead
from fullconv.surgery.plan import Plan


def head_over_body(reading: Reading, plan: Plan, image: Tensor) -> Tensor:
    """Scores `(1, K, *cells)` of one image `(1, C, *space)`, computed without the FCN.

    The classifier's own recorded graph is run in two parts: its body on the whole image, up to
    the feature maps where the plan's edits begin, then its head on every window of those maps.
    """
    tree = share(reading.model, reading.constants)
    grid = plan.grid(tuple(image.shape[2:]))
    maps = _body(reading.graph, plan, tree)(image)
    head = _head(reading.graph, plan, tree)
    answers = []
    for cell in grid:
        windows = []
        for cut, value in zip(plan.cuts, maps, strict=True):
            spans = [
                slice(index * step // axis.stride, index * step // axis.stride + axis.size)
                for index, step, axis in zip(cell, grid.stride, cut.axes, strict=True)
            ]
            # A copy: the head may work in place.
            windows.append(value[(..., *spans)].clone())
        answers.append(head(image, *windows).reshape(-1))
    return torch.stack(answers, dim=1).reshape(1, -1, *grid.shape)  # (cells, K) -> (1, K, *cells)


def _body(graph: fx.Graph, plan: Plan, tree: nn.Module) -> fx.GraphModule:
    """The graph from the image to the cuts."""
    part = copy_graph(graph)
    named = {node.name: node for node in part.nodes}
    part.output_node().args = (tuple(named[cut.node] for cut in plan.cuts),)
    remove_dead(part, tree)
    return fx.GraphModule(tree, part)


def _head(graph: fx.Graph, plan: Plan, tree: nn.Module) -> fx.GraphModule:
    """The graph from the cuts to the scores; the image is asked for its batch size only."""
    part = copy_graph(graph)
    named = {node.name: node for node in part.nodes}
    last = next(node for node in part.nodes if node.op == "placeholder")
    for cut in plan.cuts:
        with part.inserting_after(last):
            last = part.placeholder(f"{cut.node}_window")
        named[cut.node].replace_all_uses_with(last)
    remove_dead(part, tree)
    return fx.GraphModule(tree, part)
