"""The variants of a network by their names."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from fullconv.allconv.build import all_convolutional
from fullconv.allconv.plan import AllConvPlan, is_head
from fullconv.allconv.plan import Step as Change
from fullconv.errors import UsageError, near
from fullconv.study.words import VARIANTS

CHANGES = {
    "exact": ("keep", "exact"),
    "gap": ("keep", "gap"),
    "strided": ("strided", "gap"),
    "convpool": ("convpool", "gap"),
    "allconv": ("conv", "gap"),
}
"""`pools` and `head` of `fullconv.all_convolutional`; the network itself is "fc"."""


def checked_variants(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once. Raises UsageError for none, and for one that is not known."""
    for name in names:
        if name not in VARIANTS:
            raise UsageError(
                f"{name!r} is no variant.",
                why=f"There are {', '.join(VARIANTS)}.",
                hint=near(name, VARIANTS),
            )
    if not names:
        raise UsageError("no variant is named.", hint=f"Name some of {', '.join(VARIANTS)}.")
    return tuple(dict.fromkeys(names))


def build(name: str, base: nn.Module, window: tuple[int, ...], seed: int) -> nn.Module:
    """A variant of `base` with parameters of its own; `base` stays as it is.

    What it shares with the base starts as it is there; what is new and random follows from `seed`.
    """
    if name == "fc":
        return copy.deepcopy(base)
    pools, head = CHANGES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return all_convolutional(base, window, pools=pools, head=head)


def head_parameters(name: str, plan: AllConvPlan) -> int:
    """How many parameters of a variant lie behind the body; `plan` is that of any variant of it."""
    heads: list[Change] = [] if name == "fc" else [step for step in plan.steps if is_head(step)]
    return plan.head_before + sum(step.added for step in heads)
