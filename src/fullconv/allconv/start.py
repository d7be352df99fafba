"""The weights of a 1×1 convolution that computes what an affine head does on a flat map."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from fullconv.allconv.edits import ScoresHead
from fullconv.allconv.heads import head_of
from fullconv.allconv.network import AllConvolutional
from fullconv.allconv.surroundings import behind
from fullconv.allconv.tree import leave_unused, own_numbers
from fullconv.api.head import behind as nodes_behind
from fullconv.api.head import keep
from fullconv.hosts.torch_fx.fcn import copy_graph
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.sharing import share
from fullconv.surgery.plan import Cut, Plan

NUMBERS = 2**24
"""Numbers of maps that the head gets at a time, at most."""


def begin_scores(network: AllConvolutional, plan: Plan, reading: Reading) -> None:
    """Let the head of `network` begin with what the classifier's computes, where that is affine.

    Then scores of a map are those of the map of zeros and, for every channel, its mean times what
    a map of ones in this channel adds: exactly so where all cells count alike, and on maps that
    are flat where they do not. The classifier's own head is asked, in float64.
    """
    for step in network.plan.steps:
        if not isinstance(step.edit, ScoresHead) or not step.edit.affine:
            continue
        conv: Any = network.get_submodule(step.layer)
        (cut,) = plan.cuts
        head = _head(reading, cut)
        weight, bias = _answers(head, cut, reading)  # (C, K), (K,)
        with torch.no_grad():
            conv.weight.copy_(weight.T.reshape(conv.weight.shape))
            conv.bias.copy_(bias)


def _answers(head: fx.GraphModule, cut: Cut, reading: Reading) -> tuple[Tensor, Tensor]:
    """What a map of ones in each channel adds to the scores `(C, K)`, and those of zeros `(K,)`."""
    sizes = [axis.size for axis in cut.axes]
    blueprint = reading.blueprint
    chunk = max(1, NUMBERS // (cut.channels * prod(sizes)))
    found = []
    eye = torch.eye(cut.channels, dtype=torch.float64)
    for rows in [eye.new_zeros(1, cut.channels), *torch.split(eye, chunk)]:
        # As many images as in the trace at least: forward may have looked at their number.
        flat = rows.reshape(*rows.shape, *(1 for _ in sizes)).expand(*rows.shape, *sizes)
        times = -(-blueprint.batch // len(flat))
        maps = flat.repeat(times, *(1 for _ in flat.shape[1:]))
        image = eye.new_zeros(1).expand(len(maps), blueprint.channels, *blueprint.window)
        with torch.no_grad():
            scores = head(image, _laid_out(maps, cut))
        found.append(scores.reshape(len(maps), -1)[: len(rows)])
    bias = found[0][0]
    return torch.cat(found[1:]) - bias, bias


def _laid_out(maps: Tensor, cut: Cut) -> Tensor:
    """Maps `(N, C, *cells)` in the classifier's layout."""
    have = maps.shape[1:]
    labels = [label for group in cut.layout for label in group]
    labels += [label for label in range(len(have)) if label not in labels]  # of length 1
    seen = maps.permute(0, *(label + 1 for label in labels))
    return seen.reshape(len(maps), *(prod(have[n] for n in group) for group in cut.layout))


def _head(reading: Reading, cut: Cut) -> fx.GraphModule:
    """The classifier's graph from the body's map to the scores, over copies in float64."""
    scores = head_of(reading.blueprint, behind(reading.blueprint, [cut.node])).scores
    part = copy_graph(reading.graph)
    named = {node.name: node for node in part.nodes}
    rear = nodes_behind([named[cut.node]])
    image = next(node for node in part.nodes if node.op == "placeholder")
    with part.inserting_after(image):
        features = part.placeholder(f"{cut.node}_map")
    named[cut.node].replace_all_uses_with(features)
    part.output_node().args = (named[scores.name],)
    tree = share(reading.model, reading.constants)
    keep(part, tree, rear)
    for module in tree.modules():
        module.training = False
    leave_unused(tree, part)
    own_numbers(tree)
    return fx.GraphModule(tree.to("cpu", torch.float64), part)
