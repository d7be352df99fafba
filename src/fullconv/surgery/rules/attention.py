"""Products of two tensors: attention pooling has a dense form, attention between positions none."""

from __future__ import annotations

from dataclasses import replace

from fullconv.blueprint import MatMul, Node
from fullconv.geometry import Sweep
from fullconv.surgery.edits import Attend
from fullconv.surgery.rules.context import LOCAL, WHOLE
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, refuse
from fullconv.surgery.values import CHANNEL, Map, Value

ATTENTION = "Attention mixes all positions of the window, so there is no map to slide over."


def attend(op: MatMul, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """A map times softmax weights over all its cells: attention pooling (GC-Net, section 3).

    Products of two maps that are no weights mix all positions of the window.
    """
    soft = [place for place, x in enumerate(inputs) if isinstance(x, Map) and x.soft]
    maps = [x for x in inputs if isinstance(x, Map)]
    if len(soft) != 1 or len(maps) != 2 or not _over_space(maps, soft[0]):
        refuse(node, f"{op.name} has no exact dense form.", why=ATTENTION)
    x, weights = maps[1 - soft[0]], maps[soft[0]]
    pairs = zip(x.axes, weights.axes, strict=True)
    if any((a.stride, a.dilation, a.slack) != (b.stride, b.dilation, b.slack) for a, b in pairs):
        refuse(node, "weighs a map with weights of another grid.", why=ATTENTION)
    kernel = tuple(axis.size for axis in x.axes)
    spread = tuple(setting.spread(axis) for axis in x.axes)
    left = [x.group(i) if soft[0] == 1 else () for i in range(1, len(maps[0].layout))]
    last = x.group(len(x.layout)) if soft[0] == 0 else ()
    layout = tuple(tuple(n for n in group if n == CHANNEL) for group in (*left, last))
    every = node.name in setting.contexts
    edit = Attend(soft[0], kernel, spread, setting.local or not every, every)
    if every:
        axes = tuple(
            replace(axis.surveyed(local=setting.local), size=1, context=axis.size)
            for axis in x.axes
        )
        why = LOCAL if setting.local else WHOLE
        return Outcome(Map(x.channels, axes, layout), edit, why, context="attention over the map")
    axes = tuple(axis.swept(Sweep(axis.size), keep=1, collapse=True) for axis in x.axes)
    return Outcome(Map(x.channels, axes, layout), edit, "over space it is a mean over the window")


def _over_space(maps: list[Map], soft: int) -> bool:
    """Whether both tensors hold all of space along the axis that the product sums over."""
    left, right = maps
    if len(left.layout) != len(right.layout) or len(left.layout) < 2 or maps[1 - soft].soft:
        return False
    summed = (left.group(len(left.layout)), right.group(len(right.layout) - 1))
    space = tuple(label for label in range(1, len(left.axes) + 1) if left.length(label) > 1)
    alone = all(x.is_whole and not x.bins for x in maps)
    return (
        alone
        and all(tuple(n for n in g if n != CHANNEL) == space for g in summed)
        and (CHANNEL not in summed[1 - soft])
    )


RULES: dict[type, Rule] = {MatMul: attend}
