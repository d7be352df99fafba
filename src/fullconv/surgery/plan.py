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
    """A feature map that the body hands to the head: the last values before the edits begin.

    `layout` is the classifier's, as that of a `Map`.
    """

    node: str
    channels: int
    axes: tuple[Axis, ...]
    layout: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """An op of the body that looks at the whole map.

    Attributes:
        node, where: its name in the blueprint, and for people.
        kind: what it takes over the map.
        size: cells per axis that it sees at the window.
    """

    node: str
    where: str
    kind: str
    size: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One score vector of the network, where it gives several.

    `name` is its key or place; `step` says, per axis, every how many of its cells one is a cell of
    the common map.
    """

    name: str
    outputs: int
    step: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a classifier becomes an FCN.

    Attributes:
        window: the classifier's input size, px per axis.
        stride: px between neighbouring windows of the FCN's map, per axis.
        native_stride: the product of the layers' strides, per axis.
        receptive_field: px one cell can see, per axis; zero-padded nets see past the window.
        channels: channels of the image.
        outputs: length of the score vector; of the first one where there are several.
        probabilities: whether the network itself ends in a softmax or a logistic function.
        steps: the edits, in the order of computation.
        padded: the nodes that see something that is not image at the window's rim.
        cuts: where the body ends and the head begins.
        untouched: how many nodes stay as they are.
        overhang: px before and after its window that a cell can see, per axis: what padding of the
            classifier's layers is in the picture around it.
        answers: the score vectors the network returns, in order.
        contexts: the ops that look at the whole map.
        context: what those see in a larger image: the "window" around every cell, or the "image".
        method: how a finer stride than the native one is reached.
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
    overhang: tuple[tuple[int, int], ...] = ()
    answers: tuple[Answer, ...] = ()
    contexts: tuple[Context, ...] = ()
    context: str = "window"
    method: str = "dilate"

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
        """Whether every cell equals the classifier on its crop: nothing pads, all is local."""
        return not self.padded and not self.contexts

    @property
    def is_finer(self) -> bool:
        """Whether the map is finer than the network's own."""
        return self.stride != self.native_stride

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
        plan = decode({key: value for key, value in data.items() if key != "format"}, TYPES)
        if not isinstance(plan, cls):
            raise ValueError(f"expected a plan, got {type(plan).__name__}")
        return plan

    def summary(self) -> list[tuple[str, str]]:
        """The facts beside the edits, as (name, value) pairs for people."""
        plural = "" if self.channels == 1 else "s"
        pads = (
            "nothing" if not self.padded else f"{len(self.padded)} layers, first {self.padded[0]}"
        )
        facts = [
            ("window", f"{times(self.window)} px, {self.channels} channel{plural}"),
            ("stride", f"{times(self.stride)} px (native {times(self.native_stride)})"),
            ("receptive field", f"{times(self.receptive_field)} px"),
            ("scores", f"{self.outputs}" + (" probabilities" if self.probabilities else "")),
            ("pads", pads),
            ("unchanged", f"{self.untouched} nodes"),
        ]
        if self.is_finer:
            facts.insert(2, ("method", self.method))
        if self.contexts:
            sees = "the window around each cell" if self.context == "window" else "the whole image"
            found = f"{len(self.contexts)}, first {self.contexts[0].where}; they see {sees}"
            facts.insert(-1, ("context ops", found))
        if len(self.answers) > 1:
            facts.insert(-1, ("answers", ", ".join(f"{a.name}: {a.outputs}" for a in self.answers)))
        return facts

    def __str__(self) -> str:
        rows = [(step.where, step.was, step.becomes, step.why) for step in self.steps]
        edits = table(("node", "was", "becomes", "why"), rows)
        facts = table((), self.summary())
        return f"{edits}\n{facts}"


_EDITS = [kind for kind in Edit.__subclasses__() if kind.__module__ == Edit.__module__]

TYPES: dict[str, type] = {
    kind.__name__: kind for kind in (Plan, Step, Cut, Answer, Context, Axis, Sweep, Pool, *_EDITS)
}
"""What a plan may be made of, by the names in its serialised form."""
