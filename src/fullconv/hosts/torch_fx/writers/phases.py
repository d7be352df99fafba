"""Edits that also move phases of a map into the batch or back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.work import Work
from fullconv.surgery.edits import Bypass, Edit, Phases


def write(
    work: Work, node: fx.Node, edit: Edit, inner: Callable[[Work, fx.Node, Any], None]
) -> bool:
    """Carry out a `Phases`: the edit it wraps, then the move. False for any other edit."""
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
    if edit.edit is None or isinstance(edit.edit, Bypass):
        # A node that becomes its input must not move what others read from there.
        if isinstance(edit.edit, Bypass):
            work.call(node, runtime.rephased, work.input(node), edit.before, edit.after)
        else:
            work.after(node, runtime.rephased, edit.before, edit.after)
        return True
    name = work.before[node]
    inner(work, node, edit.edit)
    work.after(work.nodes[name], runtime.rephased, edit.before, edit.after)
    return True
