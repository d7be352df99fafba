"""Fragments: where a map's cells would lie apart, its phases lie in the batch instead.

With the method `dilate` a layer that gives up its stride leaves a map whose cells belong, in turn,
to different phases. With `fragments` the same map is cut into those phases, each a map of its own
in the batch; layers that follow work as in the classifier. A value's `dilation` tells either way
how many phases there are per axis.
"""

from __future__ import annotations

from dataclasses import replace

from fullconv.errors import RefusedError
from fullconv.surgery.edits import Attend, NormContext, Phases, PoolContext, Together
from fullconv.surgery.rules import Outcome
from fullconv.surgery.values import Map, Value

WHY = "phases of a finer stride lie in the batch"


def phases_of(value: Map) -> tuple[int, ...]:
    """Phases in the batch per axis."""
    return tuple(axis.dilation for axis in value.axes)


def in_phases(outcome: Outcome, inputs: tuple[Value, ...], *, ends: bool) -> Outcome:
    """The outcome of a rule whose result has other phases than its input: they are moved after it.

    Where the network `ends` no phases are left: every phase of a map that is one cell at the window
    is a window.
    """
    maps = [x for x in inputs if isinstance(x, Map)]
    value = outcome.value
    if not maps or not isinstance(value, Map):
        return outcome
    before = phases_of(maps[0])
    if isinstance(outcome.edit, PoolContext | NormContext | Attend) and max(before) > 1:
        stride = tuple(axis.stride for axis in maps[0].axes)
        slack = tuple(axis.slack for axis in maps[0].axes)
        outcome = replace(outcome, edit=Together(outcome.edit, before, stride, slack))
    after = (1,) * len(before) if ends else phases_of(value)
    if before == after:
        return outcome
    if ends and any(phases_of(x) != before for x in maps):
        raise RefusedError(
            "gives answers of different strides.",
            where="the network's output",
            hint='Pass method="dilate".',
        )
    return replace(outcome, edit=Phases(outcome.edit, before, after), why=outcome.why or WHY)
