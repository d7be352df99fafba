"""Edits that also move phases of a map into the batch or back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.work import Work
from fullconv.surgery.edits import Bypass, Edit, Phases, Together


def write(
    work: Work, node: fx.Node, edit: Edit, inner: Callable[[Work, fx.Node, Any], None]
) -> bool:
    """Carry out a `Phases` or `Together` with the edit it wraps. False for any other edit."""
    if isinstance(edit, Together):
        _together(work, node, edit, inner)
        return True
    if not isinstance(edit, Phases):
        return False
    if node.op == "output":
        for source in node.all_input_nodes:
            with work.graph.inserting_before(node):
                moved = work.graph.call_function(
                    runtime.rephased, (source, edit.before, edit.after)
                )
            node.replace_input_with(source, moved)
        return True
    if isinstance(edit.edit, Bypass):
        # A node that becomes its input must not move what others read from there.
        work.call(node, runtime.rephased, work.input(node), edit.before, edit.after)
        return True
    name = work.before[node]
    if edit.edit is not None:
        inner(work, node, edit.edit)
    work.after(work.nodes[name], runtime.rephased, edit.before, edit.after)
    return True


def _together(
    work: Work, node: fx.Node, edit: Together, inner: Callable[[Work, fx.Node, Any], None]
) -> None:
    image = next(n for n in work.graph.nodes if n.op == "placeholder")
    name = work.before[node]
    apart = dict(work.nodes)
    for source in dict.fromkeys(work.blueprint.by_name[name].inputs):
        if not apart[source].meta.get("of_image", True):
            continue
        with work.graph.inserting_before(node):
            work.nodes[source] = work.graph.call_function(
                runtime.together, (apart[source], image, edit.phases, edit.stride, edit.slack)
            )
    inner(work, node, edit.edit)
    for source in work.blueprint.by_name[name].inputs:
        work.nodes[source] = apart[source]
    ones = (1,) * len(edit.phases)
    work.after(work.nodes[name], runtime.rephased, ones, edit.phases)
