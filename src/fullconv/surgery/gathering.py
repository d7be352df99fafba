"""From what the walk found to a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Elementwise,
    Identity,
    Input,
    Node,
    Output,
    Reshape,
    Softmax,
)
from fullconv.surgery.plan import Answer, Context, Cut, Plan, Step
from fullconv.surgery.rules import Setting
from fullconv.surgery.values import Map, Value

if TYPE_CHECKING:
    from fullconv.surgery.planner import Walk


def _in_head(value: Value, name: str, setting: Setting) -> bool:
    """Whether a value belongs to the head: its cells, or what waits for them, are whole windows."""
    return isinstance(value, Map) and (
        bool(value.bins)
        or (value.is_flattened and name in setting.last)
        or any(axis.collapsed or axis.binned for axis in value.axes)
    )


def _pads_no_more(blueprint: Blueprint, walk: Walk) -> set[str]:
    """Names of the nodes from which on nothing pads, nor looks at the whole map.

    A head of each window would do that for itself.
    """
    consumers = blueprint.consumers()
    quiet: set[str] = set()
    for node in reversed(blueprint.nodes):
        after = all(user.name in quiet for user in consumers[node.name])
        outcome = walk.outcomes[node.name]
        inputs = [walk.values[name] for name in node.inputs]
        surveys = outcome.context or any(isinstance(x, Map) and x.is_context for x in inputs)
        if after and not outcome.pads and not surveys:
            quiet.add(node.name)
    return quiet


def cuts(blueprint: Blueprint, walk: Walk, setting: Setting) -> tuple[Cut, ...]:
    """The values of the body that the head reads; of a walk at the native stride."""
    found: dict[str, Cut] = {}
    head: set[str] = set()
    quiet = _pads_no_more(blueprint, walk)
    for node in blueprint.nodes:
        # An adaptive pool that does nothing at the window would pool a larger image.
        pools = isinstance(node.op, AdaptivePool) and node.name not in setting.contexts
        inside = node.name in quiet and _in_head(walk.values[node.name], node.name, setting)
        begins = pools or inside
        if begins or any(name in head for name in node.inputs):
            head.add(node.name)
    # Until a map is back in order nothing looks at neighbours: all of it can be the head's.
    for node in reversed(blueprint.nodes):
        for name in node.inputs if node.name in head else ():
            value = walk.values[name]
            if isinstance(value, Map) and not value.is_plain and name in quiet:
                head.add(name)
    for node in blueprint.nodes:
        for name in node.inputs if node.name in head else ():
            value = walk.values[name]
            if name not in head and isinstance(value, Map):
                found[name] = Cut(name, value.channels, value.axes, value.layout)
    return tuple(found.values())


def _gives_probabilities(node: Node) -> bool:
    """Whether the network ends in a softmax or a logistic function."""
    if isinstance(node.op, Softmax):
        return node.op.name == "softmax"
    return isinstance(node.op, Elementwise) and node.op.name.lower() == "sigmoid"


def gather(
    blueprint: Blueprint,
    walk: Walk,
    setting: Setting,
    native: tuple[int, ...],
    stride: tuple[int, ...],
    parts: tuple[Cut, ...],
) -> Plan:
    """The plan of a finished walk."""
    steps, padded, contexts, untouched = [], [], [], 0
    for node in blueprint.nodes:
        outcome = walk.outcomes[node.name]
        if outcome.pads:
            padded.append(node.where)
        if outcome.context:
            seen = walk.values[node.inputs[0]]
            assert isinstance(seen, Map)
            size = tuple(axis.size for axis in seen.axes)
            contexts.append(Context(node.name, node.where, outcome.context, size))
        if outcome.edit is not None:
            steps.append(Step(node.name, node.where, str(node.op), outcome.why, outcome.edit))
        elif isinstance(outcome.value, Map) and not isinstance(node.op, Input | Output):
            untouched += 1
    before = blueprint.by_name[blueprint.output.inputs[0]]
    while isinstance(before.op, Identity | Reshape):
        before = blueprint.by_name[before.inputs[0]]
    return Plan(
        window=blueprint.window,
        stride=stride,
        native_stride=native,
        receptive_field=tuple(
            max(axis.field for axis in axes)
            for axes in zip(*(answer.axes for answer in walk.answers), strict=True)
        ),
        channels=blueprint.channels,
        outputs=walk.answers[0].channels,
        probabilities=_gives_probabilities(before),
        steps=tuple(steps),
        padded=tuple(padded),
        cuts=parts,
        untouched=untouched,
        overhang=_overhang(blueprint, walk),
        answers=_answers(blueprint, walk, stride),
        contexts=tuple(contexts),
        context="window" if setting.local else "image",
        method="fragments" if setting.fragments else "dilate",
    )


def _overhang(blueprint: Blueprint, walk: Walk) -> tuple[tuple[int, int], ...]:
    """Px before and after the window that a cell of any answer sees."""
    return tuple(
        (max(0, *(-axis.start for axis in axes)), max(0, *(axis.end - window for axis in axes)))
        for window, axes in zip(
            blueprint.window,
            zip(*(answer.axes for answer in walk.answers), strict=True),
            strict=True,
        )
    )


def _answers(blueprint: Blueprint, walk: Walk, stride: tuple[int, ...]) -> tuple[Answer, ...]:
    """The score vectors; finer ones give every n-th cell to the common map."""
    op = blueprint.output.op
    assert isinstance(op, Output)
    names = op.names or ("",) * len(walk.answers)
    return tuple(
        Answer(
            name,
            answer.channels,
            tuple(step // axis.stride for step, axis in zip(stride, answer.axes, strict=True)),
        )
        for name, answer in zip(names, walk.answers, strict=True)
    )
