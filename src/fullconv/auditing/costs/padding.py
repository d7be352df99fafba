"""The maps of images that were padded, against those of the images by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fullconv.hosts.torch_fx.fcn import FCN

Size = tuple[int, ...]

SAME = 1e-4
"""Largest difference, relative to the largest score, that may be rounding in single precision."""


@dataclass(frozen=True, slots=True)
class Padding:
    """The maps of padded images against their own.

    Attributes:
        cells: cells compared.
        touched: share of them that can see beyond the right and bottom border of their image.
        largest: largest difference, relative to the largest score of the image.
        elsewhere: the same of the cells that are not touched; None without one.
        other: share of cells with another top class.
    """

    cells: int
    touched: float
    largest: float
    elsewhere: float | None
    other: float


def compare(
    fcn: FCN,
    sizes: Sequence[Size],
    alone: dict[int, Tensor] | None,
    padded: dict[int, Tensor] | None,
) -> Padding | None:
    """The maps `(K, *cells)` of images by themselves and in a padded batch.

    None where there are none, or scores are not finite.
    """
    if not alone or not padded:
        return None
    cells = touched = other = 0
    largest, elsewhere = 0.0, -1.0
    for index, size in enumerate(sizes):
        own = alone[index].double()
        cut = padded[index][(slice(None), *(slice(0, n) for n in own.shape[1:]))].double()
        if not bool(torch.isfinite(own).all() and torch.isfinite(cut).all()):
            return None
        scale = float(own.abs().max()) or 1.0
        gap = (cut - own).abs().amax(0) / scale  # (*cells)
        seen = _sees_beyond(fcn, size).to(gap.device)
        cells += gap.numel()
        touched += int(seen.sum())
        largest = max(largest, float(gap.max()))
        if not bool(seen.all()):
            elsewhere = max(elsewhere, float(gap[~seen].max()))
        if len(own) > 1:
            other += int((cut.argmax(0) != own.argmax(0)).sum())
    return Padding(
        cells, touched / cells, largest, None if elsewhere < 0 else elsewhere, other / cells
    )


def _sees_beyond(fcn: FCN, size: Size) -> Tensor:
    """Which cells `(*cells)` can see beyond the end of an image along some axis."""
    grid, plan = fcn.grid(size), fcn.plan
    seen = torch.zeros(grid.shape, dtype=torch.bool)
    if plan.contexts and plan.context == "image":
        return ~seen
    afters = [after for _, after in plan.overhang] or [0] * len(size)
    for axis, (windows, after) in enumerate(zip(grid.axes, afters, strict=True)):
        ends = torch.arange(windows.count) * windows.stride + windows.window + after
        shape = [1] * len(size)
        shape[axis] = windows.count
        seen |= (ends > size[axis]).reshape(shape)
    return seen
