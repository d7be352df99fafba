"""How far zero padding reaches into a map: by geometry, and measured."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from fullconv.auditing.answers.samples import Named, noise, patch
from fullconv.evaluate.scoring import score
from fullconv.geometry import Grid, times
from fullconv.hosts.torch_fx.fcn import FCN

EQUAL = 1e-10
"""Largest difference, relative to the largest score, that counts as equal in float64."""


@dataclass(frozen=True, slots=True)
class Ring:
    """The cells of a map that are equally far from its rim.

    Attributes:
        distance: cells of the native stride from the rim, 0 for the outermost ones.
        cells: how many there are.
        difference: mean absolute difference, in the standard deviation of the scores.
        largest: the largest difference, relative to the largest score.
    """

    distance: int
    cells: int
    difference: float
    largest: float


@dataclass(frozen=True, slots=True)
class Reach:
    """How far padding reaches into a map.

    Attributes:
        overhang: px before and after its window that a cell can see, per axis.
        cells: how many cells at either end of an axis can see beyond the image, by geometry.
        bounded: whether geometry bounds it: not where context ops see the whole image.
        size, larger: px of the image, and of the picture that it is the middle of.
        axes: the axes along which the picture is larger.
        rings: what was measured, in float64; empty where it was not.
        deepest: the outermost `deepest` cells differ, by measurement; None without one.
        noise: whether the pixels were random numbers.
    """

    overhang: tuple[tuple[int, int], ...]
    cells: tuple[int, ...]
    bounded: bool
    size: tuple[int, ...] = ()
    larger: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()
    rings: tuple[Ring, ...] = ()
    deepest: int | None = None
    noise: bool = False

    @property
    def depth(self) -> int:
        """How many cells from the rim can see beyond the image, by geometry, at most."""
        return max(self.cells)

    @property
    def beyond(self) -> tuple[Ring, ...]:
        """The rings that were measured where geometry says that nothing reaches."""
        most = max((self.cells[axis] for axis in self.axes), default=0)
        return tuple(ring for ring in self.rings if ring.distance >= most)


def reach(fcn: FCN, images: Sequence[Named], windows: float) -> Reach:
    """The map of an image against the same cells of a larger picture around it, in float64.

    What differs is what the border did. The image is just large enough for a cell that padding
    does not reach. Both together are as large as so many windows at most; where that is too few,
    fewer axes are looked at, or images that are all rim, or none.
    The picture is the middle of the first image, continued by its mirror image where that is too
    small, or noise.
    """
    plan = fcn.plan
    stride = plan.native_stride
    pairs = zip(plan.overhang, stride, strict=True)
    cells = tuple(max(-(-side // step) for side in sides) for sides, step in pairs)
    bounded = not plan.contexts or plan.context == "window"
    known = Reach(plan.overhang, cells, bounded, noise=not images)
    sizes = _affordable(fcn, [max(1, c) for c in cells], windows)
    if sizes is None:
        return known
    size, larger, axes = sizes
    source = images[0] if images else noise(plan.channels, larger)
    outer = patch(source.pixels, larger).double()
    inner = patch(outer, size)
    exact = copy.deepcopy(fcn).double()
    steps = [own // t for own, t in zip(stride, plan.stride, strict=True)]
    first = [(a - b) // 2 // s for a, b, s in zip(larger, size, stride, strict=True)]
    alone = _every(score(exact, inner, f"image of {times(size)} px"), steps)
    within = _every(score(exact, outer, f"image of {times(larger)} px"), steps)
    for axis, start in enumerate(first, 2):
        within = within.narrow(axis, start, alone.shape[axis])
    rings = _rings(alone[0], within[0], Grid(size, plan.window, stride), axes)
    differing = [ring.distance + 1 for ring in rings if ring.largest > EQUAL]
    return Reach(
        plan.overhang, cells, bounded, size, larger, axes, tuple(rings),
        max(differing, default=0), not images,
    )  # fmt: skip


def _every(maps: Tensor, steps: Sequence[int]) -> Tensor:
    """The cells of the native stride."""
    every: list[Any] = [slice(None, None, step) for step in steps]
    return maps[(..., *every)]


def _affordable(
    fcn: FCN, cells: Sequence[int], most: float
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Sizes of the image and of the picture around it, and the axes along which that is larger.

    None where even the smallest of them are larger than `most` windows together.
    """
    window, stride = fcn.window, fcn.plan.native_stride
    dims = len(window)
    # Two cells of the rim and one between them, along fewer axes if need be; or the rim alone.
    for deep in (True, False):
        for count in range(dims, 0, -1):
            axes = tuple(range(dims - count, dims))
            own = [2 * cells[a] + 1 if deep and a in axes else 1 for a in range(dims)]
            beside = [cells[a] if a in axes else 0 for a in range(dims)]
            size = tuple(w + (n - 1) * s for w, n, s in zip(window, own, stride, strict=True))
            larger = tuple(n + 2 * m * s for n, m, s in zip(size, beside, stride, strict=True))
            if prod(size) + prod(larger) <= most * prod(window):
                return size, larger, axes
    return None


def _rings(alone: Tensor, within: Tensor, grid: Grid, axes: Sequence[int]) -> list[Ring]:
    """The differences of maps `(K, *cells)` by distance from the rim, along the given axes."""
    gap = (alone - within).abs().flatten(1)  # (K, cells)
    scale = float(within.abs().max()) or 1.0
    spread = float(within.std(unbiased=False)) or 1.0
    found: dict[int, list[Tensor]] = {}
    for place, cell in enumerate(grid):
        far = min(min(cell[a], grid.shape[a] - 1 - cell[a]) for a in axes)
        found.setdefault(far, []).append(gap[:, place])
    rows = {far: torch.stack(parts) for far, parts in sorted(found.items())}
    return [
        Ring(far, len(part), float(part.mean()) / spread, float(part.max()) / scale)
        for far, part in rows.items()
    ]
