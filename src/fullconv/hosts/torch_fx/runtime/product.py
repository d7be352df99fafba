"""A convolution of a small map as one matrix product."""

from __future__ import annotations

from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

SMALL = 256
"""Cells of all images together up to which the product is taken; beyond, a convolution wins."""


class ProductConv(nn.Module):
    """A fully-connected layer slid over a map: a product of patches and weights where it is small.

    Kernels for convolutions are made for maps that are large and weights that are few. A head has
    it the other way round, and near the window's size they run it many times slower than the
    machine's matrix product, which takes the same weights. Channels last, a patch is one row of
    numbers in the order of the weights, so that neither is moved.

    The parameters are those of `conv`, `(out, C, *taps)`; it neither pads nor steps nor has groups.
    """

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.dilation = tuple(conv.dilation)
        self.convolve = F.conv2d if conv.weight.ndim == 4 else F.conv3d

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, *cells)` to `(N, out, *cells)`."""
        taps = self.weight.shape[2:]
        cells = [n - d * (k - 1) for n, k, d in zip(x.shape[2:], taps, self.dilation, strict=True)]
        count = x.shape[0] * prod(cells)
        # Several images of one window each are the one small map that convolutions are good at.
        crops = prod(cells) == 1 < min(x.shape[0], prod(taps))
        # Of another dtype, a convolution says so on shapes alone too.
        if count > SMALL or crops or x.dtype != self.weight.dtype:
            y: Tensor = self.convolve(x, self.weight, self.bias, dilation=self.dilation)
            return y
        return self.product(x)

    def product(self, x: Tensor) -> Tensor:
        """As `forward`, by a matrix product whatever the size: every patch is copied for it."""
        out, _, *taps = self.weight.shape
        cells = [n - d * (k - 1) for n, k, d in zip(x.shape[2:], taps, self.dilation, strict=True)]
        count = x.shape[0] * prod(cells)
        rows = x.movedim(1, -1).contiguous()  # (N, *space, C)
        first, *steps, last = rows.stride()
        spread = [d * s for d, s in zip(self.dilation, steps, strict=True)]
        patches = rows.as_strided(
            (x.shape[0], *cells, *taps, x.shape[1]), (first, *steps, *spread, last)
        )
        weight = self.weight.movedim(1, -1).reshape(out, -1)  # (out, taps * C)
        y = F.linear(patches.reshape(count, -1), weight, self.bias)  # (N * cells, out)
        return y.reshape(x.shape[0], *cells, out).movedim(-1, 1)

    def extra_repr(self) -> str:
        """The sizes, for printing the network."""
        out, channels, *taps = self.weight.shape
        return f"{channels}, {out}, kernel_size={tuple(taps)}, dilation={self.dilation}"
