"""A picture of the cells that were compared with crops: where the top class is another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from fullconv.auditing.answers.crops import Compared
from fullconv.auditing.answers.samples import scaled
from fullconv.geometry import Grid

SAME, OTHER, DOT = (86, 180, 233), (230, 120, 0), (0, 0, 0)
"""Colours that everyone can tell apart (after Okabe and Ito)."""

Pixels = npt.NDArray[np.uint8]


def picture(one: Compared, mean: Sequence[float], std: Sequence[float], most: int = 640) -> Pixels:
    """The image in grey, dimmed, with the middle of every compared window in colour.

    Blue where the top class is that of the crop, orange with a black dot where it is another one.
    At most `most` px wide and high; for images of two axes.
    """
    given = one.image[0].float()
    stds, means = (torch.tensor(list(n)).reshape(-1, 1, 1) for n in (std, mean))
    grey = (given * stds + means).mean(0).clamp(0, 1)
    shrink = max(1.0, max(one.grid.size) / most)
    size = [max(1, int(pixels / shrink)) for pixels in one.grid.size]
    grey = scaled(grey[None, None], size)[0, 0]
    canvas = (40 + 130 * grey[..., None].expand(*size, 3)).round().to(torch.uint8).numpy().copy()
    for cell, changed in zip(one.cells, one.changed, strict=True):
        _mark(canvas, one.grid, cell, shrink, changed)
    return canvas


def _mark(canvas: Pixels, grid: Grid, cell: tuple[int, ...], shrink: float, changed: bool) -> None:
    middle = [float(px) / shrink for px in grid.center(*cell)]
    half = [step / shrink / 2 for step in grid.stride]
    _fill(canvas, middle, [max(0.5, h - 0.5) for h in half], OTHER if changed else SAME)
    if changed:
        _fill(canvas, middle, [max(0.5, h / 3) for h in half], DOT)


def _fill(
    canvas: Pixels, middle: Sequence[float], half: Sequence[float], color: tuple[int, int, int]
) -> None:
    spans = []
    for m, h, size in zip(middle, half, canvas.shape, strict=False):
        low = min(size - 1, max(0, round(m - h)))
        spans.append(slice(low, max(low + 1, round(m + h))))
    canvas[tuple(spans)] = color
