"""The table of rules: what every op does to space, one small file per family."""

from __future__ import annotations

from fullconv.blueprint import Elementwise, Identity, Linear, MatMul, Permute, Reshape
from fullconv.surgery.rules import (
    attention,
    context,
    enlarging,
    features,
    joining,
    pointwise,
    shapes,
    sweeping,
    taking,
    whole,
)
from fullconv.surgery.rules.attention import ATTENTION
from fullconv.surgery.rules.rule import Outcome, Rule, Setting


def merge(*tables: dict[type, Rule]) -> dict[type, Rule]:
    """One table of several; an op in two of them is a mistake."""
    merged: dict[type, Rule] = {}
    for table in tables:
        for op, rule in table.items():
            if op in merged:
                raise ValueError(f"two rules for {op.__name__}")
            merged[op] = rule
    return merged


RULES = merge(
    sweeping.RULES,
    whole.RULES,
    context.RULES,
    attention.RULES,
    shapes.RULES,
    taking.RULES,
    enlarging.RULES,
    features.RULES,
    joining.RULES,
    pointwise.RULES,
)

LOOKS_AROUND: dict[type, bool] = {}
"""Ops that look at neighbouring cells; of convolutions and pools their sweeps say whether."""

WAITS_FOR_BINS: frozenset[type] = frozenset({Linear, Reshape, Permute, Identity})
"""Ops that may see a map whose overlapping bins have not been averaged yet."""

WAITS_FOR_BLOCKS: frozenset[type] = frozenset({Elementwise, Reshape, Permute, Identity})
"""Ops that may see a map whose cells are in blocks that have not become channels yet."""

WAITS_FOR_SOFTMAX: frozenset[type] = frozenset({MatMul, Reshape, Permute, Identity})
"""Ops that may see weights whose softmax over the map has not been taken yet."""

__all__ = [
    "ATTENTION",
    "LOOKS_AROUND",
    "RULES",
    "WAITS_FOR_BINS",
    "WAITS_FOR_BLOCKS",
    "WAITS_FOR_SOFTMAX",
    "Outcome",
    "Rule",
    "Setting",
]
