"""The one walk: applies the rules to a blueprint, in the order of computation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import lcm
from typing import NoReturn

from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Constant,
    Convolution,
    Input,
    MatMul,
    Node,
    Output,
    Pool,
    Reduce,
    Refused,
    Unknown,
)
from fullconv.errors import RefusedError, UsageError
from fullconv.geometry import Axis, per_axis, times
from fullconv.surgery.gathering import cuts, gather
from fullconv.surgery.phases import in_phases
from fullconv.surgery.plan import Plan
from fullconv.surgery.rules import (
    ATTENTION,
    LOOKS_AROUND,
    RULES,
    WAITS_FOR_BINS,
    WAITS_FOR_BLOCKS,
    WAITS_FOR_SOFTMAX,
    Outcome,
    Setting,
)
from fullconv.surgery.values import Fixed, Map, Value

METHODS = ("dilate", "fragments")
"""Ways to a finer stride. Dilate (à-trous): the layer with the stride makes every step, what
follows looks at cells that lie apart. Fragments: the phases of such a map are put side by side in
the batch, what follows works as it did, and the end puts them together (Giusti et al. 2013)."""


def make_plan(
    blueprint: Blueprint,
    *,
    stride: int | tuple[int, ...] | None = None,
    context: str = "window",
    method: str = METHODS[0],
) -> Plan:
    """The surgery plan of a network.

    Raises RefusedError, naming every node that cannot be converted, and UsageError for a stride
    that the network does not have.
    """
    setting = Setting(
        None,
        _last_looks(blueprint),
        blueprint.window,
        blueprint.batch,
        local=context == "window",
    )
    walk, setting = _settled(blueprint, setting)
    parts = cuts(blueprint, walk, setting)
    native = _strides(walk)
    wanted = native
    if stride is not None:
        wanted = per_axis(stride, len(native), "stride")
        if any(own % step for own, step in zip(native, wanted, strict=True)):
            _refuse_stride(wanted, native)
    if wanted != native:
        setting = replace(setting, stride=wanted, fragments=method == "fragments")
        walk, setting = _settled(blueprint, setting)
        if _strides(walk) != wanted:
            raise AssertionError(f"stride {wanted} was asked for, the walk made {_strides(walk)}")
    return gather(blueprint, walk, setting, native, wanted, parts)


def _strides(walk: Walk) -> tuple[int, ...]:
    """Px between neighbouring cells that all answers have."""
    return tuple(
        lcm(*(step for axis in axes for step in (axis.stride, axis.grain)))
        for axes in zip(*(answer.axes for answer in walk.answers), strict=True)
    )


def _refuse_stride(wanted: tuple[int, ...], native: tuple[int, ...]) -> NoReturn:
    """A stride that does not divide the native one: say which do."""
    each = [[t for t in range(own, 0, -1) if own % t == 0] for own in dict.fromkeys(native)]
    fits = " per axis, or ".join(", ".join(map(str, divisors)) for divisors in each)
    raise UsageError(
        f"stride={times(wanted)} px does not divide the network's native stride, "
        f"{times(native)} px.",
        why="Every cell of the native map must be a cell of the finer one.",
        hint=f"Pass one of {fits}.",
    )


@dataclass
class Walk:
    """What the walk found so far."""

    values: dict[str, Value] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    refusals: list[RefusedError] = field(default_factory=list)
    barred: dict[Unknown | Refused, list[str]] = field(default_factory=dict)
    answers: tuple[Map, ...] = ()


def _settled(blueprint: Blueprint, setting: Setting) -> tuple[Walk, Setting]:
    """Walk until every pool that serves a context op is known for one."""
    while True:
        walk = _walk(blueprint, setting)
        found = _pooled_for_context(blueprint, walk)
        if found <= setting.contexts:
            return walk, setting
        setting = replace(setting, contexts=setting.contexts | found)


def _pooled_for_context(blueprint: Blueprint, walk: Walk) -> frozenset[str]:
    """The pools whose result meets the map they were pooled from."""
    found: set[str] = set()
    for name, outcome in walk.outcomes.items():
        node = blueprint.by_name[name]
        behind = [node.inputs[place] for place in outcome.meets]
        while behind:
            pool = blueprint.by_name[behind.pop()]
            sources = [n for n in pool.inputs if isinstance(walk.values[n], Map)]
            if not any(
                _is_larger(walk.values[source], walk.values[pool.name]) for source in sources
            ):
                behind += sources
            elif isinstance(pool.op, AdaptivePool | MatMul | Pool | Reduce):
                found.add(pool.name)
            else:
                raise RefusedError(
                    "makes one vector of the whole map, which then meets a map again at "
                    f"{node.where}.",
                    where=pool.where,
                    why="It has a weight for every position of the window, so no box of a larger "
                    "map can stand for the whole.",
                    hint="Pool the map first, as squeeze-excite does.",
                )
    return frozenset(found)


def _is_larger(value: Value, pooled: Value) -> bool:
    """Whether a map has, along some axis, more cells than what was made of it."""
    return isinstance(value, Map) and (
        not isinstance(pooled, Map)
        or any(a.size > b.size for a, b in zip(value.axes, pooled.axes, strict=True))
    )


def _walk(blueprint: Blueprint, setting: Setting) -> Walk:
    """Apply every node's rule; raise all refusals together."""
    walk = Walk()
    for node in blueprint.nodes:
        known = all(name in walk.values for name in node.inputs)
        if isinstance(node.op, Unknown | Refused) and not _is_fixed(node, walk):
            # Whether there is a rule does not depend on what came before, and a person wants to
            # hear of all missing rules at once.
            walk.barred.setdefault(node.op, []).append(node.where)
            continue
        if not known:
            continue  # something before it was refused
        inputs = tuple(walk.values[name] for name in node.inputs)
        try:
            outcome = _apply(node, inputs, setting)
        except RefusedError as refusal:
            walk.refusals.append(refusal)
            continue
        if not outcome.meets:
            _check(node, outcome.value)
        if setting.fragments:
            outcome = in_phases(outcome, inputs, ends=isinstance(node.op, Output))
        walk.values[node.name], walk.outcomes[node.name] = outcome.value, outcome
        if isinstance(node.op, Output):
            walk.answers = tuple(value for value in inputs if isinstance(value, Map))
    # What has no dense form at all comes first, then missing rules, then what came of the layout.
    by_kind = sorted(walk.barred.items(), key=lambda entry: isinstance(entry[0], Unknown))
    barred = [_barred(op, places) for op, places in by_kind]
    refusals = sorted([*barred, *walk.refusals], key=lambda refusal: refusal.why != ATTENTION)
    if refusals:
        raise RefusedError.merge(refusals)
    return walk


def _apply(node: Node, inputs: tuple[Value, ...], setting: Setting) -> Outcome:
    """The outcome of one node."""
    if isinstance(node.op, Output) and any(isinstance(x, Fixed) for x in inputs):
        return RULES[Output](node.op, node, inputs, setting)
    if isinstance(node.op, Input):
        axes = tuple(Axis(size) for size in node.shape[2:])
        return Outcome(Map.plain(node.shape[1], axes))
    if isinstance(node.op, Constant) or (
        inputs and all(isinstance(value, Fixed) for value in inputs)
    ):
        return Outcome(Fixed(node.shape))
    soft = [x for x in inputs if isinstance(x, Map) and x.soft]
    if soft and type(node.op) not in WAITS_FOR_SOFTMAX:
        raise RefusedError(
            f"works on a {soft[0]} after a softmax over space.",
            where=node.where,
            why="Weights that sum to one over positions are attention; only a weighted mean of a "
            "map has a rule.",
        )
    blocked = [x for x in inputs if isinstance(x, Map) and x.blocks]
    if blocked and type(node.op) not in WAITS_FOR_BLOCKS:
        raise RefusedError(
            f"works on a {blocked[0]}, its cells seen in blocks of {times(blocked[0].blocks)}.",
            where=node.where,
            why="Only moving the blocks into the channels (space to depth) has a rule; windows of "
            "attention would lie differently for every window.",
        )
    waiting = [x for x in inputs if isinstance(x, Map) and x.bins]
    if waiting and type(node.op) not in WAITS_FOR_BINS:
        raise RefusedError(
            f"follows adaptive pooling whose bins overlap at this window, giving a {waiting[0]}.",
            where=node.where,
            why="Such bins can be folded only into a linear layer that follows directly.",
            hint="Choose a window whose map divides evenly into the bins.",
        )
    if type(node.op) not in RULES:
        raise UsageError(
            f"is read as {type(node.op).__name__}, an op that has no rule.",
            where=node.where,
            hint=f"Add it with fullconv.api.extend.rule({type(node.op).__name__}, rule).",
        )
    return RULES[type(node.op)](node.op, node, inputs, setting)


def _is_fixed(node: Node, walk: Walk) -> bool:
    """Whether a node is computed from constants alone; then it needs no rule."""
    return bool(node.inputs) and all(
        isinstance(walk.values.get(name), Fixed) for name in node.inputs
    )


def _barred(op: Unknown | Refused, places: list[str]) -> RefusedError:
    """The refusal of all places of one op: without a rule, or known to have no dense form."""
    where = places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")
    if isinstance(op, Refused):
        return RefusedError(
            f"{op.name} has no exact dense form.",
            where=where,
            why=op.why,
            hint="fullconv converts convolutional classifiers.",
        )
    return RefusedError(
        f"there is no rule for {op.name}.",
        where=where,
        why="An op is never guessed to be harmless.",
        hint="docs/extending.md shows how to add a rule"
        + (f":\n    {op.line}" if op.line else "."),
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
    if type(node.op) in LOOKS_AROUND:
        return True
    return isinstance(node.op, Convolution | Pool) and any(
        sweep.kernel > 1 or sweep.pads for sweep in node.op.sweeps
    )
