"""Parts of random bodies: layers of a classifier, and by hand what each means on a larger image.

Everything is on `CHANNELS` channels. A part knows, without fullconv:

- `forward`: what it computes in the classifier;
- `dense`: what it computes in the classifier's body on a larger image, where its map has `cells`
  cells at the window;
- `clean`: along each axis, which of its cells see nothing but image.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 4
CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
MAX = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVERAGE = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)

Masks = list[list[bool]]


class Taps(NamedTuple):
    """Which cells a layer reads along one axis: those at `i * stride - before + k * dilation`."""

    kernel: int = 1
    stride: int = 1
    before: int = 0
    dilation: int = 1


class Part(nn.Module):
    """A part that works on each cell by itself; others say more."""

    taps: tuple[Taps, ...] | None = None
    channels = CHANNELS

    def dense(self, x: Tensor, cells: Sequence[int], context: str) -> Tensor:
        return self(x)

    def after(self, cells: Sequence[int]) -> tuple[int, ...]:
        """How many cells come out of so many."""
        kind = next((p.dtype for p in (*self.parameters(), *self.buffers())), None)
        with torch.no_grad():
            return tuple(self(torch.zeros(1, self.channels, *cells, dtype=kind)).shape[2:])

    def clean(self, masks: Masks) -> Masks:
        if self.taps is None:
            return masks
        counts = self.after([len(mask) for mask in masks])
        return [
            [self._reads_clean(mask, taps, cell) for cell in range(count)]
            for mask, taps, count in zip(masks, self.taps, counts, strict=True)
        ]

    @staticmethod
    def _reads_clean(mask: list[bool], taps: Taps, cell: int) -> bool:
        first = cell * taps.stride - taps.before
        read = range(first, first + taps.kernel * taps.dilation, taps.dilation)
        return all(0 <= i < len(mask) and mask[i] for i in read)

    @property
    def parts(self) -> "Iterator[Part]":
        """This part and those inside it."""
        return (module for module in self.modules() if isinstance(module, Part))

    def stride(self, dims: int) -> tuple[int, ...]:
        return tuple(taps.stride for taps in self.taps) if self.taps else (1,) * dims


class Chain(Part):
    """Parts one after the other."""

    def __init__(self, *parts: Part) -> None:
        super().__init__()
        self.members = nn.Sequential(*parts)
        self.channels = parts[0].channels if parts else CHANNELS

    def forward(self, x: Tensor) -> Tensor:
        return self.members(x)

    def dense(self, x: Tensor, cells: Sequence[int], context: str) -> Tensor:
        for part in self.members:
            x = part.dense(x, cells, context)
            cells = part.after(cells)
        return x

    def clean(self, masks: Masks) -> Masks:
        for part in self.members:
            masks = part.clean(masks)
        return masks

    def stride(self, dims: int) -> tuple[int, ...]:
        total = torch.ones(dims, dtype=torch.int64)
        for part in self.members:
            total *= torch.tensor(part.stride(dims))
        return tuple(total.tolist())


class Layer(Part):
    """A module of PyTorch."""

    def __init__(self, op: nn.Module, taps: Sequence[Taps] | None = None) -> None:
        super().__init__()
        self.op = op
        self.taps = None if taps is None else tuple(taps)
        self.channels = getattr(op, "in_channels", CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Padded(Part):
    """F.pad: `amounts` before and after each axis, in any mode."""

    def __init__(self, amounts: Sequence[tuple[int, int]], mode: str, value: float) -> None:
        super().__init__()
        self.taps = tuple(Taps(before=before) for before, _ in amounts)
        self.amounts = [n for pair in reversed(amounts) for n in pair]
        self.mode, self.value = mode, value if mode == "constant" else None

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.amounts, self.mode, self.value)


class Blur(Part):
    """A fixed depthwise convolution after reflection: an anti-aliased pool."""

    def __init__(self, strides: Sequence[int]) -> None:
        super().__init__()
        self.taps = tuple(Taps(3, stride, 1) for stride in strides)
        self.dims, self.strides = len(strides), tuple(strides)
        kernel = row = torch.tensor([0.25, 0.5, 0.25])
        for _ in strides[1:]:
            kernel = kernel[..., None] * row
        self.register_buffer("kernel", kernel.expand(CHANNELS, 1, *kernel.shape).clone())

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, [1, 1] * self.dims, "reflect")
        return CONVOLVE[self.dims - 1](x, self.kernel, stride=self.strides, groups=CHANNELS)


class Every(Part):
    """`x[..., first::step]`, along each axis."""

    def __init__(self, first: int, steps: Sequence[int]) -> None:
        super().__init__()
        self.taps = tuple(Taps(1, step, -first) for step in steps)
        self.spans = tuple(slice(first or None, None, step) for step in steps)

    def forward(self, x: Tensor) -> Tensor:
        return x[(..., *self.spans)]


class Join(Part):
    """Two branches that meet, equally large at the window.

    On some larger images one has a cell more: by hand it is cut off.
    """

    def __init__(self, left: Chain, right: Chain, how: str) -> None:
        super().__init__()
        self.left, self.right, self.how = left, right, how

    def forward(self, x: Tensor) -> Tensor:
        return self.meet(self.left(x), self.right(x))

    def meet(self, a: Tensor, b: Tensor) -> Tensor:
        if self.how == "concatenate":
            return torch.cat([a, b], 1)[:, 1 : 1 + CHANNELS]
        return a * b if self.how == "multiply" else a + b

    def dense(self, x: Tensor, cells: Sequence[int], context: str) -> Tensor:
        a, b = self.left.dense(x, cells, context), self.right.dense(x, cells, context)
        spans = [slice(min(both)) for both in zip(a.shape[2:], b.shape[2:], strict=True)]
        return self.meet(a[(..., *spans)], b[(..., *spans)])

    def clean(self, masks: Masks) -> Masks:
        pairs = zip(self.left.clean(masks), self.right.clean(masks), strict=True)
        return [[a and b for a, b in zip(*both, strict=False)] for both in pairs]

    def stride(self, dims: int) -> tuple[int, ...]:
        return self.left.stride(dims)


class Shuffle(Part):
    """Channels of two groups, one of each in turn (ShuffleNet)."""

    def forward(self, x: Tensor) -> Tensor:
        space = x.shape[2:]
        return x.view(x.shape[0], 2, CHANNELS // 2, *space).transpose(1, 2).flatten(1, 2)


class Halves(Part):
    """One half of the channels goes through a layer, the other around it."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.op = CONV[dims - 1](CHANNELS // 2, CHANNELS // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return torch.cat([b, self.op(a)], 1)
