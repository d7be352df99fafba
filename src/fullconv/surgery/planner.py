"""The one walk: applies the rules to a blueprint, in the order of computation."""

from __future__ import annotations

from dataclasses import dataclass, field

from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Constant,
    Convolution,
    Elementwise,
    Identity,
    Input,
    Node,
    Output,
    Pool,
    Reduce,
    Refused,
    Reshape,
    Softmax,
    Unknown,
)
from fullconv.errors import RefusedError, UsageError
from fullconv.geometry import Axis, per_axis, times
from fullconv.surgery.plan import Cut, Plan, Step
from fullconv.surgery.rules import RULES, WAITS_FOR_BINS, Outcome, Setting
from fullconv.surgery.values import Fixed, Map, Value


def make_plan(blueprint: Blueprint, *, stride: int | tuple[int, ...] | None = None) -> Plan:
    """The surgery plan of a network.

    Raises RefusedError, naming every node that cannot be converted, and UsageError for a stride
    that the network does not have.
    """
    last = _last_looks(blueprint)
    walk = _walk(blueprint, Setting(None, last, blueprint.window, blueprint.batch))
    native = tuple(axis.stride for axis in walk.answer.axes)
    wanted = native
    if stride is not None:
        wanted = per_axis(stride, len(native), "stride")
        if wanted != native:
            raise UsageError(
                f"stride={times(wanted)} px: this network's maps have its native stride, "
                f"{times(native)} px.",
                hint=f"Pass stride={native[0] if len(set(native)) == 1 else native}, or none.",
            )
    return _plan(blueprint, walk, native, wanted)


@dataclass
class _Walk:
    """What the walk found so far."""

    values: dict[str, Value] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    refusals: list[RefusedError] = field(default_factory=list)
    barred: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def answer(self) -> Map:
        """What the network returns."""
        value = next(reversed(self.values.values()))
        assert isinstance(value, Map)
        return value


def _walk(blueprint: Blueprint, setting: Setting) -> _Walk:
    """Apply every node's rule; raise all refusals together."""
    walk = _Walk()
    for node in blueprint.nodes:
        known = all(name in walk.values for name in node.inputs)
        if isinstance(node.op, Unknown | Refused) and not _is_fixed(node, walk):
            # Whether there is a rule does not depend on what came before, and a person wants to
            # hear of all missing rules at once.
            why = node.op.why if isinstance(node.op, Refused) else ""
            walk.barred.setdefault((node.op.name, why), []).append(node.where)
            continue
        if not known:
            continue  # something before it was refused
        try:
            outcome = _apply(node, tuple(walk.values[name] for name in node.inputs), setting)
        except RefusedError as refusal:
            walk.refusals.append(refusal)
            continue
        _check(node, outcome.value)
        walk.values[node.name], walk.outcomes[node.name] = outcome.value, outcome
    barred = [_barred(name, why, places) for (name, why), places in walk.barred.items()]
    refusals = walk.refusals + barred
    if refusals:
        raise RefusedError.merge(refusals)
    return walk


def _apply(node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """The outcome of one node."""
    if isinstance(node.op, Input):
        axes = tuple(Axis(size) for size in node.shape[2:])
        return Outcome(Map.plain(node.shape[1], axes))
    if isinstance(node.op, Constant) or (
        inputs and all(isinstance(value, Fixed) for value in inputs)
    ):
        return Outcome(Fixed(node.shape))
    waiting = [x for x in inputs if isinstance(x, Map) and x.bins]
    if waiting and type(node.op) not in WAITS_FOR_BINS:
        raise RefusedError(
            f"follows adaptive pooling whose bins overlap at this window, giving a {waiting[0]}.",
            where=node.where,
            why="Such bins can be folded only into a linear layer that follows directly.",
            hint="Choose a window whose map divides evenly into the bins.",
        )
    return RULES[type(node.op)](node.op, node, inputs, setting)


def _is_fixed(node: Node, walk: _Walk) -> bool:
    """Whether a node is computed from constants alone; then it needs no rule."""
    return bool(node.inputs) and all(
        isinstance(walk.values.get(name), Fixed) for name in node.inputs
    )


def _barred(name: str, why: str, places: list[str]) -> RefusedError:
    """The refusal of all places of one op: without a rule, or known to have no dense form."""
    where = places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")
    if why:
        return RefusedError(
            f"{name} has no exact dense form.",
            where=where,
            why=why,
            hint="fullconv converts convolutional classifiers.",
        )
    return RefusedError(
        f"there is no rule for {name}.",
        where=where,
        why="An op is never guessed to be harmless.",
        hint="CONTRIBUTING.md shows how to add a rule.",
    )


def _check(node: Node, value: Value) -> None:
    """What a rule says must be what the classifier computed; else the rule is wrong."""
    if isinstance(node.op, Output):
        return
    shape = value.shape if isinstance(value, Fixed) else (node.shape[0], *value.shape)
    if shape != node.shape:
        raise AssertionError(
            f"{node.where}: the rule for {type(node.op).__name__} says {shape}, "
            f"the classifier computes {node.shape}"
        )


def _last_looks(blueprint: Blueprint) -> frozenset[str]:
    """Names of the nodes after which no kernel looks at neighbouring cells any more."""
    consumers = blueprint.consumers()
    last: set[str] = set()
    for node in reversed(blueprint.nodes):
        if all(after.name in last and not _looks(after) for after in consumers[node.name]):
            last.add(node.name)
    return frozenset(last)


def _looks(node: Node) -> bool:
    """Whether the node's kernel reaches beyond one cell."""
    return isinstance(node.op, Convolution | Pool) and any(
        sweep.kernel > 1 or sweep.pads for sweep in node.op.sweeps
    )


def _in_head(value: Value) -> bool:
    """Whether a value belongs to the head: its cells, or what waits for them, are whole windows."""
    return isinstance(value, Map) and (
        bool(value.bins)
        or value.is_flattened
        or any(axis.collapsed or axis.dilation > 1 for axis in value.axes)
    )


def _cuts(blueprint: Blueprint, walk: _Walk) -> tuple[Cut, ...]:
    """The values of the body that the head reads."""
    cuts: dict[str, Cut] = {}
    head: set[str] = set()
    for node in blueprint.nodes:
        # An adaptive pool that does nothing at the window would pool a larger image.
        begins = isinstance(node.op, AdaptivePool | Reduce) or _in_head(walk.values[node.name])
        if begins or any(name in head for name in node.inputs):
            head.add(node.name)
    # Until a map is back in order nothing looks at neighbours: all of it can be the head's.
    for node in reversed(blueprint.nodes):
        for name in node.inputs if node.name in head else ():
            value = walk.values[name]
            if isinstance(value, Map) and not value.is_plain:
                head.add(name)
    for node in blueprint.nodes:
        for name in node.inputs if node.name in head else ():
            value = walk.values[name]
            if name not in head and isinstance(value, Map):
                cuts[name] = Cut(name, value.channels, value.axes)
    return tuple(cuts.values())


def _gives_probabilities(node: Node) -> bool:
    """Whether the network ends in a softmax or a logistic function."""
    if isinstance(node.op, Softmax):
        return node.op.name == "softmax"
    return isinstance(node.op, Elementwise) and node.op.name.lower() == "sigmoid"


def _plan(
    blueprint: Blueprint, walk: _Walk, native: tuple[int, ...], stride: tuple[int, ...]
) -> Plan:
    """Gather what the walk found."""
    steps, padded, untouched = [], [], 0
    for node in blueprint.nodes:
        outcome = walk.outcomes[node.name]
        if outcome.pads:
            padded.append(node.where)
        if outcome.edit is not None:
            steps.append(Step(node.name, node.where, str(node.op), outcome.why, outcome.edit))
        elif isinstance(outcome.value, Map) and not isinstance(node.op, Input | Output):
            untouched += 1
    answer = walk.answer
    before = blueprint.by_name[blueprint.output.inputs[0]]
    while isinstance(before.op, Identity | Reshape):
        before = blueprint.by_name[before.inputs[0]]
    return Plan(
        window=blueprint.window,
        stride=stride,
        native_stride=native,
        receptive_field=tuple(axis.field for axis in answer.axes),
        channels=blueprint.channels,
        outputs=answer.channels,
        probabilities=_gives_probabilities(before),
        steps=tuple(steps),
        padded=tuple(padded),
        cuts=_cuts(blueprint, walk),
        untouched=untouched,
    )
