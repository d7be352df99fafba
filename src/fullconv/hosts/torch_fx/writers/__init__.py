"""How each edit is carried out, one small file per family; `WRITERS` is the table of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from fullconv.errors import UsageError
from fullconv.hosts.torch_fx.work import Work
from fullconv.hosts.torch_fx.writers import channels, context, features, phases, space
from fullconv.surgery.edits import (
    Bypass,
    ConvAlongChannels,
    Edit,
    LinearToConv,
    NormContext,
    Resweep,
    SetPad,
)

Writer = Callable[[Work, fx.Node, Any], None]


def _bypass(work: Work, node: fx.Node, edit: Bypass) -> None:
    work.bypass(node)


WRITERS: dict[type[Edit], Writer] = {
    Bypass: _bypass,
    **features.WRITERS,
    **space.WRITERS,
    **channels.WRITERS,
    **context.WRITERS,
}
"""Every edit but `Phases`, which wraps another one."""


def write(work: Work, node: fx.Node, edit: Edit) -> None:
    """Carry out one edit. Raises UsageError if nobody has said how."""
    if phases.write(work, node, edit, write):
        return
    name = type(edit).__name__
    where = work.blueprint.by_name[work.before[node]].where
    if type(edit) not in WRITERS:
        raise UsageError(
            f"is to become {edit}, an edit that has no writer.",
            where=where,
            hint=f"Add it with fullconv.api.extend.edit({name}, writer).",
        )
    if type(edit) in _OF_SETTINGS and not work.is_of_torch(node):
        op = work.blueprint.by_name[work.before[node]].op
        raise UsageError(
            f"is read as {type(op).__name__} and would have to change ({edit}).",
            where=where,
            why="fullconv knows the settings of PyTorch's own layers only.",
            hint="Give it an op, a rule and an edit of its own: docs/extending.md.",
        )
    WRITERS[type(edit)](work, node, edit)


_OF_SETTINGS: frozenset[type] = frozenset(
    {LinearToConv, Resweep, SetPad, NormContext, ConvAlongChannels}
)
"""Edits whose writers look for weights and settings under the names that PyTorch gives them."""
