"""Linear layers slid over a map, and constants beside maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fullconv.geometry import times

Bins = Sequence[Sequence[Sequence[int]]]

CONV: tuple[Any, ...] = (F.conv1d, F.conv2d, F.conv3d)


def per_channel(constant: Tensor, axes: int) -> Tensor:
    """A constant with one entry per channel in its last axis, to broadcast over maps."""
    return constant.reshape(-1, *(1,) * axes)  # (C,) -> (C, 1, ..., 1)


def conv_weight(
    weight: Tensor,
    channels: int,
    taps: Sequence[int],
    order: Sequence[int],
) -> Tensor:
    """A linear layer's weight `(out, in)` as that of a convolution `(out, channels, *taps)`.

    A view: no number is copied or moved. `order` says how the features were flattened, slowest
    first (0 = channel, 1… = spatial axes); labels it leaves out have length 1.
    """
    lengths = {0: channels, **dict(enumerate(taps, 1))}
    seen = weight.view(weight.shape[0], *(lengths[label] for label in order))
    labels = list(order)
    for label in lengths:
        if label not in labels:
            labels.append(label)
            seen = seen.unsqueeze(-1)
    return seen.permute(0, *(labels.index(label) + 1 for label in sorted(lengths)))


def linear_weight(weight: Tensor, order: Sequence[int]) -> Tensor:
    """The inverse of `conv_weight`: `(out, channels, *taps)` as `(out, in)`.

    A view where the numbers still lie in that order.
    """
    ones = [axis for axis in range(weight.ndim - 1) if axis not in order]
    return weight.permute(0, *(axis + 1 for axis in (*order, *ones))).reshape(len(weight), -1)


def folded(weight: Tensor, kernel: Sequence[int], bins: Bins) -> Tensor:
    """A kernel over bins `(out, C, *bins)` as the kernel over cells `(out, C, *kernel)`.

    Averaging over bins is linear, so weight and average are one kernel: every cell gets the
    weights of the bins it lies in, each divided by the bin's length, axis by axis.
    """
    for axis, (cells, spans) in enumerate(zip(kernel, bins, strict=True), 2):
        if not spans:
            continue
        share = weight.new_zeros(len(spans), cells)  # (bins, cells)
        for row, (start, stop) in enumerate(spans):
            share[row, start:stop] = 1 / (stop - start)
        weight = torch.tensordot(weight, share, dims=([axis], [0])).movedim(-1, axis)
    return weight


def linear_as_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    channels: int,
    kernel: Sequence[int],
    dilation: Sequence[int],
    order: Sequence[int],
    taps: Sequence[int],
    bins: Bins = (),
) -> Tensor:
    """A linear layer slid over a map `(N, C, *cells)`; arguments as in `LinearToConv`."""
    kernel_weight = conv_weight(weight, channels, taps, order)
    if bins:
        kernel_weight = folded(kernel_weight, kernel, bins)
    y: Tensor = CONV[len(kernel) - 1](x, kernel_weight, bias, dilation=list(dilation))
    return y


class FoldedConv(nn.Module):
    """A linear layer after adaptive pooling with overlapping bins, as one convolution.

    The parameters are the linear layer's, seen as `(out, C, *bins)`; the kernel over cells is made
    from them in every forward, so that training and loading reach it.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter | None,
        kernel: Sequence[int],
        dilation: Sequence[int],
        bins: Bins,
    ) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.kernel, self.dilation = tuple(kernel), tuple(dilation)
        self.bins = tuple(tuple((int(a), int(b)) for a, b in spans) for spans in bins)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, *cells)` to `(N, out, *cells)`."""
        weight = folded(self.weight, self.kernel, self.bins)
        convolve = CONV[len(self.kernel) - 1]
        y: Tensor = convolve(x, weight, self.bias, dilation=list(self.dilation))
        return y

    def reset_parameters(self) -> None:
        """New random numbers, as the linear layer's are drawn."""
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        if self.bias is not None:
            bound = self.weight[0].numel() ** -0.5
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """The sizes, for printing the network."""
        out, channels, *bins = self.weight.shape
        return f"{channels}, {out}, bins={times(bins)}, kernel={times(self.kernel)}"
