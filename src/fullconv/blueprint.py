"""The neutral graph of a network: what each node computes, and its shape at the window.

A blueprint knows neither torch.fx nor ONNX: readers translate a host network into these ops, rules
think about them. An op holds what matters for space (kernels, strides, axes); names of functions
are carried along for people. Axes are counted as in the tensor, batch first, never negative.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fullconv.geometry import Sweep, times


@dataclass(frozen=True, slots=True)
class Op:
    """Base of every op."""


@dataclass(frozen=True, slots=True)
class Input(Op):
    """The image, `(N, C, *window)`."""


@dataclass(frozen=True, slots=True)
class Output(Op):
    """What the network returns.

    `names` says what its inputs are called where there are several: keys of a dict, or places.
    """

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Constant(Op):
    """A parameter, a buffer, or anything computed from them alone."""


@dataclass(frozen=True, slots=True)
class Convolution(Op):
    """A convolution over all spatial axes; `sweeps` has one entry per axis."""

    out_channels: int
    sweeps: tuple[Sweep, ...]
    groups: int = 1
    padding_mode: str = "zeros"

    def __str__(self) -> str:
        kernel = times([sweep.kernel for sweep in self.sweeps])
        return f"Conv {kernel} → {self.out_channels}"


@dataclass(frozen=True, slots=True)
class Pool(Op):
    """A pool with a fixed kernel.

    `divisor` replaces the number an average divides by; `counted` says, per axis, how much of the
    padding counts as cells where an average counts padding; () for all of it.
    """

    kind: Literal["average", "max"]
    sweeps: tuple[Sweep, ...]
    count_include_pad: bool = True
    divisor: int | None = None
    counted: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        kernel = times([sweep.kernel for sweep in self.sweeps])
        stride = times([sweep.stride for sweep in self.sweeps])
        return f"{self.kind} pool {kernel}, stride {stride}"


@dataclass(frozen=True, slots=True)
class AdaptivePool(Op):
    """A pool with a fixed output size (cells per axis)."""

    kind: Literal["average", "max"]
    output: tuple[int, ...]

    def __str__(self) -> str:
        return f"adaptive {self.kind} pool to {times(self.output)}"


@dataclass(frozen=True, slots=True)
class Reduce(Op):
    """A reduction over whole tensor axes: Euclidean norm, variance, and the usual ones."""

    kind: Literal["average", "max", "min", "sum", "norm", "variance", "sample variance"]
    axes: tuple[int, ...]
    keepdim: bool = False

    def __str__(self) -> str:
        return f"{self.kind} over axes {', '.join(map(str, self.axes))}"


@dataclass(frozen=True, slots=True)
class Linear(Op):
    """A fully-connected layer over the last tensor axis."""

    in_features: int
    out_features: int

    def __str__(self) -> str:
        return f"Linear {self.in_features} → {self.out_features}"


@dataclass(frozen=True, slots=True)
class PerChannel(Op):
    """A function of each number that knows its channel, tensor axis 1: batch norm at inference."""

    name: str
    features: int

    def __str__(self) -> str:
        return f"{self.name} of {self.features}"


@dataclass(frozen=True, slots=True)
class FeatureNorm(Op):
    """A norm over the last `axes` tensor axes, of one number at a time: layer norm, RMS norm.

    `affine` tells that every normalised position has a weight of its own.
    """

    name: str
    axes: int
    affine: bool

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class GroupNorm(Op):
    """A norm over space and groups of channels; instance norm has as many groups as channels."""

    name: str
    groups: int

    def __str__(self) -> str:
        return f"{self.name}, {self.groups} groups"


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """Softmax or log-softmax over one tensor axis."""

    axis: int
    name: str = "softmax"

    def __str__(self) -> str:
        return f"{self.name} along axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Elementwise(Op):
    """A function of each number by itself: no spatial effect."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Identity(Op):
    """Nothing at inference: dropout, identity, contiguous, detach.

    A `foreign` one belongs to another library and is left out of the FCN.
    """

    name: str
    foreign: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Combine(Op):
    """A function of several tensors, number by number, with broadcasting."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Concatenation along one tensor axis."""

    axis: int

    def __str__(self) -> str:
        return f"concatenate along axis {self.axis}"


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """A product over the last axis of the first and the last but one of the second tensor."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Stack(Op):
    """Stacking along a new tensor axis."""

    axis: int

    def __str__(self) -> str:
        return f"stack along axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Expand(Op):
    """Tensor axes of length 1 repeated to the node's shape."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Enlarge(Op):
    """Resizing to the node's shape, by repeating cells (`nearest`) or in another way."""

    mode: str

    def __str__(self) -> str:
        return f"resize, {self.mode}"


@dataclass(frozen=True, slots=True)
class SpaceToDepth(Op):
    """Blocks of cells become channels, those of one channel side by side: pixel unshuffle."""

    block: int

    def __str__(self) -> str:
        return f"pixel unshuffle by {self.block}"


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """The same numbers in the same order under the node's shape: flatten, view, squeeze, …"""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Permute(Op):
    """The tensor axes in another order."""

    order: tuple[int, ...]

    def __str__(self) -> str:
        return f"permute to {', '.join(map(str, self.order))}"


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """Padding of every tensor axis by (before, after) cells."""

    amounts: tuple[tuple[int, int], ...]
    mode: str = "constant"


@dataclass(frozen=True, slots=True)
class Slice(Op):
    """One (start, stop, step) per tensor axis, `stop` None for an open end.

    `dropped` axes hold one entry and are then removed from the shape.
    """

    ranges: tuple[tuple[int, int | None, int], ...]
    dropped: tuple[int, ...] = ()

    def __str__(self) -> str:
        return "index"


@dataclass(frozen=True, slots=True)
class Refused(Op):
    """An op that is known, and known to have no exact dense form; `why` says so."""

    name: str
    why: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Unknown(Op):
    """An op nobody has described.

    `name` is the host's own name for it, `line` the line of Python that would describe it.
    """

    name: str
    line: str = ""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the network.

    Attributes:
        name: unique in the blueprint.
        op: what computes it.
        inputs: names of the nodes it is computed from.
        shape: its shape at the window, batch first; empty for what is no tensor.
        where: the node for people: module path and type.
        problem: why the classifier itself cannot compute it at this window; usually empty.
    """

    name: str
    op: Op
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    where: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A network as nodes in the order of computation, traced at `window` with a `batch`."""

    nodes: tuple[Node, ...]
    window: tuple[int, ...]
    channels: int
    batch: int
    by_name: dict[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {node.name: node for node in self.nodes})
        self.check()

    @property
    def output(self) -> Node:
        """The node that returns the answer."""
        return self.nodes[-1]

    def check(self) -> None:
        """The invariants of a blueprint; a violation is a reader's fault, not a user's."""
        if len(self.by_name) != len(self.nodes):
            raise AssertionError("node names must be unique")
        kinds = [type(node.op) for node in self.nodes]
        if kinds.count(Input) != 1 or kinds.count(Output) != 1 or kinds[-1] is not Output:
            raise AssertionError("a blueprint has one input and ends in its one output")
        seen: set[str] = set()
        for node in self.nodes:
            missing = set(node.inputs) - seen
            if missing:
                raise AssertionError(f"{node.name} is computed before its inputs {missing}")
            seen.add(node.name)

    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """For each node, the nodes that read it."""
        table: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                table[name].append(node)
        return {name: tuple(nodes) for name, nodes in table.items()}
