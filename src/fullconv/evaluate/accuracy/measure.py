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

from fullconv.errors import FullconvError
from fullconv.evaluate.accuracy.evaluations import Evaluations, Posteriors, checked, mean
from fullconv.evaluate.accuracy.table import (
    ABSENT,
    EVERY,
    ORDER,
    Accuracies,
    Problem,
    Row,
    evaluated,
)
from fullconv.evaluate.dense.batches import Loaded, batches, loaded
from fullconv.evaluate.dense.posteriors import BATCH
from fullconv.evaluate.dense.protocol import Views, chosen_scales, views
from fullconv.evaluate.preparation import prepared
from fullconv.evaluate.scales import Given, Scale
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import FCN
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
    evaluations: Iterable[str] = ORDER,
    batch_size: int = BATCH,
    max_memory: int | None = None,
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
        progress: told how many images are done.

    Images that cannot be read, are smaller than the window at every scale, or do not fit the
    memory are left out and listed in `problems`. Raises NothingEvaluated (an InputError) if none is
    left, InputError if weights are not finite, UsageError for options or labels that do not fit the
    network.
    """
    asked = checked(
        fcn, dataset.labels, evaluations, flip, average, batch_size=batch_size, limit=max_memory
    )
    chosen = chosen_scales(fcn, scales)
    ranks = _Ranks(dataset.labels, asked.names, chosen)
    problems: list[Problem] = []
    names, done = dataset.names, 0

    def read(index: int) -> Views:
        x = prepared(dataset.image(index), fcn.about.mean, fcn.about.std)
        return views(x, chosen, fcn.window, names[index])

    for batch in batches(loaded(range(len(dataset)), read), batch_size):
        for some in _alike(batch):
            problems += _score(some, names, asked, ranks)
            done += len(some)
            if progress is not None:
                progress(done, len(dataset))
    problems.sort(key=lambda problem: problem.index)
    found = Accuracies(
        rows=tuple(ranks.rows()),
        labels=dataset.labels,
        classes=asked.classes,
        problems=tuple(problems),
        flip=flip,
        average=average,
        remarks=(*dataset.remarks, *ranks.left_out(problems, fcn.window)),
    )
    return evaluated(found)


def _alike(batch: list[Loaded[int]]) -> Iterator[list[Loaded[int]]]:
    """The images of a batch, parted where equal sizes belong to other scales."""
    parts: dict[tuple[Scale, ...], list[Loaded[int]]] = {}
    for image in batch:
        parts.setdefault(image.views.skipped if image.views else (), []).append(image)
    yield from parts.values()


def _score(
    images: list[Loaded[int]], names: Sequence[str], asked: Evaluations, ranks: _Ranks
) -> list[Problem]:
    """Enter the ranks of images of one size; an image that fails does not take others with it."""
    first, where = images[0], names[images[0].source]
    if first.views is None:
        return [_problem(first.source, where, first.error)]
    seen = [image.views for image in images if image.views is not None]
    scales = [scale for scale in ranks.scales if scale not in first.views.skipped]
    try:
        found = asked.posteriors(seen, scales, where)
    except FullconvError as error:
        if error.where != where:
            raise  # of the network, not of the images
        if len(images) == 1:
            return [_problem(first.source, where, error)]
        alone = [_score([image], names, asked, ranks) for image in images]
        return [problem for some in alone for problem in some]
    ranks.enter([image.source for image in images], found)
    return []


def _problem(index: int, name: str, error: FullconvError | None) -> Problem:
    assert error is not None
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

    def enter(self, indices: Sequence[int], posteriors: Posteriors) -> None:
        """Take the probabilities of some images."""
        labels = torch.from_numpy(self._labels[list(indices)])
        for (evaluation, scale), ranks in self._ranks.items():
            scales = self.scales if scale is None else (scale,)
            fits = [posteriors[evaluation, s] for s in scales if (evaluation, s) in posteriors]
            if fits:
                ranks[list(indices)] = rank(mean(fits), labels)

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
