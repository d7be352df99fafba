"""The two kinds of passes: over whole images, whose maps are averaged, and over their crops.

Dense evaluation averages the score map over space and then makes probabilities of it (Simonyan &
Zisserman 2015, section 3.2). Crops are classified each by itself, and their probabilities are
averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from fullconv.evaluate.scoring import probabilities_of, score
from fullconv.evaluate.words import AVERAGES, BATCH, check_choice
from fullconv.hosts.torch_fx.fcn import FCN

GRID = 5
"""Crops along each axis in multi-crop evaluation: 5 × 5, 50 with flips (VGG, section 3.2)."""

Place = tuple[int, ...]
"""Where a crop begins, px per axis."""


def dense(fcn: FCN, x: Tensor, *, average: str = "scores", where: str = "") -> Tensor:
    """Probabilities `(N, K)` of whole images `(N, C, H, W)`, from the average of their score maps.

    Args:
        fcn: the network.
        x: prepared images, at least the window.
        average: "scores" averages the map and then makes probabilities of it, as VGG's authors do;
            "probabilities" makes probabilities of every cell and averages them.
        where: names the images in errors.
    """
    check_choice("average", average, AVERAGES)
    scores = score(fcn, x, where)  # (N, K, rows, cols)
    cells = tuple(range(2, scores.ndim))
    if average == "scores":
        return probabilities_of(fcn, scores.mean(cells))
    return probabilities_of(fcn, scores).mean(cells)


def cropped(
    fcn: FCN, x: Tensor, places: Sequence[Place], *, batch_size: int = BATCH, where: str = ""
) -> Tensor:
    """Probabilities `(N, K)` of images `(N, C, H, W)`: the mean over their crops at `places`.

    Every crop is one window and sees nothing beyond it, so that a zero-padding network has its
    border of zeros around each.
    """
    total: Tensor | None = None
    window = fcn.window
    cuts = [
        x[(slice(None), slice(None), *(slice(a, a + n) for a, n in zip(at, window, strict=True)))]
        for at in places
    ]
    each = max(1, batch_size // len(x))
    for first in range(0, len(cuts), each):
        batch = cuts[first : first + each]
        scores = score(fcn, torch.cat(batch), where).flatten(2)[:, :, 0]  # (crops * N, K)
        part = torch.unflatten(probabilities_of(fcn, scores), 0, (len(batch), len(x))).sum(0)
        total = part if total is None else total + part
    assert total is not None
    return total / len(cuts)


def centre(size: Sequence[int], window: Sequence[int]) -> list[Place]:
    """The place of the centre crop, px; where it cannot be centred it lies half a px before."""
    return [tuple((n - w) // 2 for n, w in zip(size, window, strict=True))]


def regular(size: Sequence[int], window: Sequence[int], count: int = GRID) -> list[Place]:
    """The places of `count` × `count` crops from border to border, evenly spaced, in whole px."""
    steps = max(1, count - 1)
    lines = [
        # Rounded to the nearest px, halves up, in whole numbers.
        [(2 * i * (n - w) + steps) // (2 * steps) for i in range(count)]
        if count > 1
        else [(n - w) // 2]
        for n, w in zip(size, window, strict=True)
    ]
    return list(product(*lines))
