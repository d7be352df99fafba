"""The score maps of an image at several sizes, mirrored or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fullconv.api.memory import Budget, written_bytes
from fullconv.errors import InputError
from fullconv.evaluate.preparation import resized
from fullconv.evaluate.scales import Scale
from fullconv.evaluate.scoring import probabilities_of, score
from fullconv.geometry import Grid
from fullconv.hosts.torch_fx.fcn import FCN

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreMap:
    """What a network gives for an image at one size.

    Attributes:
        scale: the size that was asked for.
        scores: the network's own scores, `(K, rows, cols)`; of the image as it is, also where its
            mirror image was scored too.
        probabilities: `(K, rows, cols)`: softmax over the classes, the logistic function for a
            single score, or the scores themselves if the network already ends in a softmax or a
            logistic function. With flip the mean of those of the image and of its mirror image.
        grid: which window of the scaled image each cell stands for.
    """

    scale: Scale
    scores: Floats
    probabilities: Floats
    grid: Grid


def scored(fcn: FCN, x: Tensor, scale: Scale, flip: bool, where: str) -> ScoreMap:
    """The map of a prepared image `(1, C, H, W)` at a scale.

    With `flip` the mirror image of what the windows cover is scored as well, and the probabilities
    of both are averaged, window by window.
    """
    x = resized(x, scale.size(tuple(x.shape[2:])))
    grid = fcn.grid(tuple(x.shape[2:]))
    scores = score(fcn, x, where)  # (1, K, rows, cols)
    probabilities = probabilities_of(fcn, scores)
    if flip:
        # Without the rest beyond the last window, so that windows lie on windows.
        width = grid.axes[1].span(grid.shape[1] - 1)[1]
        mirrored = score(fcn, x[..., :width].flip(-1), where)
        probabilities = (probabilities + probabilities_of(fcn, mirrored).flip(-1)) / 2
    return ScoreMap(scale, scores[0].float().numpy(), probabilities[0].float().numpy(), grid)


def held_bytes(fcn: FCN, sizes: Iterable[tuple[int, ...]], flip: bool) -> int:
    """Memory that the maps of an image at several sizes in px take, beside the passes.

    Scores and probabilities of every class are kept for each, as float32; while one is made, the
    mirror image has its own.
    """
    cells = [len(fcn.grid(size)) for size in sizes]
    return 4 * fcn.plan.outputs * (2 * sum(cells) + (3 if flip else 1) * max(cells))


def check_memory(
    fcn: FCN, sizes: Sequence[tuple[int, ...]], flip: bool, max_memory: int | None, where: str
) -> None:
    """Raise InputError if the passes over an image at these sizes, or their maps, do not fit."""
    held = held_bytes(fcn, sizes, flip)
    limit = max_memory if max_memory is not None else Budget(fcn).limit
    if held >= limit:
        left = "free" if max_memory is None else "allowed"
        raise InputError(
            f"the maps of {fcn.plan.outputs:,} classes take {written_bytes(held)} of memory, and "
            f"{written_bytes(limit)} is {left}.",
            where=where,
            hint="Take a larger stride, fewer or smaller scales, or cut the image into parts.",
        )
    budget = Budget(fcn, None if max_memory is None else max_memory - held, held)
    for size in sizes:
        budget.admit(size, where=where)


def best_classes(maps: Iterable[ScoreMap], count: int) -> list[int]:
    """The classes with the highest probability in any window, the best first."""
    peaks = np.max([m.probabilities.max(axis=(1, 2)) for m in maps], axis=0)
    return [int(index) for index in np.argsort(-peaks, kind="stable")[:count]]
