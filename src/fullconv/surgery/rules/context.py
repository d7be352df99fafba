"""Context ops: what looks at the whole map from inside the body.

Squeeze-excite and its kin pool the whole map to one vector and give it back to every cell; norms
over space take mean and variance of the whole map. In crop terms every window would need a vector
of its own for every one of its cells, so there is no exact dense form. The op is made local instead
(each cell sees the window-sized box nearest to centred on it) or left to see the whole image; both
are the classifier's own op at the window, where there is only one box.
"""

from __future__ import annotations

from dataclasses import replace

from fullconv.blueprint import FeatureNorm, GroupNorm, Node
from fullconv.surgery.edits import AlongChannels, NormContext, PoolContext
from fullconv.surgery.rules.rule import Outcome, Rule, Setting, only_map, refuse
from fullconv.surgery.values import CHANNEL, Group, Map, Value

LOCAL = "in an image larger than the window, the box around every cell stands for the whole map"
WHOLE = "in an image larger than the window, it sees the whole image"


def survey(
    x: Map, kind: str, labels: Group, layout: tuple[Group, ...], setting: Setting
) -> Outcome:
    """Pool a map over the axes in `labels` for the sake of all its cells."""
    axes, kernel = list(x.axes), [1] * len(x.axes)
    for label in labels:
        axis = x.axes[label - 1]
        kernel[label - 1] = axis.size
        axes[label - 1] = replace(axis.surveyed(local=setting.local), size=1, context=axis.size)
    spread = tuple(axis.dilation for axis in x.axes)
    edit = PoolContext(kind, tuple(kernel), spread, setting.local, labels)
    value = replace(x, axes=tuple(axes), layout=layout)
    return Outcome(value, edit, LOCAL if setting.local else WHOLE, context=f"{kind} over the map")


def group_norm(op: GroupNorm, node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """Group and instance norm: mean and variance over space and groups of channels."""
    x = only_map(node, inputs)
    if not x.is_whole or x.group(1) != (CHANNEL,) or x.is_flattened:
        refuse(
            node,
            f"treats axis 1 of a {x} as channels, which it is not.",
            why="Its groups would mix channels and space.",
            hint="Keep feature maps as (N, C, *space) up to here.",
        )
    return _normed(op.name, op.groups, x, setting)


def _normed(name: str, groups: int, x: Map, setting: Setting) -> Outcome:
    """A norm over space and groups of channels."""
    alone = [axis.collapsed or axis.context > 0 or axis.size == 1 for axis in x.axes]
    if all(alone):
        edit = NormContext(groups, (1,) * len(x.axes), (1,) * len(x.axes), True)
        return Outcome(x, edit, "every cell has its own mean and variance")
    kernel = tuple(1 if single else axis.size for axis, single in zip(x.axes, alone, strict=True))
    spread = tuple(axis.dilation for axis in x.axes)
    axes = tuple(axis.surveyed(local=setting.local) for axis in x.axes)
    edit = NormContext(groups, kernel, spread, setting.local)
    why = LOCAL if setting.local else WHOLE
    return Outcome(replace(x, axes=axes), edit, why, context=name)


def feature_norm(
    op: FeatureNorm, node: Node, inputs: tuple[Value, ...], setting: Setting
) -> Outcome:
    """Layer norm and RMS norm: along channels at every cell, or over the whole map."""
    x = only_map(node, inputs)
    last = [
        label
        for axis in range(len(x.layout) - op.axes, len(x.layout))
        for label in x.group(axis + 1)
    ]
    if last == [CHANNEL] and x.is_whole:
        if x.is_plain:  # the channel is axis 1 and last: there is no space
            return Outcome(x)
        return Outcome(x, AlongChannels(len(x.axes)), "its channels are axis 1 in every map")
    space = {label for label in range(1, len(x.axes) + 1) if x.length(label) > 1}
    whole = x.is_whole and set(last) == space | {CHANNEL}
    if whole and not op.affine and op.name == "layer norm":
        return _normed(op.name, 1, x, setting)
    return refuse(
        node,
        f"normalises the last {op.axes} axes of a {x}, "
        + ("with a weight for every position." if op.affine else "not its channels."),
        why="What is tied to positions of the window has no value outside it.",
        hint="Normalise along the channels only.",
    )


RULES: dict[type, Rule] = {GroupNorm: group_norm, FeatureNorm: feature_norm}
