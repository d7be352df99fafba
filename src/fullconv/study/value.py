"""What a study found, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from fullconv.study.paired import Difference, difference, spread
from fullconv.training.state import Epoch


@dataclass(frozen=True, slots=True)
class Run:
    """One variant trained with one seed.

    Attributes:
        variant, seed: which.
        error: top-1 error in % on the test images after the last epoch; None where it failed.
        epochs: the course of the training.
        parameters: how many the network has.
        seconds: that training took.
        failed: why there is no error; empty where there is one.
        threads, torch, device: what ended it: PyTorch's threads, its version, and where it ran; its
            last digits depend on them. 0 and empty where it was not written down.
    """

    variant: str
    seed: int
    error: float | None
    epochs: tuple[Epoch, ...]
    parameters: int
    seconds: float
    failed: str = ""
    threads: int = 0
    torch: str = ""
    device: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-serialisable."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Run:
        """The run that `to_dict` wrote."""
        epochs = tuple(Epoch(**epoch) for epoch in given["epochs"])
        return cls(**{**given, "epochs": epochs})


@dataclass(frozen=True, slots=True)
class StepTime:
    """How long one step of training takes, from rounds in which all variants take turns.

    Attributes:
        forward, backward: medians in ms; forward with the loss.
        ratio: median of forward and backward together, divided by those of the base in the same
            round.
        low, high: quartiles of the ratio: between them lies the middle half of the rounds.
        rounds, batch, threads: how it was measured.
    """

    forward: float
    backward: float
    ratio: float
    low: float
    high: float
    rounds: int
    batch: int
    threads: int


@dataclass(frozen=True)
class Row:
    """A variant, over all its seeds.

    Attributes:
        variant: its name.
        runs: in the order of the seeds.
        parameters: how many it has.
        head: how many of them are those of the layers behind the body.
        against: the difference to the base; None for the base, and without a common seed.
        step: how long a step takes.
        gap: for "exact", the largest difference of its scores from those of "fc" at the start,
            relative to the largest score, in float64.
    """

    variant: str
    runs: tuple[Run, ...]
    parameters: int
    head: int
    against: Difference | None = None
    step: StepTime | None = None
    gap: float | None = None

    @cached_property
    def errors(self) -> dict[int, float]:
        """Top-1 errors in % by seed, of the runs that did not fail."""
        return errors_of(self.runs)

    @property
    def mean(self) -> float | None:
        """Over the seeds; None without any."""
        return fmean(self.errors.values()) if self.errors else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the seeds; None with fewer than two."""
        return spread(list(self.errors.values()))

    @property
    def failed(self) -> tuple[Run, ...]:
        """The runs that have no error."""
        return tuple(run for run in self.runs if run.failed)

    def to_dict(self) -> dict[str, Any]:
        """All numbers, JSON-serialisable."""
        return {
            "variant": self.variant,
            "parameters": self.parameters,
            "head": self.head,
            "error": self.mean,
            "deviation": self.deviation,
            "errors": {str(seed): error for seed, error in self.errors.items()},
            "difference": None if self.against is None else self.against.to_dict(),
            "step": None if self.step is None else asdict(self.step),
            "start_gap": self.gap,
            "runs": [run.to_dict() for run in self.runs],
        }


@dataclass(frozen=True)
class Study:
    """Variants of a network, trained side by side; prints as a table with what it shows.

    Attributes:
        settings: everything that a run's result depends on, as it stands in study.json.
        rows: a variant each; the first one is the base.
        images: how many were trained on, and how many tested on.
        given: top-1 error in % of the network as it was given, where others learn from it.
        remarks: what was taken for granted.
        unread: images that were left out, with the reason.
    """

    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    images: tuple[int, int]
    given: float | None = None
    remarks: tuple[str, ...] = ()
    unread: tuple[str, ...] = field(default=())

    @property
    def base(self) -> Row:
        """What the others are compared with."""
        return self.rows[0]

    def row(self, variant: str) -> Row:
        """One row. Raises KeyError if there is none."""
        return {row.variant: row for row in self.rows}[variant]

    @property
    def failed(self) -> tuple[Run, ...]:
        """The runs that have no error."""
        return tuple(run for row in self.rows for run in row.failed)

    def to_dict(self) -> dict[str, Any]:
        """All numbers and sentences, JSON-serialisable."""
        from fullconv.study.sentences import overall, sentence

        return {
            "settings": dict(self.settings),
            "images": {"train": self.images[0], "test": self.images[1]},
            "given_error": self.given,
            "rows": [{**row.to_dict(), "sentence": sentence(row, self)} for row in self.rows],
            "conclusion": overall(self),
            "remarks": list(self.remarks),
            "unread": list(self.unread),
        }

    def __str__(self) -> str:
        from fullconv.study.report import text

        return text(self)


def errors_of(runs: Iterable[Run]) -> dict[int, float]:
    """Top-1 errors in % by seed, of the runs that did not fail."""
    return {run.seed: run.error for run in runs if run.error is not None}


def compared(own: Iterable[Run], base: Iterable[Run]) -> Difference | None:
    """A variant against the base, over the seeds that both have; None without any."""
    ours, theirs = errors_of(own), errors_of(base)
    common = [seed for seed in ours if seed in theirs]
    if not common:
        return None
    return difference([ours[seed] for seed in common], [theirs[seed] for seed in common])
