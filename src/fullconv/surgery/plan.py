"""The surgery plan: every edit that makes a classifier fully convolutional, as a value.

A plan is made from a blueprint alone, before any tensor is touched. It prints as a table, compares,
and goes to JSON and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fullconv.blueprint import Pool
from fullconv.geometry import Axis, Grid, Sweep, times
from fullconv.surgery.codec import decode, encode
from fullconv.surgery.edits import Edit
from fullconv.tables import table

FORMAT = 1
"""Version of the serialised form."""


@dataclass(frozen=True, slots=True)
class Step:
    """One edit: the node, what it was, what it becomes and why."""

    node: str
    where: str
    was: str
    why: str
    edit: Edit

    @property
    def becomes(self) -> str:
        """The edit in words."""
        return str(self.edit)


@dataclass(frozen=True, slots=True)
class Cut:
    """A feature map that the body hands to the head: the last values before the edits begin."""

    node: str
    channels: int
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a classifier becomes an FCN.

    Attributes:
        window: the classifier's input size, px per axis.
        stride: px between neighbouring windows of the FCN's map, per axis.
        native_stride: the product of the layers' strides, per axis.
        receptive_field: px one cell can see, per axis; zero-padded nets see past the window.
        channels: channels of the image.
        outputs: length of a score vector.
        probabilities: whether the network itself ends in a softmax or a logistic function.
        steps: the edits, in the order of computation.
        padded: the nodes that see something that is not image at the window's rim.
        cuts: where the body ends and the head begins.
        untouched: how many nodes stay as they are.
    """

    window: tuple[int, ...]
    stride: tuple[int, ...]
    native_stride: tuple[int, ...]
    receptive_field: tuple[int, ...]
    channels: int
    outputs: int
    probabilities: bool
    steps: tuple[Step, ...]
    padded: tuple[str, ...]
    cuts: tuple[Cut, ...]
    untouched: int

    def __post_init__(self) -> None:
        pairs = zip(self.native_stride, self.stride, strict=True)
        if any(native % stride for native, stride in pairs):
            raise AssertionError(f"stride {self.stride} does not divide {self.native_stride}")
        if len({step.node for step in self.steps}) != len(self.steps):
            raise AssertionError("a node has at most one edit")

    @property
    def edits(self) -> dict[str, Edit]:
        """The edit of every node that has one."""
        return {step.node: step.edit for step in self.steps}

    @property
    def exact_windows(self) -> bool:
        """Whether every cell equals the classifier on its crop: nothing pads."""
        return not self.padded

    def grid(self, size: tuple[int, ...]) -> Grid:
        """The windows of an image of `size` px. Raises InputError if it is below the window."""
        return Grid(size, self.window, self.stride)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-serialisable values."""
        return {"format": FORMAT, **encode(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        """The inverse of `to_dict`. Raises ValueError for anything that is no plan."""
        if data.get("format") != FORMAT:
            raise ValueError(f"plan format {data.get('format')!r}, expected {FORMAT}")
        plan = decode({key: value for key, value in data.items() if key != "format"}, _TYPES)
        if not isinstance(plan, cls):
            raise ValueError(f"expected a plan, got {type(plan).__name__}")
        return plan

    def summary(self) -> list[tuple[str, str]]:
        """The facts beside the edits, as (name, value) pairs for people."""
        plural = "" if self.channels == 1 else "s"
        pads = (
            "nothing" if not self.padded else f"{len(self.padded)} layers, first {self.padded[0]}"
        )
        return [
            ("window", f"{times(self.window)} px, {self.channels} channel{plural}"),
            ("stride", f"{times(self.stride)} px (native {times(self.native_stride)})"),
            ("receptive field", f"{times(self.receptive_field)} px"),
            ("scores", f"{self.outputs}" + (" probabilities" if self.probabilities else "")),
            ("pads", pads),
            ("unchanged", f"{self.untouched} nodes"),
        ]

    def __str__(self) -> str:
        rows = [(step.where, step.was, step.becomes, step.why) for step in self.steps]
        edits = table(("node", "was", "becomes", "why"), rows)
        facts = table((), self.summary())
        return f"{edits}\n{facts}"


_TYPES: dict[str, type] = {
    kind.__name__: kind for kind in (Plan, Step, Cut, Axis, Sweep, Pool, *Edit.__subclasses__())
}
