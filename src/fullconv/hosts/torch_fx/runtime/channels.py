"""Ops among the channels of every cell of a map `(N, C, *cells)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def layer_norm(
    x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Layer norm along the channels of every cell."""
    y = F.layer_norm(x.movedim(1, -1), list(shape), weight, bias, eps)
    return y.movedim(-1, 1)


def rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor | None, eps: float | None) -> Tensor:
    """RMS norm along the channels of every cell."""
    return F.rms_norm(x.movedim(1, -1), list(shape), weight, eps).movedim(-1, 1)


def vectors(x: Tensor, axis: int, dims: int) -> Tensor:
    """The vectors of all cells as a batch, `(N * cells, C)`, C at `axis` of `dims` axes."""
    shape = [-1, *(x.shape[1] if place == axis else 1 for place in range(1, dims))]
    return x.movedim(1, -1).reshape(shape)


def from_vectors(y: Tensor, x: Tensor) -> Tensor:
    """The inverse of `vectors`, for the cells of `x`."""
    cells = x.shape[2:]
    return y.reshape(x.shape[0], *cells, -1).movedim(-1, 1)  # (N, C, *cells)


def conv_channels(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """A one-channel convolution, weight `(1, 1, k)`, along the channels of every cell."""
    rows = x.flatten(2).unsqueeze(1)  # (N, 1, C, cells)
    y = F.conv2d(rows, weight.unsqueeze(-1), bias, (stride, 1), (padding, 0), (dilation, 1))
    return torch.unflatten(y.squeeze(1), 2, x.shape[2:])


def shuffle_channels(x: Tensor, parts: Sequence[int], order: Sequence[int]) -> Tensor:
    """The channels, seen as `parts` (slowest first), with the parts in another order."""
    count = len(parts)
    rest = range(count + 1, x.ndim - 1 + count)
    y = torch.unflatten(x, 1, list(parts)).permute(0, *(1 + part for part in order), *rest)
    return y.flatten(1, count)


def reduce_part(x: Tensor, kind: str, parts: Sequence[int], part: int) -> Tensor:
    """A reduction over one of the parts of the channels: average, max, min, sum or norm."""
    y, axis = torch.unflatten(x, 1, list(parts)), 1 + part
    if kind == "average":
        y = y.mean(axis, keepdim=True)
    elif kind == "sum":
        y = y.sum(axis, keepdim=True)
    elif kind.endswith("variance"):
        y = y.var(axis, correction=int(kind == "sample variance"), keepdim=True)
    elif kind == "norm":
        y = (y * y).sum(axis, keepdim=True).sqrt()
    else:
        y = y.amax(axis, keepdim=True) if kind == "max" else y.amin(axis, keepdim=True)
    return y.flatten(1, len(parts))


def softmax_part(x: Tensor, parts: Sequence[int], part: int, log: bool) -> Tensor:
    """Softmax, or its logarithm, over one of the parts of the channels."""
    y = torch.unflatten(x, 1, list(parts))
    y = y.log_softmax(1 + part) if log else y.softmax(1 + part)
    return y.flatten(1, len(parts))


def space_to_depth(
    x: Tensor,
    blocks: Sequence[int],
    steps: Sequence[int],
    dilation: Sequence[int],
    parts: Sequence[int],
    order: Sequence[int],
) -> Tensor:
    """Blocks of cells as channels, every `steps` cells; arguments as in `SpaceToDepth`."""
    dims = len(blocks)
    y = x
    for axis, (block, step, apart) in enumerate(zip(blocks, steps, dilation, strict=True)):
        place = 2 + 2 * axis  # the axes before it have a block axis each by now
        count = (y.shape[place] - apart * (block - 1) - 1) // step + 1
        inside = torch.arange(block, device=x.device) * apart
        cells = torch.arange(count, device=x.device) * step
        index = (inside[:, None] + cells).flatten()  # (block * count,)
        y = torch.unflatten(y.index_select(place, index), place, (block, count))
    # (N, C, b1, n1, b2, n2, …) -> (N, *parts, b1, n1, …)
    y = torch.unflatten(y, 1, list(parts))
    first = 1 + len(parts)
    named = {-part: 1 + part for part in range(len(parts))}
    named |= {axis: first + 2 * (axis - 1) for axis in range(1, dims + 1)}
    left = [label for label in named if label not in order]  # of length 1
    front = [named[label] for label in (*left, *order)]
    cells_at = [first + 2 * axis + 1 for axis in range(dims)]
    return y.permute(0, *front, *cells_at).flatten(1, len(front))
