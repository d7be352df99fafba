"""What looks at the whole map: at a box around every cell, or at all of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fullconv.hosts.torch_fx.runtime.pools import box
from fullconv.streams.reach import boxes


def pool_context(
    x: Tensor,
    kind: str,
    kernel: Sequence[int],
    dilation: Sequence[int],
    local: bool,
    axes: Sequence[int],
) -> Tensor:
    """Pool over the given spatial axes (1, 2, …) for every cell, as `PoolContext` says.

    Local: `(N, C, *cells)` to the same shape. Else to `(N, C, 1, …)`, or to the same shape where
    the phases of a dilated map are pooled each by itself.
    """
    if local:
        y = box(x, kind, kernel, dilation)
        for axis, (k, d) in enumerate(zip(kernel, dilation, strict=True), 2):
            if k > 1:
                index = boxes(x.shape[axis], k, d)
                y = y.index_select(axis, torch.tensor(index, device=x.device))
        return y
    if all(dilation[axis - 1] == 1 for axis in axes):
        return _whole(x, kind, axes)
    y = x.new_empty(x.shape)
    for phase in product(*(range(min(d, n)) for d, n in zip(dilation, x.shape[2:], strict=True))):
        spans = [slice(first, None, d) for first, d in zip(phase, dilation, strict=True)]
        cells = (slice(None), slice(None), *spans)
        y[cells] = _whole(x[cells], kind, axes)
    return y


def _whole(x: Tensor, kind: str, axes: Sequence[int]) -> Tensor:
    dims = [axis + 1 for axis in axes]
    if kind == "average":
        return x.mean(dims, keepdim=True)
    if kind == "sum":
        return x.sum(dims, keepdim=True)
    if kind.endswith("variance"):
        return x.var(dims, correction=int(kind == "sample variance"), keepdim=True)
    if kind == "norm":
        return (x * x).sum(dims, keepdim=True).sqrt()
    return x.amax(dims, keepdim=True) if kind == "max" else x.amin(dims, keepdim=True)


def attend(
    x: Tensor,
    weights: Tensor,
    kernel: Sequence[int],
    dilation: Sequence[int],
    local: bool,
    every: bool,
) -> Tensor:
    """The mean of a map weighted by a softmax over its cells, for `every` cell or window.

    `x` is `(N, C, *cells)`, `weights` `(N, 1, *cells)` before the softmax.
    """
    # In double precision boxes whose weights are all far below the largest still count.
    raised = weights.double()
    share = (raised - raised.amax(tuple(range(2, x.ndim)), keepdim=True)).exp()

    def total(y: Tensor) -> Tensor:
        if not every:
            return box(y, "sum", kernel, dilation)
        return pool_context(y, "sum", kernel, dilation, local, range(1, x.ndim - 1))

    return (total(x * share) / total(share)).to(x.dtype)


def norm_context(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    groups: int,
    kernel: Sequence[int],
    dilation: Sequence[int],
    local: bool,
) -> Tensor:
    """Group norm whose mean and variance are those of `pool_context`; `(N, C, *cells)`."""
    if not local and all(step == 1 for step in dilation):
        return F.group_norm(x, groups, weight, bias, eps)
    every = range(1, x.ndim - 1)

    def surveyed(moment: Tensor) -> Tensor:
        return pool_context(moment, "average", kernel, dilation, local, every)

    return normed(x, weight, bias, eps, groups, surveyed)


def normed(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    groups: int,
    surveyed: Callable[[Tensor], Tensor],
    own: tuple[slice, ...] = (),
) -> Tensor:
    """Group norm whose moments are averages that `surveyed` takes of `(N, groups, *cells)`.

    `own` are the cells that are wanted, along the last axes; those `surveyed` gives averages for.
    """
    parts = torch.unflatten(x, 1, (groups, -1))  # (N, groups, C / groups, *cells)
    # The variance is a difference of squares: small numbers keep it precise.
    parts = parts - parts.mean(dim=tuple(range(2, parts.ndim)), keepdim=True)
    mean = surveyed(parts.mean(2)).unsqueeze(2)
    variance = (surveyed((parts * parts).mean(2)).unsqueeze(2) - mean * mean).clamp(min=0)
    index: Any = (..., *own)
    y = ((parts[index] - mean) * torch.rsqrt(variance + eps)).flatten(1, 2)
    shape = (-1, *(1,) * (x.ndim - 2))
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)
