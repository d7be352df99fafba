"""The plan of an all-convolutional network, as a value: what is to change, before it does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fullconv.allconv.edits import Edit, MeanHead, ScoresHead
from fullconv.geometry import times
from fullconv.surgery.edits import LinearToConv
from fullconv.tables import table

STARTS = {
    "": "–",
    "exact": "exact",
    "exact at the window": "exact at the window; in other images zeros count at the border",
    "exact inside": "exact inside; at the border zeros count",
    "average": "the average, not the maximum",
    "fitted maximum": "the nearest to the maximum on the images, per channel",
    "identity": "the identity: exact",
    "own weights": "its own weights, at fewer places",
    "summed": "weights summed over the window: exact on a flat map",
    "fitted scores": "the nearest to the scores on the images",
    "random": "random: to be trained",
}
"""How a layer begins, and what that says to people."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change.

    Attributes:
        node, where: its name in the blueprint, and for people.
        was, why: what it was and why it changes, in words.
        edit: what it becomes.
        start: how it begins: one of `STARTS`.
        added, removed: parameters that come and go.
        layer: where a new layer lies in the network; empty for others, and before there is one.
    """

    node: str
    where: str
    was: str
    why: str
    edit: Edit
    start: str = ""
    added: int = 0
    removed: int = 0
    layer: str = ""

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise AssertionError(f"{self.start!r} is no start")

    @property
    def becomes(self) -> str:
        """The edit in words."""
        return str(self.edit)

    @property
    def is_head(self) -> bool:
        """Whether it is about what lies behind the body."""
        return isinstance(self.edit, ScoresHead | MeanHead | LinearToConv)


@dataclass(frozen=True, slots=True)
class AllConvPlan:
    """How a classifier becomes an all-convolutional network.

    Attributes:
        window: the classifier's input size, px per axis.
        channels, outputs: of the image, and how many scores.
        pools, head: what was asked for: words of `fullconv.allconv.words`.
        steps: the changes, in the order of computation.
        ending: the nodes that scores go through last, such as a softmax: they stay, behind the
            mean over the map.
        parameters: of the classifier, each counted once.
        in_head: those of them that only the head uses.
        left_out: those that no answer is computed from at inference (auxiliary classifiers).
    """

    window: tuple[int, ...]
    channels: int
    outputs: int
    pools: str
    head: str
    steps: tuple[Step, ...]
    ending: tuple[str, ...]
    parameters: int
    in_head: int
    left_out: int

    @property
    def added_by_pools(self) -> int:
        """Parameters of the convolutions in the places of pools, or before them."""
        return sum(step.added - step.removed for step in self.steps if not step.is_head)

    @property
    def new_head(self) -> int:
        """Parameters of the new network's head."""
        changed = sum(step.added - step.removed for step in self.steps if step.is_head)
        return self.in_head + changed

    @property
    def new_parameters(self) -> int:
        """Parameters of the new network."""
        kept = self.parameters - self.left_out - self.in_head
        return kept + self.added_by_pools + self.new_head

    @property
    def is_exact(self) -> bool:
        """Whether the new network begins as the same function at the window."""
        exact = ("", "exact", "exact at the window", "identity")
        return all(step.start in exact for step in self.steps)

    def summary(self) -> list[tuple[str, str]]:
        """The facts beside the steps, as (name, value) pairs for people."""
        share = self.in_head / max(1, self.parameters)
        facts = [
            ("window", f"{times(self.window)} px"),
            ("parameters", f"{self.parameters:,} → {self.new_parameters:,}"),
            ("of them in the head", f"{self.in_head:,} ({share:.1%}) → {self.new_head:,}"),
            ("of them for pools", f"{self.added_by_pools:+,}"),
        ]
        if self.left_out:
            facts.append(("left out", f"{self.left_out:,}, which no answer is computed from"))
        begins = "the same function" if self.is_exact else "another function, to be trained"
        return [*facts, ("begins as", begins)]

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-serialisable values."""
        steps = [
            {**asdict(step), "edit": {"type": type(step.edit).__name__, **asdict(step.edit)},
             "becomes": step.becomes}
            for step in self.steps
        ]  # fmt: skip
        counted = {
            "new_parameters": self.new_parameters,
            "new_head": self.new_head,
            "added_by_pools": self.added_by_pools,
            "is_exact": self.is_exact,
        }
        return {**asdict(self), "steps": steps, **counted}

    def __str__(self) -> str:
        rows = [
            (step.where, step.was, step.becomes, STARTS[step.start], step.why)
            for step in self.steps
        ]
        changes = table(("node", "was", "becomes", "begins as", "why"), rows)
        return f"{changes}\n{table((), self.summary())}"
