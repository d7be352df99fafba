"""What zero padding at the borders of crops does, apart from where the crops lie.

Dense evaluation differs from multi-crop evaluation in three things at once: where the windows lie,
whether scores or probabilities are averaged, and what each window sees around it. Here the crops
lie exactly where the cells of the map do, and their scores are averaged as the map's are: what is
left is the border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import fullconv
from fullconv import FCN, Grid
from fullconv.evaluate.accuracy import Accuracies, Row
from fullconv.evaluate.accuracy.bootstrap import mean_interval
from fullconv.evaluate.accuracy.measure import rank
from fullconv.evaluate.preparation import prepared, resized
from fullconv.evaluate.scales import Scale
from fullconv.evaluate.scoring import score
from fullconv.storage.datasets import Dataset

BATCH = 50
CROPS = 256  # in one call of the network
RESAMPLES = 2000  # of numbers that differ from image to image: each has its own weight

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cells:
    """Cells that lie alike: how far from the border of the image, at how many of its sides.

    Attributes:
        distance: px from the window to the nearest border of the image.
        sides: how many sides of the window lie on it.
        count: how many there are in a map.
    """

    distance: int
    sides: int
    count: int

    def __str__(self) -> str:
        return {2: "corner", 1: "one side"}.get(self.sides, f"{self.distance} px inside")


Counts = dict[str, npt.NDArray[Any]]
"""Numbers `(images,)` for cells that lie alike: see `NAMES`."""

NAMES = ("difference", "agreeing", "map_wrong", "crop_wrong")
"""Mean difference of scores; cells with the same best class; cells whose best class is wrong."""


def compare(
    model: nn.Module, fcn: FCN, dataset: Dataset, found: Accuracies, scales: Sequence[int], say: Say
) -> list[dict[str, Any]]:
    """Map against crops at its own cells: errors and gaps of every scale, JSON-serialisable.

    `found` has the multi-crop rows of the same images, with flips, for comparison.
    """
    labels = torch.from_numpy(dataset.labels)
    about = fcn.about
    x = torch.cat([prepared(dataset.image(i), about.mean, about.std) for i in range(len(dataset))])
    answers = []
    for shortest in scales:
        size = Scale(shortest=shortest).size(tuple(x.shape[2:]))
        grid = fcn.grid(size)
        parts = []
        for images, own in zip(x.split(BATCH), labels.split(BATCH), strict=True):
            parts.append(_compare(model, fcn, resized(images, size), own, grid))
            say(f"map and crops at {shortest} px: {len(parts) * BATCH:,} images")
        multi = found.row("multi-crop", shortest)
        answers.append({"scale": shortest, "cells": list(grid.shape), **_joined(parts, multi)})
    return answers


@dataclass(frozen=True)
class Part:
    """What was found for a batch of images."""

    by_map: npt.NDArray[np.int64]  # ranks, (N,)
    by_crops: npt.NDArray[np.int64]
    gaps: dict[Cells, Counts]
    largest: float
    spread: float


@torch.inference_mode()
def _compare(model: nn.Module, fcn: FCN, x: Tensor, labels: Tensor, grid: Grid) -> Part:
    """Images `(N, C, H, W)` at one scale, and their mirror images."""
    probabilities: dict[str, Tensor | float] = {"map": 0.0, "crops": 0.0}
    gaps: dict[Cells, Counts] = {}
    largest, spread = 0.0, 0.0
    for view in (x, x.flip(-1)):
        maps = {
            "map": score(fcn, view, "images"),  # (N, K, rows, cols)
            "crops": fullconv.sliding(model, view, grid.window, grid.stride, CROPS),
        }
        for name, scores in maps.items():
            probabilities[name] = probabilities[name] + scores.mean((2, 3)).softmax(1) / 2
        difference = (maps["map"] - maps["crops"]).abs()
        largest = max(largest, float(difference.max()))
        spread += float(maps["crops"].std()) / 2
        best = [scores.argmax(1) for scores in maps.values()]  # (N, rows, cols)
        wrong = [one != labels[:, None, None] for one in best]
        cellwise = (difference.mean(1), best[0] == best[1], *wrong)  # each (N, rows, cols)
        for cells, chosen in _alike(grid):
            own = gaps.setdefault(cells, {name: np.zeros(len(x)) for name in NAMES})
            for name, numbers in zip(NAMES, cellwise, strict=True):
                own[name] += numbers[:, chosen].double().sum(1).numpy()
    by_map, by_crops = (rank(probabilities[name], labels) for name in ("map", "crops"))
    return Part(by_map, by_crops, gaps, largest, spread)


def _alike(grid: Grid) -> Iterator[tuple[Cells, Tensor]]:
    """Masks `(rows, cols)` of the cells that lie alike."""
    kinds: dict[tuple[int, int], Tensor] = {}
    for cell in grid:
        top, left, bottom, right = grid.box(*cell)
        gaps = (top, left, grid.size[0] - bottom, grid.size[1] - right)
        kind = (min(gaps), -sum(gap == 0 for gap in gaps))  # the order of the table
        kinds.setdefault(kind, torch.zeros(grid.shape, dtype=torch.bool))[cell] = True
    for (distance, sides), mask in sorted(kinds.items(), key=lambda kind: kind[0]):
        yield Cells(distance, -sides, int(mask.sum())), mask


def _joined(parts: list[Part], multi: Row) -> dict[str, Any]:
    """The batches as one: errors, paired differences, and the gaps."""
    by_map = Row("map", "", np.concatenate([part.by_map for part in parts]))
    by_crops = Row("crops", "", np.concatenate([part.by_crops for part in parts]))
    spread = float(np.mean([part.spread for part in parts]))
    gaps = []
    for cells in parts[0].gaps:
        counts = {name: np.concatenate([p.gaps[cells][name] for p in parts]) for name in NAMES}
        # Of an image and its mirror image.
        gaps.append({"where": str(cells), **asdict(cells), **_numbers(counts, 2 * cells.count)})
    return {
        "dense": by_map.error().to_dict(),
        "crops": by_crops.error().to_dict(),
        "dense_minus_crops": by_map.difference(by_crops).to_dict(),
        "crops_minus_multi_crop": by_crops.difference(multi).to_dict(),
        "largest_difference": max(part.largest for part in parts),
        "score_deviation": spread,
        "gaps": gaps,
    }


def _numbers(counts: Counts, cells: int) -> dict[str, Any]:
    worse = counts["map_wrong"] - counts["crop_wrong"]
    estimates = {
        "difference": mean_interval(counts["difference"], scale=1 / cells, resamples=RESAMPLES),
        "agreement": mean_interval(counts["agreeing"], scale=100 / cells),
        "map_error": mean_interval(counts["map_wrong"], scale=100 / cells),
        "crop_error": mean_interval(counts["crop_wrong"], scale=100 / cells),
        "map_minus_crop": mean_interval(worse, scale=100 / cells),
    }
    return {name: estimate.to_dict() for name, estimate in estimates.items()}
