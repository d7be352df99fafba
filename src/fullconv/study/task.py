"""One run of a study: a variant, trained with a seed and tested once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from fullconv.study.folder import Folder
from fullconv.study.value import Run
from fullconv.study.variants import build
from fullconv.training.answers import error_of, predictions
from fullconv.training.distilling import distill
from fullconv.training.failures import Diverged
from fullconv.training.fresh import start_afresh
from fullconv.training.loop import train
from fullconv.training.recipe import Recipe
from fullconv.training.samples import Samples
from fullconv.training.state import Epoch

Pair = tuple[str, int]
"""A variant and a seed."""

Note = Callable[[str, int, Epoch], object]
"""Told every epoch with its variant and seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What all runs of a study have in common.

    Attributes:
        model: the network as it was given.
        window: px per axis.
        probabilities: whether it ends in a softmax or a logistic function.
        train, test: the images.
        recipe: how to train; the seed is that of the run.
        temperature: of the answers that variants learn from the network; None trains from scratch.
    """

    model: nn.Module
    window: tuple[int, ...]
    probabilities: bool
    train: Samples
    test: Samples
    recipe: Recipe
    temperature: float | None = None

    def base(self, seed: int) -> nn.Module:
        """What the variants of a seed are made of: the network, from scratch with new weights."""
        base = copy.deepcopy(self.model)
        return base if self.temperature is not None else start_afresh(base, seed)

    def network(self, variant: str, seed: int) -> nn.Module:
        """A variant before its training."""
        return build(variant, self.base(seed), self.window, seed)

    def error(self, network: nn.Module) -> float:
        """Top-1 error in % on the test images, in batches as large as those of training."""
        batch = self.recipe.batch
        found = predictions(network, self.test, probabilities=self.probabilities, batch=batch)
        return error_of(found, self.test.labels)


def in_turn(task: Task, folder: Folder, pairs: Sequence[Pair], note: Note) -> Iterator[Run]:
    """Every run, one after the other, in this process."""
    for variant, seed in pairs:
        yield run(task, folder, variant, seed, note)


def run(task: Task, folder: Folder, variant: str, seed: int, note: Note) -> Run:
    """Train and test a variant, or go on with it; what it comes to is kept in the folder."""
    found = folder.found(variant, seed)
    if found is not None:
        return found
    network = task.network(variant, seed)
    epochs: list[Epoch] = []

    def noted(epoch: Epoch) -> None:
        epochs.append(epoch)
        note(variant, seed, epoch)

    error, failed = None, ""
    try:
        _train(task, network, seed, folder, variant, noted)
        error = task.error(network)
    except Diverged as reason:
        failed = str(reason)
    ended = Run(
        variant,
        seed,
        error,
        tuple(epochs),
        sum(parameter.numel() for parameter in network.parameters()),
        sum(epoch.seconds for epoch in epochs),
        failed,
        torch.get_num_threads(),
        str(torch.__version__),
        next(network.parameters()).device.type,
    )
    folder.keep(ended)
    return ended


def _train(
    task: Task,
    network: nn.Module,
    seed: int,
    folder: Folder,
    variant: str,
    note: Callable[[Epoch], object],
) -> None:
    recipe, state = replace(task.recipe, seed=seed), folder.state(variant, seed)
    if task.temperature is None:
        train(
            network,
            task.train,
            recipe,
            probabilities=task.probabilities,
            state=state,
            note=note,
        )
    else:
        distill(
            network,
            copy.deepcopy(task.model),
            task.train,
            recipe,
            temperature=task.temperature,
            probabilities=task.probabilities,
            state=state,
            note=note,
        )
