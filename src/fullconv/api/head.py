"""The reference for padded networks: the classifier's head slid over its body's feature map."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from fullconv.api.body import Body
from fullconv.geometry import Grid
from fullconv.hosts.torch_fx.fcn import copy_graph, tensors_of
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.tracing import in_place
from fullconv.surgery.plan import Plan


def head_over_body(reading: Reading, plan: Plan, image: Tensor) -> list[Tensor]:
    """Every answer's scores `(1, K, *cells)` of one image `(1, C, *space)`, without the FCN.

    The classifier's own recorded graph is run in two parts: its body on the whole image, up to
    the feature maps where the plan's edits begin, then its head on every window of those maps.
    Context ops of the body see boxes (`Body`) or the whole image, as the plan says. The
    grid is that of the native stride, whatever stride the plan has.
    """
    tree = share(reading.model, reading.constants)
    grid = Grid(tuple(image.shape[2:]), plan.window, plan.native_stride)
    # As many images as in the trace: forward may have looked at their number.
    image = image.repeat(reading.blueprint.batch, *(1 for _ in image.shape[1:]))
    local = plan.contexts if plan.context == "window" else ()
    body = Body(_body(reading.graph, plan, tree), {c.node: c.size for c in local})
    maps = body.run(image)
    head = _head(reading.graph, plan, tree)
    cells = []
    for cell in grid:
        windows = []
        for cut, value in zip(plan.cuts, maps, strict=True):
            spans = [
                slice(index * step // axis.stride, index * step // axis.stride + axis.size)
                for index, step, axis in zip(cell, grid.stride, cut.axes, strict=True)
            ]
            # A copy: the head may work in place.
            windows.append(value[(..., *spans)].clone())
        cells.append([answer[0].reshape(-1) for answer in tensors_of(head(image, *windows))])
    # (cells, K) -> (1, K, *cells), for every answer
    return [
        torch.stack(scores, dim=1).reshape(1, -1, *grid.shape)
        for scores in zip(*cells, strict=True)
    ]


def _body(graph: fx.Graph, plan: Plan, tree: nn.Module) -> fx.GraphModule:
    """The graph from the image to the cuts."""
    part = copy_graph(graph)
    named = {node.name: node for node in part.nodes}
    cuts = [named[cut.node] for cut in plan.cuts]
    part.output_node().args = (tuple(cuts),)
    _keep(part, tree, set(part.nodes) - _behind(cuts))
    return fx.GraphModule(tree, part)


def _head(graph: fx.Graph, plan: Plan, tree: nn.Module) -> fx.GraphModule:
    """The graph from the cuts to the scores; the image is asked for its batch size only."""
    part = copy_graph(graph)
    named = {node.name: node for node in part.nodes}
    behind = _behind([named[cut.node] for cut in plan.cuts])
    last = next(node for node in part.nodes if node.op == "placeholder")
    for cut in plan.cuts:
        with part.inserting_after(last):
            last = part.placeholder(f"{cut.node}_window")
        named[cut.node].replace_all_uses_with(last)
    _keep(part, tree, behind)
    return fx.GraphModule(tree, part)


def _behind(cuts: list[fx.Node]) -> set[fx.Node]:
    """The nodes that depend on a cut."""
    behind: set[fx.Node] = set()
    frontier = list(cuts)
    while frontier:
        for user in frontier.pop().users:
            if user not in behind:
                behind.add(user)
                frontier.append(user)
    return behind


def _keep(graph: fx.Graph, tree: nn.Module, side: set[fx.Node]) -> None:
    """Erase what nobody reads; work in place is kept, but only on this side of the cuts."""
    for node in reversed(list(graph.nodes)):
        if node.users or node.op in ("output", "placeholder"):
            continue
        if node not in side or not in_place(node, tree):
            graph.erase_node(node)
