"""How costs grow, as values: one row for each size of image, and exponents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fullconv.auditing.measuring.timing import Spread

WAYS = ("forward", "training")
"""A pass forward, and one forward and backward."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One way through the network, at one size.

    Attributes:
        counted: bytes counted: forward the most that is alive at once, in training what autograd
            keeps for the way back.
        needed: upper bound of all bytes that it takes beside the weights.
        fits: whether the memory suffices for that.
        seconds: of the map; None where it was not timed.
        crops: seconds of crops at the same cells, counted up from batches; None where there is but
            one cell, or they were not timed.
        speed_up: crops ÷ map, of the same round.
        peak: bytes measured; None where they could not be.
        foreseen: seconds that it would take, where that was too long.
        rounds: how many numbers the seconds are the median of.
        crops_peak: bytes measured of a batch of crops; None where they could not be.
    """

    counted: int
    needed: int
    fits: bool = True
    seconds: Spread | None = None
    crops: Spread | None = None
    speed_up: Spread | None = None
    peak: int | None = None
    foreseen: float | None = None
    rounds: int = 0
    crops_peak: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One size of image.

    Attributes:
        size: px per axis.
        cells: of the map.
        macs: of a pass forward over the image.
        crop_macs: of the classifier on every window.
        forward, training: the two ways through.
    """

    size: tuple[int, ...]
    cells: int
    macs: int
    crop_macs: int
    forward: Pass
    training: Pass

    @property
    def pixels(self) -> int:
        """Px of the image."""
        return math.prod(self.size)

    @property
    def side(self) -> float:
        """Px of a side; the geometric mean where they differ."""
        return float(self.pixels ** (1 / len(self.size)))

    def way(self, name: str) -> Pass:
        """One of the two ways, "forward" or "training"."""
        return self.forward if name == "forward" else self.training

    @property
    def ceiling(self) -> float:
        """How much faster than crops the map can be by its MACs; 0 where it has none."""
        return self.crop_macs / self.macs if self.macs else 0.0


@dataclass(frozen=True, slots=True)
class Growth:
    """What grows, and how.

    Attributes:
        rows: by size, the window first.
        window, stride: of the FCN, px per axis.
        limit: the ceiling of the speed-up on ever larger images.
        gradients: bytes of the gradients of all parameters, part of every training peak.
        batches: crops in a batch, for both ways.
        allowed: bytes of memory that a pass may take.
        given: whether that was said, or is what is free.
        exponents: by what grows, its exponent over the side; see `exponent`.
        once: what was timed once only, in its first run.
        tells_peak: whether the peak of the memory can be measured here.
        waited: share of the time that threads waited for a core; None where it is not told.
        device, threads: where it ran.
    """

    rows: tuple[Row, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    limit: float
    gradients: int
    batches: dict[str, int]
    allowed: int
    given: bool
    exponents: dict[str, float] = field(default_factory=dict)
    once: tuple[str, ...] = ()
    tells_peak: bool = True
    waited: float | None = None
    device: str = "cpu"
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable."""
        found = asdict(self)
        for row, entry in zip(self.rows, found["rows"], strict=True):
            entry["ceiling"] = row.ceiling
        return found


def exponents(rows: Sequence[Row]) -> dict[str, float]:
    """The exponent of all that is known at two sizes or more."""
    columns: dict[str, list[tuple[float, float | None]]] = {
        "macs": [(row.side, row.macs) for row in rows],
        "crop_macs": [(row.side, row.crop_macs) for row in rows],
    }
    for way in WAYS:
        passes = [(row.side, row.way(way)) for row in rows]
        columns[f"{way}_seconds"] = [
            (x, None if one.seconds is None else one.seconds.median) for x, one in passes
        ]
        columns[f"{way}_counted"] = [(x, one.counted) for x, one in passes]
        columns[f"{way}_peak"] = [(x, one.peak) for x, one in passes]
    found = {name: exponent([p for p in points if p[1]]) for name, points in columns.items()}
    return {name: value for name, value in found.items() if value is not None}


def exponent(points: Sequence[tuple[float, float | None]]) -> float | None:
    """`b` of the power law `y = a · x^b` nearest to points `(x, y)`.

    By least squares of logarithms. None for fewer than two different x.
    """
    logs = [(math.log(x), math.log(y)) for x, y in points if y]
    if len({x for x, _ in logs}) < 2:
        return None
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    over = sum((x - mean_x) * (y - mean_y) for x, y in logs)
    return over / sum((x - mean_x) ** 2 for x, _ in logs)
