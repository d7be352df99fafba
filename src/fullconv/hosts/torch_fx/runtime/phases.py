"""Phases of a map: cells that lie a fixed distance apart, as maps of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fullconv.hosts.torch_fx.runtime.pools import padded
from fullconv.streams.reach import outside


def rephased(x: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Move phases of a map into the batch, or back into their places.

    `(prod(before) * N, C, *cells)` to `(prod(after) * N, C, *cells)`. Phase `p` of an axis holds
    the cells `p, p + after, …`; the phases of the first axis come slowest, the images last. Where
    the cells do not divide evenly, zeros are added at the end: they belong to no whole window.
    """
    dims = len(before)
    y = x.reshape(*before, -1, *x.shape[1:])  # (*before, N, C, *cells)
    for axis, (was, becomes) in enumerate(zip(before, after, strict=True)):
        cells = dims + 2 + axis
        if becomes > was:
            by = becomes // was
            missing = -y.shape[cells] % by
            if missing:
                y = F.pad(y, [0, 0] * (y.ndim - 1 - cells) + [0, missing])
            y = torch.unflatten(y, cells, (-1, by)).movedim(cells + 1, axis).flatten(axis, axis + 1)
        elif becomes < was:
            y = torch.unflatten(y, axis, (was // becomes, becomes))
            y = y.movedim(axis, cells + 1).flatten(cells, cells + 1)
    return y.flatten(0, dims)


def together(
    x: Tensor,
    image: Tensor,
    phases: Sequence[int],
    stride: Sequence[int],
    slack: Sequence[int],
) -> Tensor:
    """The phases of a map in their places, without the cells that were added to fill them up.

    `(prod(phases) * N, C, *cells)` to `(N, C, *cells)`: `(image + slack) // stride` cells per axis.
    """
    y = rephased(x, phases, (1,) * len(phases))
    for axis, (step, more) in enumerate(zip(stride, slack, strict=True), 2):
        cells = (image.shape[axis] + more) // step
        y = y.narrow(axis, 0, min(cells, y.shape[axis]))
    return y


def pad_phases(
    x: Tensor,
    amounts: Sequence[Sequence[int]],
    channels: Sequence[int],
    mode: str,
    value: float,
    dilation: Sequence[int],
) -> Tensor:
    """Every phase of a dilated map padded as a map of its own; arguments as in `SetPad`."""
    if any(channels):
        x = F.pad(x, [0, 0] * (x.ndim - 2) + list(channels), value=value)
    if mode == "constant":
        wide = [(a * d, b * d) for (a, b), d in zip(amounts, dilation, strict=True)]
        return padded(x, wide, value)
    for axis, ((before, after), apart) in enumerate(zip(amounts, dilation, strict=True), 2):
        if before or after:
            index = outside(x.shape[axis], before, after, apart, mode)
            x = x.index_select(axis, torch.tensor(index, device=x.device))
    return x


def repeated(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Every cell repeated: `(N, C, *cells)` to `(N, C, *(cells * factors))`."""
    for axis, factor in enumerate(factors, 2):
        if factor > 1:
            x = x.repeat_interleave(factor, dim=axis)
    return x
