"""The edits a plan is made of: what a node becomes, described without any tensor.

A node without an edit is kept as it is. Writers carry edits out; nothing else changes a network.
"""

from __future__ import annotations

from dataclasses import dataclass

from fullconv.blueprint import Pool
from fullconv.geometry import Sweep, times


@dataclass(frozen=True, slots=True)
class Edit:
    """Base of every edit; its text says what the node becomes."""


@dataclass(frozen=True, slots=True)
class Bypass(Edit):
    """The node becomes its input: at the window it only renames or reshapes numbers."""

    def __str__(self) -> str:
        return "(nothing)"


@dataclass(frozen=True, slots=True)
class LinearToConv(Edit):
    """A fully-connected layer becomes a convolution whose weight is a view of the same numbers.

    Attributes:
        channels: input channels of the map.
        kernel: cells per axis.
        dilation: cells between the taps, per axis.
        order: labels of the flattened features, slowest first (0 = channel, 1… = axes);
            the weight `(out, in)` is seen as `(out, *order)` and its axes put in the order of a
            convolution's weight.
        bins: per axis the spans of cells that adaptive pooling would average, or (); where there
            are any, the average is folded into the weight and `kernel` counts the cells below.
    """

    channels: int
    out_channels: int
    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    order: tuple[int, ...]
    bins: tuple[tuple[tuple[int, int], ...], ...] = ()

    @property
    def taps(self) -> tuple[int, ...]:
        """Weights per axis: the kernel, or the number of bins where they are folded."""
        bins = self.bins or ((),) * len(self.kernel)
        return tuple(len(b) or k for b, k in zip(bins, self.kernel, strict=True))

    def __str__(self) -> str:
        text = f"Conv {times(self.kernel)}, {self.channels} → {self.out_channels}"
        if any(step > 1 for step in self.dilation):
            text += f", dilation {times(self.dilation)}"
        return text + (", pooling folded in" if self.bins else "")


@dataclass(frozen=True, slots=True)
class Resweep(Edit):
    """A convolution keeps its weights and gets another stride, padding or dilation."""

    sweeps: tuple[Sweep, ...]

    def __str__(self) -> str:
        stride = times([sweep.stride for sweep in self.sweeps])
        dilation = times([sweep.dilation for sweep in self.sweeps])
        return f"the same, stride {stride}, dilation {dilation}"


@dataclass(frozen=True, slots=True)
class SetPool(Edit):
    """Any pooling or reduction becomes this pool."""

    pool: Pool

    def __str__(self) -> str:
        kernel = times([sweep.kernel for sweep in self.pool.sweeps])
        stride = times([sweep.stride for sweep in self.pool.sweeps])
        text = f"{self.pool.kind} pool {kernel}, stride {stride}"
        dilation = [sweep.dilation for sweep in self.pool.sweeps]
        return text + (f", dilation {times(dilation)}" if max(dilation) > 1 else "")


@dataclass(frozen=True, slots=True)
class AlongChannels(Edit):
    """What worked along a vector's entries works along the channels of a map.

    `axes` is the number of spatial axes of the map.
    """

    axes: int

    def __str__(self) -> str:
        return "the same, along the channels of every cell"


@dataclass(frozen=True, slots=True)
class TakeChannels(Edit):
    """An indexing becomes a slice of the channels: start, stop, step."""

    start: int
    stop: int
    step: int

    def __str__(self) -> str:
        return f"channels {self.start}:{self.stop}:{self.step}"


@dataclass(frozen=True, slots=True)
class CropToCommon(Edit):
    """Inputs whose trailing cells may differ in number are cut to what all of them have."""

    def __str__(self) -> str:
        return "the same, on the cells all branches have"
