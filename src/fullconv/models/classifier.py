"""A loaded classifier, and what has to be known to feed it images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from fullconv.errors import UsageError

NOT_LOADED = "not loaded (architecture only)"


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier with its input and its output described.

    Attributes:
        module: the network, in eval mode.
        form: the MODEL word it was loaded from.
        window: the input size it was built for in px, per axis; None where nothing says so.
        classes: one name per score; None where the scores have no known names.
        mean, std: for pixels scaled to 0..1; one number per channel, or a single one for all.
        weights: where the weights came from, in words.
        shortest: the shortest side, px, to which images are scaled when the classifier is tested;
            None where nothing says so.

    Raises UsageError if `mean` and `std` do not go together.
    """

    module: nn.Module
    form: str
    window: tuple[int, ...] | None
    classes: tuple[str, ...] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    shortest: int | None = None

    def __post_init__(self) -> None:
        self.module.eval()
        if not self.mean or len(self.mean) != len(self.std) or not all(s > 0 for s in self.std):
            raise UsageError(
                f"the mean {self.mean} and the std {self.std} do not go together.",
                where=self.form,
                hint="Give both as many numbers as there are channels, or one; every std is > 0.",
            )
        if self.shortest is not None and self.shortest < 1:
            raise UsageError(
                f"the shortest side {self.shortest} px cannot be.",
                where=self.form,
                hint="Give a whole number above 0.",
            )


@contextmanager
def repeatable() -> Iterator[None]:
    """Random weights drawn inside are the same in every run; the global generator is left alone.

    `convert net:random` and `check net:random` are two runs that mean one network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield
