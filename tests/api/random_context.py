"""Context ops of random bodies: the same functions, by hand at every position of a map."""

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from random_parts import CHANNELS, CONV, Part
from torch import Tensor, nn

ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
INSTANCE = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)

LEAN = 1
"""Where a box of even size `k` lies: cell `i` has `(k - LEAN) // 2` of its cells before it."""


def box_start(cell: int, size: int, cells: int) -> int:
    """Where the box of `size` cells nearest to centred on a cell starts, inside the map."""
    return min(max(0, cell - (size - LEAN) // 2), cells - size)


def positions(x: Tensor, size: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Every cell `(N, C)` of a map `(N, C, *space)`, and the box around it, `size` cells large."""
    for cell in product(*map(range, x.shape[2:])):
        starts = [box_start(i, k, n) for i, k, n in zip(cell, size, x.shape[2:], strict=True)]
        spans = [slice(first, first + k) for first, k in zip(starts, size, strict=True)]
        yield x[(..., *cell)], x[(..., *spans)]


class Context(Part):
    """A part that looks at the whole map.

    With context="window" it sees, at each position, the box that is as large as its map is at the
    window; with "image" the whole map it gets.
    """

    def dense(self, x: Tensor, cells: Sequence[int], context: str) -> Tensor:
        if context == "image":
            return self(x)
        places = list(positions(x, cells))
        cells_and_boxes = [torch.stack(tensors) for tensors in zip(*places, strict=True)]
        with torch.no_grad():
            answers = self.at(*(stacked.flatten(0, 1) for stacked in cells_and_boxes))
        # (places * N, C) -> (N, C, *space)
        return answers.unflatten(0, (len(places), len(x))).permute(1, 2, 0).reshape(x.shape)

    def at(self, x: Tensor, box: Tensor) -> Tensor:
        """The answers at some cells `(N, C)`, each with its box in `(N, C, *cells)`."""
        raise NotImplementedError


class SqueezeExcite(Context):
    """Channels scaled by a gate that knows their means (Hu 2018)."""

    def __init__(self, dims: int, pooled: bool) -> None:
        super().__init__()
        self.pool = ADAPTIVE[dims - 1](1) if pooled else None
        self.space = tuple(range(2, dims + 2))
        self.squeeze = CONV[dims - 1](CHANNELS, 2, 1)
        self.excite = CONV[dims - 1](2, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(self.space, keepdim=True) if self.pool is None else self.pool(x)
        return x * self.excite(self.squeeze(means).relu()).sigmoid()

    def at(self, x: Tensor, box: Tensor) -> Tensor:
        means = box.flatten(2).mean(2)
        squeezed = (means @ self.squeeze.weight.flatten(1).T + self.squeeze.bias).clamp(min=0)
        gate = squeezed @ self.excite.weight.flatten(1).T + self.excite.bias
        return x / (1 + torch.exp(-gate))


class Norm(Context):
    """GroupNorm, or InstanceNorm for as many groups as channels."""

    def __init__(self, dims: int, groups: int, affine: bool) -> None:
        super().__init__()
        if groups == CHANNELS:
            self.op = INSTANCE[dims - 1](CHANNELS, affine=affine)
        else:
            self.op = nn.GroupNorm(groups, CHANNELS, affine=affine)
        self.groups = groups
        if affine:
            nn.init.normal_(self.op.weight)
            nn.init.normal_(self.op.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)

    def at(self, x: Tensor, box: Tensor) -> Tensor:
        grouped = box.reshape(len(x), self.groups, -1)
        each = CHANNELS // self.groups
        mean = grouped.mean(2).repeat_interleave(each, 1)
        variance = grouped.var(2, correction=0).repeat_interleave(each, 1)
        x = (x - mean) / (variance + self.op.eps).sqrt()
        return x if self.op.weight is None else x * self.op.weight + self.op.bias
