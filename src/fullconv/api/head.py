"""The reference for padded networks: the classifier's head slid over its body's feature map."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, fx, nn

from fullconv.api.body import Body
from fullconv.geometry import Grid
from fullconv.hosts.torch_fx.fcn import copy_graph, tensors_of
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.tracing import in_place
from fullconv.surgery.plan import Cut, Plan


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
            first = [
                index * step // axis.stride
                for index, step, axis in zip(cell, grid.stride, cut.axes, strict=True)
            ]
            windows.append(_window(value, cut, first, grid.size))
        cells.append([answer[0].reshape(-1) for answer in tensors_of(head(image, *windows))])
    # (cells, K) -> (1, K, *cells), for every answer
    return [
        torch.stack(scores, dim=1).reshape(1, -1, *grid.shape)
        for scores in zip(*cells, strict=True)
    ]


def _window(value: Tensor, cut: Cut, first: list[int], size: tuple[int, ...]) -> Tensor:
    """A copy (the head may work in place) of one window's cells, in the classifier's layout."""
    have = [cut.channels, *(a.count(pixels) for a, pixels in zip(cut.axes, size, strict=True))]
    seen = value
    for place, group in reversed(list(enumerate(cut.layout, 1))):
        if len(group) != 1:
            seen = torch.unflatten(seen, place, [have[label] for label in group] or [1])
    for place, label in enumerate((n for group in cut.layout for n in group or (0,)), 1):
        if label > 0:
            seen = seen.narrow(place, first[label - 1], cut.axes[label - 1].size)
    want = [cut.channels, *(axis.size for axis in cut.axes)]
    return seen.clone().reshape(len(value), *(prod(want[n] for n in g) for g in cut.layout))


def _body(graph: fx.Graph, plan: Plan, tree: nn.Module) -> fx.GraphModule:
    """The graph from the image to the cuts."""
    part = copy_graph(graph)
    named = {node.name: node for node in part.nodes}
    cuts = [named[cut.node] for cut in plan.cuts]
    part.output_node().args = (tuple(cuts),)
    keep(part, tree, set(part.nodes) - behind(cuts))
    return fx.GraphModule(tree, part)


def _head(graph: fx.Graph, plan: Plan, tree: nn.Module) -> fx.GraphModule:
    """The graph from the cuts to the scores; the image is asked for its batch size only."""
    part = copy_graph(graph)
    named = {node.name: node for node in part.nodes}
    rear = behind([named[cut.node] for cut in plan.cuts])
    last = next(node for node in part.nodes if node.op == "placeholder")
    for cut in plan.cuts:
        with part.inserting_after(last):
            last = part.placeholder(f"{cut.node}_window")
        named[cut.node].replace_all_uses_with(last)
    keep(part, tree, rear)
    return fx.GraphModule(tree, part)


def behind(cuts: list[fx.Node]) -> set[fx.Node]:
    """The nodes that depend on a cut."""
    found: set[fx.Node] = set()
    frontier = list(cuts)
    while frontier:
        for user in frontier.pop().users:
            if user not in found:
                found.add(user)
                frontier.append(user)
    return found


def keep(graph: fx.Graph, tree: nn.Module, side: set[fx.Node]) -> None:
    """Erase what nobody reads; work in place is kept, but only on this side of the cuts."""
    for node in reversed(list(graph.nodes)):
        if node.users or node.op in ("output", "placeholder"):
            continue
        if node not in side or not in_place(node, tree):
            graph.erase_node(node)
