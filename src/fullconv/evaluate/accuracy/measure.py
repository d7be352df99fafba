"""A network on labelled images: centre crop, dense evaluation, multi-crop and both, side by side.

The tables 3, 4 and 5 of Simonyan & Zisserman 2015 for any network and data. Dense evaluation
averages scores over space; between flips, scales and evaluations probabilities are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fullconv.api.memory import Budget
from fullconv.errors import FullconvError, UsageError
from fullconv.evaluate.accuracy.table import ABSENT, EVERY, Accuracies, Problem, Row, evaluated
from fullconv.evaluate.dense.batches import batches, beside, loaded
from fullconv.evaluate.dense.evaluations import Evaluations, mean
from fullconv.evaluate.dense.scored import Found, scored
from fullconv.evaluate.dense.views import Views, chosen_scales, views_of
from fullconv.evaluate.preparation import check_fcn, check_preparation
from fullconv.evaluate.scales import Given, Scale
from fullconv.evaluate.words import BATCH, EVALUATIONS
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.storage import MAX_PIXELS
from fullconv.storage.datasets import Dataset

Progress = Callable[[int, int], None]
"""Called with how many images are done, and of how many."""


def accuracy(
    fcn: FCN,
    dataset: Dataset,
    *,
    scales: Given | Scale | Iterable[Given | Scale] | None = None,
    flip: bool = True,
    average: str = "scores",
    evaluations: Iterable[str] = EVALUATIONS,
    batch_size: int = BATCH,
    max_memory: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> Accuracies:
    """How often the right class is the first, or among the first five, of every evaluation.

    Args:
        fcn: the network, with `fcn.about` saying how pixels become numbers. Run in inference mode.
        dataset: labelled images, from `fullconv.storage.datasets.open_dataset`.
        scales: sizes to which images are scaled; by default `fcn.about.shortest`, where it is
            known, else the image as it is. Each is evaluated by itself, and all together by the
            average of their probabilities.
        flip: whether dense and multi-crop evaluation average in the mirror image. The centre crop
            is one crop, as a plain classifier sees it.
        average: what dense evaluation averages over the map, "scores" or "probabilities".
        evaluations: any of "centre", "dense", "multi-crop" and "both", the mean of the two before.
        batch_size: images of equal size that are scored together, and crops in one call, at most.
        max_memory: bytes that a pass may need beside the weights; by default what is available.
        max_pixels: no image is scaled to more than so many.
        progress: told how many images are done.

    Images that cannot be read, are smaller than the window at every scale, or do not fit the
    memory are left out and listed in `problems`. Raises NothingEvaluated (an InputError) if none is
    left, InputError if weights are not finite, UsageError for options or labels that do not fit the
    network.
    """
    budget = Budget(fcn, max_memory, beside(fcn, len(dataset)))
    asked = _asked(fcn, evaluations, flip, average, batch_size, budget)
    _check_labels(fcn, dataset.labels)
    chosen = chosen_scales(fcn, scales)
    ranks = _Ranks(dataset.labels, asked.names, chosen)
    problems = _ranked(dataset, asked, ranks, max_pixels, progress)
    result = Accuracies(
        rows=tuple(ranks.rows()),
        labels=dataset.labels,
        classes=max(2, fcn.plan.outputs),
        problems=tuple(problems),
        flip=flip,
        average=average,
        remarks=(*dataset.remarks, *ranks.left_out(problems, fcn.window)),
    )
    return evaluated(result)


def _ranked(
    dataset: Dataset,
    asked: Evaluations,
    ranks: _Ranks,
    max_pixels: int,
    progress: Progress | None,
) -> list[Problem]:
    """Enter the ranks of all images; what is wrong with the others, in their order."""
    names, limit = dataset.names, asked.budget.limit
    problems: list[Problem] = []
    done = 0

    def read(index: int) -> Views:
        return views_of(dataset.image(index), ranks.scales, asked.fcn, max_pixels, limit=limit)

    coming = loaded(range(len(dataset)), read, name=names.__getitem__)
    for batch in batches(coming, asked.batch_size):
        for image, found in zip(batch, scored(asked, batch, names.__getitem__), strict=True):
            if isinstance(found, FullconvError):
                problems.append(_problem(image.source, names[image.source], found))
            else:
                ranks.enter(image.source, found)
        done += len(batch)
        if progress is not None:
            progress(done, len(dataset))
    return sorted(problems, key=lambda problem: problem.index)


def _asked(
    fcn: FCN,
    evaluations: Iterable[str],
    flip: bool,
    average: str,
    batch_size: int,
    budget: Budget,
) -> Evaluations:
    """What was asked for. Raises UsageError for what is not known or does not fit the network."""
    check_fcn(fcn, "an evaluation")
    check_preparation(fcn.plan.channels, fcn.about.mean, fcn.about.std)
    given = (evaluations,) if isinstance(evaluations, str) else tuple(evaluations)
    # In the order of the table; what is not known comes last, to be refused.
    names = (*(name for name in EVALUATIONS if name in given), *(set(given) - set(EVALUATIONS)))
    mirrored = ("dense", "multi-crop") if flip else ()
    return Evaluations(fcn, budget, names, mirrored, average, batch_size)


def _check_labels(fcn: FCN, labels: npt.NDArray[np.int64]) -> None:
    """Raise UsageError for labels that are no classes of the network."""
    classes = max(2, fcn.plan.outputs)  # a single score is the probability of the second of two
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise UsageError(
            f"labels reach from {labels.min()} to {labels.max()}, for {classes} classes."
        )


def _problem(index: int, name: str, error: FullconvError) -> Problem:
    return Problem(index, name, " ".join(part for part in (error.what, error.why) if part))


class _Ranks:
    """Fills in, for every row of the table, how many classes go before the right one."""

    def __init__(
        self, labels: npt.NDArray[np.int64], evaluations: Sequence[str], scales: Sequence[Scale]
    ) -> None:
        self._labels, self._first = labels, evaluations[0]
        self.scales = tuple(scales)
        every = [None] if len(self.scales) > 1 else []
        self._ranks = {
            (evaluation, scale): np.full(len(labels), ABSENT, np.int64)
            for scale in (*self.scales, *every)
            for evaluation in evaluations
        }

    def enter(self, index: int, found: Found) -> None:
        """Take the probabilities of an image."""
        label = torch.from_numpy(self._labels[index : index + 1])
        for (evaluation, scale), ranks in self._ranks.items():
            scales = self.scales if scale is None else (scale,)
            fits = [found[evaluation, s] for s in scales if (evaluation, s) in found]
            if fits:
                ranks[index] = rank(mean(fits)[None], label)[0]

    def rows(self) -> Iterator[Row]:
        """The rows at which some image could be evaluated."""
        for (evaluation, scale), ranks in self._ranks.items():
            if (ranks != ABSENT).any():
                yield Row(evaluation, EVERY if scale is None else str(scale), ranks)

    def left_out(self, problems: Sequence[Problem], window: tuple[int, ...]) -> Iterator[str]:
        """A remark on every scale at which some of the evaluated images hold no window."""
        kept = np.ones(len(self._labels), np.bool_)
        kept[[problem.index for problem in problems]] = False
        for scale in self.scales:
            absent = kept & (self._ranks[self._first, scale] == ABSENT)
            if absent.any():
                yield (
                    f"{scale}: left out for {int(absent.sum()):,} of {int(kept.sum()):,} images, "
                    f"smaller there than the {times(window)} window"
                )


def rank(probabilities: Tensor, labels: Tensor) -> npt.NDArray[np.int64]:
    """How many classes go before the right one, `(N,)`, of probabilities `(N, K)`.

    0 is right, below 5 is among the first five. Of equal ones the first class goes first, as
    argmax has it. A single score is the probability of class 1, that of class 0 is the rest.
    """
    if probabilities.shape[1] == 1:
        probabilities = torch.cat([1 - probabilities, probabilities], 1)
    own = probabilities.gather(1, labels[:, None])  # (N, 1)
    earlier = torch.arange(probabilities.shape[1]) < labels[:, None]
    before = (probabilities > own) | ((probabilities == own) & earlier)
    ranks: npt.NDArray[np.int64] = before.sum(1).numpy()
    return ranks
