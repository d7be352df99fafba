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
class TakeCells(Edit):
    """An indexing along space starts and steps otherwise: FCN cells per axis."""

    starts: tuple[int, ...]
    steps: tuple[int, ...]

    def __str__(self) -> str:
        return f"every {times(self.steps)} cells"


@dataclass(frozen=True, slots=True)
class SetPad(Edit):
    """Padding of a dilated map: every phase is padded as a map of its own.

    `amounts` are (before, after) classifier cells per axis, `channels` those of the channels.
    """

    amounts: tuple[tuple[int, int], ...]
    channels: tuple[int, int]
    mode: str
    dilation: tuple[int, ...]

    def __str__(self) -> str:
        return f"the same for every phase, dilation {times(self.dilation)}"


@dataclass(frozen=True, slots=True)
class ShuffleChannels(Edit):
    """Channels in another order: seen as `parts`, slowest first, taken in `order`."""

    parts: tuple[int, ...]
    order: tuple[int, ...]

    def __str__(self) -> str:
        return f"channels as {times(self.parts)}, in the order {self.order}"


@dataclass(frozen=True, slots=True)
class SpaceToDepth(Edit):
    """Blocks of cells become channels.

    Attributes:
        sweeps: per axis, the block as a kernel: its length, step and dilation.
        parts: lengths of the channel's parts before, slowest first.
        order: of the new channels, slowest first: 0, -1, … are parts of the channel, 1, 2, … the
            blocks of the axes.
    """

    sweeps: tuple[Sweep, ...]
    parts: tuple[int, ...]
    order: tuple[int, ...]

    def __str__(self) -> str:
        stride = times([sweep.stride for sweep in self.sweeps])
        return f"blocks of {times([s.kernel for s in self.sweeps])} to channels, stride {stride}"


@dataclass(frozen=True, slots=True)
class ReduceChannels(Edit):
    """A reduction over the channels, or over one of the parts they are seen as."""

    kind: str
    parts: tuple[int, ...]
    part: int

    def __str__(self) -> str:
        over = "channels" if len(self.parts) == 1 else f"part {self.part} of {times(self.parts)}"
        return f"{self.kind} over {over}"


@dataclass(frozen=True, slots=True)
class SoftmaxParts(Edit):
    """Softmax over one of the parts that the channels are seen as."""

    name: str
    parts: tuple[int, ...]
    part: int

    def __str__(self) -> str:
        return f"{self.name} over part {self.part} of {times(self.parts)} channels"


@dataclass(frozen=True, slots=True)
class StackChannels(Edit):
    """Stacking becomes a concatenation of channels."""

    def __str__(self) -> str:
        return "concatenate along the channels"


@dataclass(frozen=True, slots=True)
class ConvAlongChannels(Edit):
    """A one-channel convolution over the entries of a vector: over the channels of every cell."""

    stride: int
    padding: int
    dilation: int

    def __str__(self) -> str:
        return "the same, along the channels of every cell"


@dataclass(frozen=True, slots=True)
class PoolWindow(Edit):
    """A reduction over the window that is no usual pool, of stride 1: sum, norm, minimum."""

    kind: str
    kernel: tuple[int, ...]
    dilation: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind} over {times(self.kernel)}, stride 1"


@dataclass(frozen=True, slots=True)
class PoolContext(Edit):
    """A context op that pools: for every cell, over the box nearest to centred on it.

    Attributes:
        kernel: cells of the box per axis, 1 for axes that are not pooled.
        local: False pools over the whole map instead (each phase of a dilated map by itself).
        axes: the axes that are pooled, counted from 1.
    """

    kind: str
    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    local: bool
    axes: tuple[int, ...]

    def __str__(self) -> str:
        if not self.local:
            return f"{self.kind} over the whole map"
        return f"{self.kind} over the {times(self.kernel)} box around every cell"


@dataclass(frozen=True, slots=True)
class Attend(Edit):
    """A product with softmax weights over the map: a weighted mean, with softmax and all.

    Attributes:
        weights: which of the two inputs holds the weights' logarithms.
        kernel, dilation, local: as in `PoolContext`.
        every: whether every cell has a mean (a context op), or every window (a head).
    """

    weights: int
    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    local: bool
    every: bool

    def __str__(self) -> str:
        if not self.local:
            return "weighted mean over the whole map"
        place = "around every cell" if self.every else "of every window"
        return f"weighted mean over the {times(self.kernel)} box {place}"


@dataclass(frozen=True, slots=True)
class NormContext(Edit):
    """A norm over space: mean and variance as `PoolContext` takes them, in groups of channels."""

    groups: int
    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    local: bool

    def __str__(self) -> str:
        if not self.local:
            return "the same, over the whole map"
        return f"the same, with mean and variance of the {times(self.kernel)} box around every cell"


@dataclass(frozen=True, slots=True)
class Enlarge(Edit):
    """Cells are repeated a fixed number of times per axis, whatever the size of the map."""

    factors: tuple[int, ...]

    def __str__(self) -> str:
        return f"every cell repeated {times(self.factors)} times"


@dataclass(frozen=True, slots=True)
class CropToCommon(Edit):
    """Inputs whose trailing cells may differ in number are cut to what all of them have.

    `spared` are the (input, axis) that are one cell for the whole image; axes count from 1.
    """

    spared: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        return "the same, on the cells all branches have"


@dataclass(frozen=True, slots=True)
class Phases(Edit):
    """After `edit`, phases of the map move into the batch, or back from it into their places.

    `before` and `after` are the phases per axis that lie in the batch.
    """

    edit: Edit | None
    before: tuple[int, ...]
    after: tuple[int, ...]

    def __str__(self) -> str:
        was = "the same" if self.edit is None else str(self.edit)
        return f"{was}; {times(self.before)} to {times(self.after)} phases"


@dataclass(frozen=True, slots=True)
class Together(Edit):
    """An edit that needs the whole map: phases leave the batch before it, and go back after it.

    The map has `(image + slack) // stride` cells along each axis; what was added to make all phases
    equally long is cut off.
    """

    edit: Edit
    phases: tuple[int, ...]
    stride: tuple[int, ...]
    slack: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.edit}, with the {times(self.phases)} phases put together"


def bare(edit: Edit | None) -> Edit | None:
    """An edit without the moves of phases around it."""
    while isinstance(edit, Phases | Together):
        edit = edit.edit
    return edit
