"""The evaluations that stand side by side: each posterior is computed once, then combined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fullconv.api.memory import Budget
from fullconv.errors import InputError, UsageError
from fullconv.evaluate.accuracy.table import ORDER
from fullconv.evaluate.dense.posteriors import (
    AVERAGES,
    centre,
    check_choice,
    cropped,
    dense,
    flipped_too,
    regular,
)
from fullconv.evaluate.dense.protocol import Views
from fullconv.evaluate.preparation import check_fcn, check_preparation
from fullconv.evaluate.scales import Scale
from fullconv.hosts.torch_fx.fcn import FCN

Posteriors = dict[tuple[str, Scale], Tensor]
"""Probabilities `(N, K)` by evaluation and scale; a scale that does not fit is left out."""


@dataclass(frozen=True, slots=True)
class Evaluations:
    """A network and the evaluations that were asked for.

    Attributes:
        fcn: the network.
        names: of the evaluations, in the order of the table.
        flip: whether dense and multi-crop evaluation average in the mirror image.
        average: what dense evaluation averages over the map.
        batch_size: crops in one call of the network, at most.
        budget: what fits the memory.
    """

    fcn: FCN
    names: tuple[str, ...]
    flip: bool
    average: str
    batch_size: int
    budget: Budget

    @property
    def classes(self) -> int:
        """How many there are; a single score is the probability of the second of two."""
        return max(2, self.fcn.plan.outputs)

    def posteriors(self, seen: Sequence[Views], scales: Sequence[Scale], where: str) -> Posteriors:
        """Probabilities of images of one size, named by `where`.

        Raises InputError for scores that are not finite and for a pass that does not fit.
        """
        found: Posteriors = {}
        for number, scale in enumerate(scales):
            x = torch.cat([one.images[number] for one in seen])  # (N, C, H, W)
            parts = [
                self._at_one_scale(part, where) for part in torch.split(x, self._most(x, where))
            ]
            for name in self.names:
                found[name, scale] = torch.cat([part[name] for part in parts])
        return found

    def _most(self, x: Tensor, where: str) -> int:
        """How many of the images fit in one pass."""
        whole = not {"dense", "both"}.isdisjoint(self.names)
        size = tuple(x.shape[2:]) if whole else self.fcn.window
        try:
            return self.budget.images(size, len(x))
        except InputError as error:
            raise InputError(error.what, where=where, why=error.why, hint=error.hint) from error

    def _at_one_scale(self, x: Tensor, where: str) -> dict[str, Tensor]:
        fcn, size, wanted = self.fcn, x.shape[2:], set(self.names)
        found: dict[str, Tensor] = {}
        views = flipped_too(x, self.flip)
        if "centre" in wanted:
            found["centre"] = self._crops(x, centre(size, fcn.window), where)
        if wanted & {"dense", "both"}:
            found["dense"] = mean(
                [dense(fcn, view, average=self.average, where=where) for view in views]
            )
        if wanted & {"multi-crop", "both"}:
            places = regular(size, fcn.window)
            found["multi-crop"] = mean([self._crops(view, places, where) for view in views])
        if "both" in wanted:
            found["both"] = mean([found["dense"], found["multi-crop"]])
        return found

    def _crops(self, x: Tensor, places: Sequence[tuple[int, ...]], where: str) -> Tensor:
        most = self.budget.images(self.fcn.window, self.batch_size)
        return cropped(self.fcn, x, places, batch_size=most, where=where)


def checked(
    fcn: FCN,
    labels: npt.NDArray[np.int64],
    evaluations: Iterable[str],
    flip: bool,
    average: str,
    *,
    batch_size: int,
    limit: int | None,
) -> Evaluations:
    """What was asked for. Raises UsageError for what is not known or does not fit the network."""
    check_fcn(fcn, "an evaluation")
    check_choice("average", average, AVERAGES)
    check_preparation(fcn.plan.channels, fcn.about.mean, fcn.about.std)
    if batch_size < 1:
        raise UsageError(f"batch_size={batch_size} must be at least 1.")
    given = (evaluations,) if isinstance(evaluations, str) else tuple(evaluations)
    for name in given:
        check_choice("evaluation", name, ORDER)
    if not given:
        raise UsageError("no evaluation was asked for.", hint=f"Name some of {', '.join(ORDER)}.")
    names = tuple(name for name in ORDER if name in given)
    asked = Evaluations(fcn, names, flip, average, batch_size, Budget(fcn, limit))
    if len(labels) and not (labels.min() >= 0 and labels.max() < asked.classes):
        raise UsageError(
            f"labels reach from {labels.min()} to {labels.max()}, for {asked.classes} classes."
        )
    return asked


def mean(parts: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape."""
    return torch.stack(tuple(parts)).mean(0)
