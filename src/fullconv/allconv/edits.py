"""What becomes of pools and of the head, described without any tensor."""

from __future__ import annotations

from dataclasses import dataclass

from fullconv.geometry import Sweep, times


@dataclass(frozen=True, slots=True)
class PoolToConv:
    """A pool becomes a convolution of all channels in its place, with its kernel and stride.

    Attributes:
        channels: of the map.
        sweeps: of the pool, without ceil mode: what that adds is padding.
        value: what every tap of a channel's own kernel begins at, so that it averages.
        relu: whether a ReLU follows: where the map is not negative it changes no average.
        maximum: whether the pool took the maximum, which no convolution does.
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
    """A pool stays; a convolution of all channels with its kernel stands before it.

    `sweeps` keep the size of the map; the one tap that begins at 1 is `sweep.padding[0]`.
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
    """A convolution keeps its weights and makes longer steps."""

    sweeps: tuple[Sweep, ...]

    def __str__(self) -> str:
        pads = [sweep.padding for sweep in self.sweeps]
        padding = times([pad[0] for pad in pads])
        if any(before != after for before, after in pads):
            padding = times([f"{before}+{after}" for before, after in pads])  # type: ignore[misc]
        return f"the same, stride {_stride(self.sweeps)}, padding {padding}"


@dataclass(frozen=True, slots=True)
class AverageHead:
    """All behind the body becomes a 1×1 convolution to the scores and the mean over the map.

    Attributes:
        channels: of the body's last map.
        outputs: how many scores.
        ending: what the classifier ends in: "softmax", "log-softmax", "sigmoid" or "".
        linear: the node of the one FC layer whose weights it can begin with, or "".
        cut: the node of the body's last map.
    """

    channels: int
    outputs: int
    ending: str
    linear: str
    cut: str

    def __str__(self) -> str:
        text = f"Conv 1×1, {self.channels} → {self.outputs}, mean over the map"
        return text + (f", {self.ending}" if self.ending else "")


@dataclass(frozen=True, slots=True)
class ExactHead:
    """The head as `fullconv.convert` writes it, and the mean of the scores over the map."""

    def __str__(self) -> str:
        return "the same as convolutions, mean over the map"


Edit = PoolToConv | ConvBeforePool | DropPool | Restride | AverageHead | ExactHead


def _kernel(sweeps: tuple[Sweep, ...]) -> str:
    return times([sweep.kernel for sweep in sweeps])


def _stride(sweeps: tuple[Sweep, ...]) -> str:
    return times([sweep.stride for sweep in sweeps])


def _then(relu: bool) -> str:
    return ", ReLU" if relu else ""
