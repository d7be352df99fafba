"""What an FCN calls at run time beyond PyTorch's own functions.

Every map is `(N, C, *cells)`; `n` below is the number of spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fullconv.errors import InputError
from fullconv.geometry import Grid, times

Bins = Sequence[Sequence[Sequence[int]]]

CONV: tuple[Any, ...] = (F.conv1d, F.conv2d, F.conv3d)
MAX_POOL: tuple[Any, ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
AVERAGE_POOL: tuple[Any, ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def check_image(image: Tensor, channels: int, window: Sequence[int]) -> Tensor:
    """`image` itself if an FCN can take it: `(N, channels, *space)`, at least the window.

    Raises InputError.
    """
    wanted = f"(N, {channels}, {', '.join('DHW'[-len(window) :])})"
    if image.ndim != len(window) + 2:
        raise InputError(
            f"the input has shape {tuple(image.shape)}, the network takes {wanted}.",
            hint="Add the batch axis with image[None]." if image.ndim == len(window) + 1 else "",
        )
    if image.shape[1] != channels:
        raise InputError(
            f"the input has {image.shape[1]} channels, the network takes {channels}: {wanted}."
        )
    Grid(tuple(image.shape[2:]), tuple(window), (1,) * len(window))
    return image


def whole_windows(
    scores: Tensor, image: Tensor, window: Sequence[int], stride: Sequence[int]
) -> Tensor:
    """The score map without the trailing cells whose window would leave the image."""
    # (N, K, *cells) -> (N, K, *grid)
    for axis, (size, extent, step) in enumerate(
        zip(image.shape[2:], window, stride, strict=True), 2
    ):
        scores = scores.narrow(axis, 0, (size - extent) // step + 1)
    return scores


def common(maps: Sequence[Tensor]) -> list[Tensor]:
    """Maps cut to the cells that all of them have; surplus cells are trailing ones."""
    cells = [min(sizes) for sizes in zip(*(x.shape[2:] for x in maps), strict=True)]
    spans: list[Any] = [slice(count) for count in cells]
    return [x[(..., *spans)] for x in maps]


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


def average_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Tensor:
    """An average pool with dilation, which PyTorch does not have: a depthwise convolution."""
    convolve = CONV[len(kernel) - 1]
    ones = x.new_ones(1, 1, *kernel)
    size = ones.numel() if divisor is None else divisor
    settings = {"stride": list(stride), "padding": list(padding), "dilation": list(dilation)}
    channels = x.shape[1]
    total: Tensor = convolve(x, ones.expand(channels, 1, *kernel), groups=channels, **settings)
    if count_include_pad or divisor is not None or not any(padding):
        return total / size
    counts: Tensor = convolve(torch.ones_like(x[:1, :1]), ones, **settings)
    return total / counts


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

    def extra_repr(self) -> str:
        """The sizes, for printing the network."""
        out, channels, *bins = self.weight.shape
        return f"{channels}, {out}, bins={times(bins)}, kernel={times(self.kernel)}"


class StochasticDepth(nn.Module):
    """A residual branch that is left out at random in training, as torchvision and timm have it.

    `mode` "row" draws for each image, "batch" once for all; what stays is divided by `1 - p` unless
    `scale` is False.
    """

    def __init__(self, p: float, mode: str = "row", scale: bool = True) -> None:
        super().__init__()
        self.p, self.mode, self.scale = p, mode, scale

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, *cells)`, some images of it zero."""
        if not self.training or not self.p:
            return x
        images = len(x) if self.mode == "row" else 1
        kept = x.new_empty(images, *(1 for _ in x.shape[1:])).bernoulli_(1 - self.p)
        if self.scale and self.p < 1:
            kept.div_(1 - self.p)
        return x * kept  # (N, C, *cells) * (N, 1, ..., 1)

    def extra_repr(self) -> str:
        """The settings, for printing the network."""
        return f"p={self.p}, mode={self.mode}"
