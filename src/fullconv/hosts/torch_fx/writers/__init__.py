"""How each edit is carried out, one small file per family; `WRITERS` is the table of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx

from fullconv.hosts.torch_fx.work import Work
from fullconv.hosts.torch_fx.writers import channels, context, features, phases, space
from fullconv.surgery.edits import Bypass, Edit

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
    """Carry out one edit."""
    if phases.write(work, node, edit, write):
        return
    WRITERS[type(edit)](work, node, edit)
