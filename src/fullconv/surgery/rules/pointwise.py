"""Ops without any spatial effect, and the end of the network.

"No effect" is a table of its own: an op in no table is unknown, and never guessed.
"""

from __future__ import annotations

from fullconv.blueprint import Elementwise, Identity, Node, Op, Output
from fullconv.errors import RefusedError
from fullconv.surgery.edits import Bypass
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, refuse
from fullconv.surgery.values import CHANNEL, Map, Value


def unchanged(op: Op, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """The op works on each number by itself."""
    if isinstance(op, Identity) and op.foreign:
        return Outcome(inputs[0], Bypass(), "at inference it does nothing")
    return Outcome(inputs[0])


def output(op: Output, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Every answer must be one score vector for the window."""
    for place, x in enumerate(inputs):
        where = "the network's output" + (f" {op.names[place]}" if len(inputs) > 1 else "")
        if isinstance(x, Map) and x.is_context:
            raise RefusedError(
                "is computed from a vector that is pooled for the cells of a map as well.",
                where=where,
                why="In the FCN such a vector belongs to one cell, and scores to a whole window.",
                hint="Pool the map once more for the scores.",
            )
        if not isinstance(x, Map) or not x.is_collapsed or x.bins or not x.is_whole:
            raise RefusedError(
                f"is a {x}, not one score vector for the window.",
                where=where,
                why="fullconv converts classifiers; this network already answers for every "
                "position, or not for the image at all.",
            )
        if x.layout and CHANNEL not in {label for group in x.layout for label in group}:
            refuse(node, f"returns a {x} without its channels.")
    return Outcome(inputs[0])


RULES: dict[type, Rule] = {
    Elementwise: unchanged,
    Identity: unchanged,
    Output: output,
}
