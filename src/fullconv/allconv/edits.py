"""What becomes of pools and of the head, described without any tensor."""

from __future__ import annotations

from dataclasses import dataclass

from fullconv.geometry import Sweep, times
from fullconv.surgery.edits import LinearToConv


@dataclass(frozen=True, slots=True)
class PoolToConv:
    """A pool becomes a convolution of all channels in its place, with its kernel and stride.

    Attributes:
        channels: of the map.
        sweeps: of the pool, without ceil mode: what hangs over the end is padding.
        value: what every tap of a channel's own kernel begins at; all others begin at 0.
        relu: whether a ReLU follows: where the map is not negative it changes no average.
        maximum: whether the pool takes the maximum, which no convolution does.
    """

    channels: int
    sweeps: tuple[Sweep, ...]
    value: float
    relu: bool
    maximum: bool

    def __str__(self) -> str:
        text = f"Conv {_kernel(self.sweeps)}, {self.channels} → {self.channels}, "
        return text + f"stride {_stride(self.sweeps)}{_then(self.relu)}"


@dataclass(frozen=True, slots=True)
class ConvBeforePool:
    """A pool stays; a convolution of all channels that keeps the map's size stands before it.

    `sweeps` are those of the convolution; the one tap that begins at 1 is `sweep.padding[0]`.
    """

    channels: int
    sweeps: tuple[Sweep, ...]
    relu: bool

    def __str__(self) -> str:
        text = f"Conv {_kernel(self.sweeps)}, {self.channels} → {self.channels}"
        return f"{text}{_then(self.relu)}, then the pool"


@dataclass(frozen=True, slots=True)
class DropPool:
    """A pool is left out; the convolution of node `conv` makes its steps."""

    conv: str

    def __str__(self) -> str:
        return "(nothing)"


@dataclass(frozen=True, slots=True)
class Restride:
    """A convolution keeps its weights and makes longer steps; negative padding cuts off."""

    sweeps: tuple[Sweep, ...]

    def __str__(self) -> str:
        pads = [sweep.padding for sweep in self.sweeps]
        padding = "×".join(str(a) if a == b else f"{a} and {b}" for a, b in pads)
        return f"the same, stride {_stride(self.sweeps)}, padding {padding}"


@dataclass(frozen=True, slots=True)
class ScoresHead:
    """All behind the body becomes a 1×1 convolution to the scores and their mean over the map.

    Attributes:
        cut: the node of the body's last map.
        channels: of that map.
        outputs: how many scores.
        affine: whether scores are sums of the map's numbers times weights, so that they can be
            begun with.
    """

    cut: str
    channels: int
    outputs: int
    affine: bool

    def __str__(self) -> str:
        return f"Conv 1×1, {self.channels} → {self.outputs}, mean over the map"


@dataclass(frozen=True, slots=True)
class MeanHead:
    """The mean over the map of node `source`; of the `whole` windows only, or of all of it."""

    source: str
    whole: bool

    def __str__(self) -> str:
        return "the same, mean over the map" if self.whole else "mean over the map"


Edit = PoolToConv | ConvBeforePool | DropPool | Restride | ScoresHead | MeanHead | LinearToConv
"""What a node may become; an FC layer of an exact head is the surgery's own edit."""


def uneven(sweeps: tuple[Sweep, ...]) -> bool:
    """Whether they pad otherwise than PyTorch's layers do: alike on both sides, and not below 0."""
    return any(s.padding[0] != s.padding[1] or s.padding[0] < 0 for s in sweeps)


def _kernel(sweeps: tuple[Sweep, ...]) -> str:
    return times([sweep.kernel for sweep in sweeps])


def _stride(sweeps: tuple[Sweep, ...]) -> str:
    return times([sweep.stride for sweep in sweeps])


def _then(relu: bool) -> str:
    return ", ReLU" if relu else ""
