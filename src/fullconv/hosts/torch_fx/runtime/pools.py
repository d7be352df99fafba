"""Pools that PyTorch does not have: dilated averages, uneven padding, sums and norms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_POOL: tuple[Any, ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
AVERAGE_POOL: tuple[Any, ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)

Pairs = Sequence[Sequence[int]]


def taps(x: Tensor, axis: int, kernel: int, stride: int, dilation: int) -> list[Tensor]:
    """What each tap of a kernel sees along one axis, as views of equal length."""
    count = (x.shape[axis] - dilation * (kernel - 1) - 1) // stride + 1
    before = (slice(None),) * axis
    return [
        x[(*before, slice(tap * dilation, tap * dilation + (count - 1) * stride + 1, stride))]
        for tap in range(kernel)
    ]


def padded(x: Tensor, pairs: Pairs, value: float = 0.0) -> Tensor:
    """A map with `pairs` of (before, after) cells per axis added; negative ones are cut off."""
    if not any(before or after for before, after in pairs):
        return x
    return F.pad(x, [n for pair in reversed(pairs) for n in pair], value=value)


def max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    pairs: Pairs,
    dilation: Sequence[int],
) -> Tensor:
    """A max pool that may pad unevenly, and by more than half its kernel."""
    pool = MAX_POOL[len(kernel) - 1]
    wide = padded(x, pairs, float("-inf"))
    y: Tensor = pool(wide, list(kernel), list(stride), 0, list(dilation))
    return y


def average_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    pairs: Pairs,
    dilation: Sequence[int],
    counted: Pairs,
    divisor: int | None = None,
) -> Tensor:
    """An average pool that may be dilated and pad unevenly: sums, one axis after the other.

    `counted` pairs of padding count as cells in the average; with () none does.
    """
    total = padded(x, pairs)
    for index, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True), 2):
        total = reduce(torch.add, taps(total, index, k, s, d))
    if divisor is not None:
        return total / divisor
    for index, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        size, cells = x.shape[index + 2], total.shape[index + 2]
        low, high = counted[index] if counted else (0, 0)
        first = torch.arange(cells, device=x.device) * s - pairs[index][0]
        places = first[:, None] + torch.arange(k, device=x.device) * d  # (cells, kernel)
        inside = ((places >= -low) & (places < size + high)).sum(1).clamp(min=1)
        shape = [-1 if axis == index else 1 for axis in range(len(kernel))]
        total = total / inside.to(x.dtype).reshape(shape)
    return total


def box(x: Tensor, kind: str, kernel: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """A reduction over every box of `kernel` cells, `dilation` apart, that lies inside the map.

    `kind` is average, max, min, sum, norm (Euclidean), variance or sample variance.
    `(N, C, *cells)` to `(N, C, *(cells - dilation * (kernel - 1)))`, one axis after the other.
    """
    if kind == "norm":
        return box(x * x, "sum", kernel, dilation).sqrt()
    if kind == "sum":
        for axis, (k, d) in enumerate(zip(kernel, dilation, strict=True), 2):
            x = _average(x, axis, k, d) * k
        return x
    if kind.endswith("variance"):
        small = x - x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)  # keeps squares precise
        mean = box(small, "average", kernel, dilation)
        spread = (box(small * small, "average", kernel, dilation) - mean * mean).clamp(min=0)
        cells = prod(kernel)
        return spread * (cells / (cells - 1)) if kind == "sample variance" else spread
    if kind == "min":
        return -box(-x, "max", kernel, dilation)
    for axis, (k, d) in enumerate(zip(kernel, dilation, strict=True), 2):
        if k > 1:
            x = _average(x, axis, k, d) if kind == "average" else _largest(x, axis, k, d)
    return x


def _average(x: Tensor, axis: int, kernel: int, dilation: int) -> Tensor:
    if dilation > 1:
        return reduce(torch.add, taps(x, axis, kernel, 1, dilation)) / kernel
    one = [1] * (x.ndim - 2)
    one[axis - 2] = kernel
    y: Tensor = AVERAGE_POOL[x.ndim - 3](x, one, 1)
    return y


def _largest(x: Tensor, axis: int, kernel: int, dilation: int) -> Tensor:
    dims = x.ndim - 2
    sizes, steps = [1] * dims, [1] * dims
    sizes[axis - 2], steps[axis - 2] = kernel, dilation
    y: Tensor = MAX_POOL[dims - 1](x, sizes, 1, 0, steps)
    return y
