"""Images of one form scored together, so that one that fails does not take others with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from fullconv.errors import FullconvError, InputError
from fullconv.evaluate.dense.batches import Loaded
from fullconv.evaluate.dense.evaluations import Evaluations
from fullconv.evaluate.dense.views import Views
from fullconv.evaluate.scales import Scale
from fullconv.evaluate.scoring import WeightsError

S = TypeVar("S")

Found = dict[tuple[str, Scale], Tensor]
"""Probabilities `(K,)` of an image, by evaluation and scale."""


def scored(
    asked: Evaluations, batch: Sequence[Loaded[S]], name: Callable[[S], str]
) -> list[Found | FullconvError]:
    """What is found of every image of a batch, or the error that says why there is nothing.

    The images are of one form, as `batches` puts them together; `name` names their sources. What is
    wrong with the network, not with an image, is raised.
    """
    first = batch[0]
    if first.error is not None:
        return [first.error]
    where = name(first.source)
    try:
        return list(_together(asked, [one.views for one in batch if one.views], where))
    except WeightsError:
        raise
    except FullconvError as error:
        if not isinstance(error, InputError) and error.where != where:
            raise
        if len(batch) > 1:
            return [found for one in batch for found in scored(asked, [one], name)]
        return [type(error)(error.what, where=where, why=error.why, hint=error.hint)]


def _together(asked: Evaluations, seen: list[Views], where: str) -> list[Found]:
    every: list[Found] = [{} for _ in seen]
    for number, scale in enumerate(seen[0].scales):
        images = [one.images[number] for one in seen]
        x = images[0] if len(images) == 1 else torch.cat(images)  # (N, C, H, W)
        for evaluation, rows in asked.probabilities(x, where).items():
            for found, row in zip(every, rows, strict=True):
                found[evaluation, scale] = row
    return every
