"""The variants of a network by their names."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import fullconv
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


def checked_variants(names: tuple[str, ...]) -> tuple[str, ...]:
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "exact":
            return Averaged(fullconv.convert(copy.deepcopy(base), window))
        pools, head = CHANGES[name]
        made: nn.Module = fullconv.all_convolutional(base, window, pools=pools, head=head)
        return made


class Averaged(nn.Module):
    """An FCN whose scores are averaged over the map."""

    def __init__(self, fcn: nn.Module) -> None:
        super().__init__()
        self.fcn = fcn

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, K)`."""
        scores: Tensor = self.fcn(x).mean((2, 3))
        return scores
