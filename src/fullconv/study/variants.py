"""The variants of a network by their names."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from fullconv.allconv.build import all_convolutional
from fullconv.allconv.build import plan as plan_variant
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


def head_parameters(name: str, model: nn.Module, window: tuple[int, ...]) -> int:
    """How many parameters of a variant of `model` only the layers behind the body use."""
    pools, head = CHANGES[name if name in CHANGES else "exact"]
    plan = plan_variant(model, window, pools=pools, head=head)
    return plan.new_head if name in CHANGES else plan.in_head
