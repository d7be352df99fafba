"""Where a map differs from the classifier on crops: cell by cell, by distance from the border."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from fullconv.api.sliding import score_cells
from fullconv.auditing.answers.samples import (
    CROP_BATCH,
    Named,
    noise,
    patch,
    scaled,
    top_classes,
)
from fullconv.auditing.measuring.timing import Say
from fullconv.evaluate.scoring import score
from fullconv.geometry import Grid, times
from fullconv.hosts.torch_fx.fcn import FCN

MOST_CELLS = 512
"""Cells that are compared with their crops, at most, in all images together."""

LEAST_CELLS = 9
"""Cells that are compared with their crops in all images together, at least, where there are."""

CELLS_OF_AN_IMAGE = 16
"""There are no more images than give each so many cells, and no more than `MOST_IMAGES`."""

MOST_IMAGES = 4

WINDOWS = 9
"""A larger image than so many windows, by area, is looked at smaller."""

STRIDES = 6
"""Strides by which noise is larger than the window; at least those of an image that was smaller."""

LEAST_WINDOWS = 2.25
"""A map is of an image as large as so many windows, if it is large enough."""

MAP_SHARE = 0.25
"""Share of the crops that the maps may take instead."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One image whose map was compared with crops.

    Attributes:
        name: of the image.
        given: its size as it was given, px per axis.
        image: as it was looked at, `(1, C, *space)`: whole strides above the window.
        grid: of its map.
        cells: those that were compared.
        distance: of each cell's window from the border of the image, in whole native strides.
        difference: mean absolute difference of each cell's scores from those of its crop.
        changed: whether the top class of the cell is another one than that of its crop.
        scores: of the crops, `(cells, K)`.
        rings: by distance, how many cells the map has there.
    """

    name: str
    given: tuple[int, ...]
    image: Tensor
    grid: Grid
    cells: tuple[tuple[int, ...], ...]
    distance: tuple[int, ...]
    difference: tuple[float, ...]
    changed: tuple[bool, ...]
    scores: Tensor
    rings: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Band:
    """The cells whose windows are equally far from the border.

    Attributes:
        distance: in native strides, rounded down; 0 where the window touches the border.
        cells: how many were compared.
        difference: mean absolute difference of scores, in standard deviations of the scores.
        top1: share of cells with the top class of their crop.
        all_cells: how many there are in the maps.
    """

    distance: int
    cells: int
    difference: float
    top1: float
    all_cells: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a sample says of all cells of all maps: the rim and the rest weigh what they hold.

    Attributes:
        cells: how many there are.
        changed: share of cells with another top class than their crop.
        difference: mean absolute difference of scores, in standard deviations of the scores.
    """

    cells: int
    changed: float
    difference: float


def compare(
    model: nn.Module, fcn: FCN, images: Sequence[Named], crops: float, say: Say
) -> list[Compared]:
    """The map of every image against crops at a sample of its cells.

    In the type of the network, the map by the optimized FCN. Cells whose windows touch the border
    come first.

    Args:
        model: the classifier.
        fcn: its FCN.
        images: prepared; noise where there is none.
        crops: how many crops may be spent on all, also for maps of as much work.
        say: told what is being measured.
    """
    size = [w + STRIDES * s for w, s in zip(fcn.window, fcn.plan.native_stride, strict=True)]
    images = images or [noise(fcn.plan.channels, size)]
    count = max(LEAST_CELLS, min(MOST_CELLS, _rounded(int((1 - MAP_SHARE) * crops))))
    images = images[: max(1, min(MOST_IMAGES, count // CELLS_OF_AN_IMAGE))]
    area = max(LEAST_WINDOWS, min(WINDOWS, MAP_SHARE * crops / len(images)))
    fast, found = fcn.optimize(), []
    for image in images:
        say(f"crops and map of {image.name}")
        found.append(_compared(model, fast, image, area, count // len(images)))
    return found


def bands(compared: Sequence[Compared]) -> list[Band]:
    """What was compared, by distance from the border."""
    spread = _spread([one.scores for one in compared])
    rows: dict[int, list[tuple[float, bool]]] = {}
    for one in compared:
        cells = zip(one.distance, one.difference, one.changed, strict=True)
        for distance, difference, changed in cells:
            rows.setdefault(distance, []).append((difference, changed))
    return [
        Band(
            distance,
            len(cells),
            sum(difference for difference, _ in cells) / len(cells) / spread,
            sum(not changed for _, changed in cells) / len(cells),
            sum(one.rings.get(distance, 0) for one in compared),
        )
        for distance, cells in sorted(rows.items())
    ]


def estimate(compared: Sequence[Compared]) -> Estimate:
    """What the cells that were compared say of all cells.

    The rim is looked at more closely than the rest, within which the sample is even: of every
    image, either weighs as much as it has cells.
    """
    spread = _spread([one.scores for one in compared])
    cells = changed = difference = 0.0
    for one in compared:
        for at_rim in (True, False):
            found = [
                (apart, other)
                for distance, apart, other in zip(
                    one.distance, one.difference, one.changed, strict=True
                )
                if (distance == 0) is at_rim
            ]
            if found:
                held = sum(n for distance, n in one.rings.items() if (distance == 0) is at_rim)
                cells += held
                changed += held * sum(other for _, other in found) / len(found)
                difference += held * sum(apart for apart, _ in found) / len(found)
    return Estimate(round(cells), changed / cells, difference / cells / spread)


def distance_of(grid: Grid, cell: tuple[int, ...], stride: Sequence[int]) -> int:
    """Whole strides from the window of a cell to the nearest border of the image."""
    dims = len(cell)
    box = grid.box(*cell)
    return min(
        min(low, size - high) // step
        for low, high, size, step in zip(box[:dims], box[dims:], grid.size, stride, strict=True)
    )


def _compared(model: nn.Module, fcn: FCN, image: Named, area: float, count: int) -> Compared:
    pixels = _fitted(image.pixels, fcn, area)
    pixels = pixels.to(next(model.parameters(), pixels))
    size = tuple(pixels.shape[2:])
    grid = fcn.grid(size)
    native = fcn.plan.native_stride
    cells = _sample(grid, native, count)
    scores = score(fcn, pixels, f"image of {times(size)} px")[0]
    at: list[Any] = list(torch.tensor(cells).T)  # of every axis the place of every cell
    ours = scores[:, *at].T  # (cells, K)
    theirs = score_cells(model, pixels[0], grid, cells, CROP_BATCH).to(ours)
    of_model = fcn.plan.probabilities
    changed = top_classes(ours, probabilities=of_model) != top_classes(
        theirs, probabilities=of_model
    )
    return Compared(
        image.name,
        image.size,
        pixels.cpu(),
        grid,
        tuple(cells),
        tuple(distance_of(grid, cell, native) for cell in cells),
        tuple((ours - theirs).abs().mean(1).tolist()),
        tuple(changed.tolist()),
        theirs,
        Counter(distance_of(grid, cell, native) for cell in grid),
    )


def _fitted(image: Tensor, fcn: FCN, area: float) -> Tensor:
    """The image, smaller where its area is above so many windows, cut to whole strides.

    One that is too small for two cells along every axis is enlarged.
    """
    size, window, stride = image.shape[2:], fcn.window, fcn.plan.native_stride
    shrink = (area * prod(window) / prod(size)) ** (1 / len(size))
    least = max((w + s) / n for n, w, s in zip(size, window, stride, strict=True))
    factor = max(min(1.0, shrink), least)
    wanted = [max(w + s, round(n * factor)) for n, w, s in zip(size, window, stride, strict=True)]
    whole = [w + (n - w) // s * s for n, w, s in zip(wanted, window, stride, strict=True)]
    # A side that is still much too long (a banner) is cut.
    limit = area * prod(window)
    for axis in sorted(range(len(whole)), key=lambda axis: -whole[axis]):
        others = prod(whole) // whole[axis]
        fits = max(window[axis] + stride[axis], int(limit / others))
        whole[axis] = min(
            whole[axis],
            window[axis] + (fits - window[axis]) // stride[axis] * stride[axis],
        )
    return patch(scaled(image, wanted), whole)


def _sample(grid: Grid, native: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Cells at the border first, half of all at most; the others spread over the inner ones."""
    rings: dict[bool, list[tuple[int, ...]]] = {True: [], False: []}
    for cell in grid:
        rings[distance_of(grid, cell, native) == 0].append(cell)
    rim, inner = rings[True], rings[False]
    if len(rim) + len(inner) <= count:
        return sorted(rim + inner)
    for_inner = min(len(inner), max(count - len(rim), count // 2))
    # By distance, so that all distances have their share.
    inner = sorted(inner, key=lambda cell: (distance_of(grid, cell, native), cell))
    return sorted(_spread_over(rim, count - for_inner) + _spread_over(inner, for_inner))


def _spread_over(cells: list[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    """`count` of the cells, evenly spread, all where there are no more."""
    if count >= len(cells):
        return cells
    return [cells[i * len(cells) // count] for i in range(count)]


def _rounded(count: int) -> int:
    """Down to 2, 3, 4, 6, 8, 12 …: the same sample on machines that are about as fast."""
    power = 1 << max(0, count.bit_length() - 1)
    return power + power // 2 if count >= power + power // 2 else power


def _spread(scores: Sequence[Tensor]) -> float:
    """The standard deviation of all scores; 1 where they are all the same."""
    every = torch.cat([one.double().flatten() for one in scores])
    return sqrt(float(every.var(unbiased=False))) or 1.0
