"""From a plan to the FCN: the one place that changes a graph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import fx

from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.modes import follow_mode
from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.tracing import remove_dead
from fullconv.hosts.torch_fx.weights import Weights
from fullconv.hosts.torch_fx.work import Work
from fullconv.hosts.torch_fx.writers import write
from fullconv.surgery.edits import Edit
from fullconv.surgery.plan import Plan


def apply(plan: Plan, reading: Reading) -> FCN:
    """The FCN of a classifier that was read and planned; the classifier stays as it was."""
    work = operate(plan.edits, reading)
    graph, tree = work.graph, work.tree
    follow_mode(graph, tree, len(plan.window))
    _guard(graph, plan)
    remove_dead(graph, tree)
    graph.lint()
    return FCN(tree, graph, plan)


def operate(edits: Mapping[str, Edit], reading: Reading) -> Work:
    """A copy of the recorded graph, over a tree of its own that shares the classifier's parameters.

    The edits are carried out, by the names of their nodes; all modules are in inference mode.
    """
    graph = fx.Graph()
    nodes: dict[fx.Node, fx.Node] = {}
    output = graph.output(graph.graph_copy(reading.graph, nodes))
    named = {old.name: new for old, new in nodes.items()}
    named[reading.graph.output_node().name] = output
    tree = share(reading.model, reading.constants)
    for module in tree.modules():
        module.training = False
    uses = _uses(reading.graph)
    weights = Weights(tree, uses, edits)
    work = Work(graph, tree, named, dict(edits), reading.blueprint, uses, weights)
    for name, edit in edits.items():
        write(work, named[name], edit)
    for node in list(graph.nodes):
        # The map may lie in order where the classifier's permuted one had to be copied.
        if node.op == "call_method" and node.target == "contiguous" and work.must_copy(node):
            work.call(node, torch.clone, work.input(node))
    return work


def _uses(graph: fx.Graph) -> dict[str, list[str]]:
    """For each module that is called, the nodes that call it or read a tensor of it."""
    table: dict[str, list[str]] = {n.target: [] for n in graph.nodes if n.op == "call_module"}
    for node in graph.nodes:
        target = str(node.target)
        owner = target.rpartition(".")[0] if node.op == "get_attr" else target
        if node.op in ("call_module", "get_attr") and owner in table:
            table[owner].append(node.name)
    return table


def _guard(graph: fx.Graph, plan: Plan) -> None:
    """Check the image first; cut trailing cells last."""
    image = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_after(image):
        checked = graph.call_function(runtime.check_image)
    image.replace_all_uses_with(checked)
    checked.args = (image, plan.channels, plan.window)
    output = graph.output_node()
    answers = iter(plan.answers)

    def whole(scores: fx.Node) -> fx.Node:
        with graph.inserting_before(output):
            return graph.call_function(
                runtime.whole_windows,
                (scores, checked, plan.window, plan.stride, next(answers).step),
            )

    output.args = fx.map_arg(output.args, whole)
