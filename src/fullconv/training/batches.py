"""The batches of an epoch: which images, mirrored and shifted how; all from one seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fullconv.errors import InputError
from fullconv.geometry import times
from fullconv.training.recipe import Recipe
from fullconv.training.samples import Samples


def steps_of(samples: Samples, recipe: Recipe) -> int:
    """How many batches an epoch has: every image is in one, and none is much smaller."""
    return -(-len(samples) // recipe.batch)


def check_shift(samples: Samples, recipe: Recipe) -> None:
    """Raise InputError for images that are too small to be shifted so far with reflection."""
    if recipe.shift >= min(samples.size):
        raise InputError(
            f"images of {times(samples.size)} px cannot be shifted by {recipe.shift} px.",
            why="What moves in is the reflection of the image.",
            hint=f"Shift by at most {min(samples.size) - 1} px.",
        )


def epoch_batches(
    samples: Samples, recipe: Recipe, random: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Prepared images `(n, C, H, W)`, channels last in memory, with their labels `(n,)`.

    Every image once, in random order.
    """
    rows_last = samples.pixels.permute(0, 2, 3, 1)  # (N, H, W, C), contiguous
    device = samples.pixels.device
    order = random.permutation(len(samples))
    for chosen in np.array_split(order, steps_of(samples, recipe)):
        rows, cols = (
            _places(len(chosen), size, recipe.shift, random) for size in samples.size
        )  # (n, H) and (n, W): from where each row and column is taken
        if recipe.flip:
            mirrored = random.random(len(chosen)) < 0.5
            cols = np.where(mirrored[:, None], cols[:, ::-1], cols)
        index = torch.from_numpy(chosen).to(device)
        if recipe.flip or recipe.shift:
            at_rows = torch.from_numpy(rows).to(device)[:, :, None]
            at_cols = torch.from_numpy(np.ascontiguousarray(cols)).to(device)[:, None, :]
            pixels = rows_last[index[:, None, None], at_rows, at_cols]  # (n, H, W, C)
        else:
            pixels = rows_last[index]
        yield samples.prepared(pixels.permute(0, 3, 1, 2)), samples.labels[index]


def _places(
    count: int, size: int, shift: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Where the px of `count` shifted lines come from, `(count, size)`, reflected at the ends."""
    places = np.arange(size)[None] + (
        random.integers(-shift, shift + 1, (count, 1)) if shift else np.zeros((count, 1), np.int64)
    )
    places = np.abs(places)
    reflected: npt.NDArray[np.int64] = size - 1 - np.abs(size - 1 - places)
    return reflected
