"""What finer maps cost: cells, MACs, memory and seconds at strides below the native one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from fullconv.api.convert import convert
from fullconv.api.costs import macs, macs_per_pixel
from fullconv.api.memory import Budget, peak_bytes
from fullconv.auditing.measuring.noise import drawn
from fullconv.auditing.measuring.timing import (
    AT_LEAST,
    LITTLE,
    ROUNDS,
    Deadline,
    Say,
    Side,
    Spread,
    Times,
    clock,
    in_turn,
)
from fullconv.errors import RefusedError
from fullconv.geometry import Grid, times
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.surgery.plan import Plan

WINDOWS = 2
"""Side of the image that finer maps are made of, in windows."""


HELD = 2 << 30
"""Bytes of weights that are held at once, at most: every stride that is timed has its own."""

AT_FIRST = 3
"""The native stride, its half and its quarter are timed before finer ones are even counted."""

FIRST_SHARE = 0.6
"""Of the seconds that are left, what their rounds may take."""

TIMED_SHARE = 0.8
"""Of the seconds that are left, runs that are timed may be foreseen to take this much."""

PASSES = 6
"""Passes of a stride that is timed however few the seconds are: warm-up, and a round or more."""


@dataclass(frozen=True, slots=True)
class Stride:
    """One stride, on the image of `Strides.size`.

    Attributes:
        stride: px between cells, per axis.
        cells: of the map.
        macs: of a pass.
        bytes: the most that is alive at once, counted.
        needed: upper bound of all bytes that a pass takes beside the weights.
        ceiling: how much faster than sliding the pass can be, by its MACs.
        limit: the same on ever larger images.
        seconds: of a pass; None where it was not timed.
        slower: seconds against those of the native stride, of the same round.
        foreseen: seconds that it would take, where it was not timed.
    """

    stride: tuple[int, ...]
    cells: int
    macs: int
    bytes: int
    needed: int
    ceiling: float
    limit: float
    seconds: Spread | None = None
    slower: Spread | None = None
    foreseen: float | None = None


@dataclass(frozen=True, slots=True)
class Strides:
    """How coarse a map is, and what finer ones cost.

    Attributes:
        rows: the native stride first, then ever finer ones.
        size: px of the image, per axis.
        window, field: px of the window and of what a cell sees, per axis.
        outside: share of the receptive field that lies outside the window.
        refused: strides that the network cannot have, with the reason.
        allowed: bytes of memory that a pass may take; `given` if that was said.
        rounds: how many numbers seconds are medians of, at most.
        waited: share of the time that threads waited for a core, at most; None where it is not
            told.
        device, threads: where it ran.
    """

    rows: tuple[Stride, ...]
    size: tuple[int, ...]
    window: tuple[int, ...]
    field: tuple[int, ...]
    outside: float
    refused: tuple[str, ...] = ()
    allowed: int = 0
    given: bool = False
    rounds: int = 0
    waited: float | None = None
    device: str = "cpu"
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable."""
        return asdict(self)


def finer(native: Sequence[int]) -> list[tuple[int, ...]]:
    """The native stride and finer ones, px per axis, down to 1.

    Each axis is divided by its smallest divisor in turn: 32, 16, 8 …; 12, 6, 3, 1; 9, 3, 1.
    """
    found = [tuple(native)]
    while max(found[-1]) > 1:
        found.append(tuple(stride // _divisor(stride) for stride in found[-1]))
    return found


def _divisor(number: int) -> int:
    """The smallest one above 1; 1 of 1."""
    return next((d for d in range(2, number + 1) if number % d == 0), 1)


def outside(plan: Plan) -> float:
    """Share of the px a cell can see that lie outside its window."""
    inside = [
        max(0, field - before - after)
        for field, (before, after) in zip(plan.receptive_field, _overhang(plan), strict=True)
    ]
    seen = math.prod(plan.receptive_field)
    return 1 - math.prod(inside) / seen if seen else 0.0


def _overhang(plan: Plan) -> Sequence[tuple[int, int]]:
    return plan.overhang or [(0, 0)] * len(plan.window)


def measure(
    model: nn.Module,
    fcn: FCN,
    *,
    max_memory: int | None = None,
    seconds: float,
    say: Say | None = None,
) -> Strides:
    """Count every stride from the native one down to 1, and time the first ones.

    Native, half and quarter are timed first: converting and counting the finer ones takes long.

    Args:
        model: the classifier.
        fcn: its FCN at the native stride, not optimized.
        max_memory: bytes that a pass may take beside the weights; nine tenths of what is free by
            default. What takes more is counted only.
        seconds: how long it may take, about. What takes too long is counted only; what takes
            little is timed in any case.
        say: told what is being measured.
    """
    plan = fcn.plan
    size = tuple(
        w + (WINDOWS - 1) * w // s * s for w, s in zip(plan.window, plan.native_stride, strict=True)
    )
    runs = _Runs(model, fcn, size, max_memory, seconds, say)
    strides = finer(plan.native_stride)
    rows, times_of = [], []
    for part in (strides[:AT_FIRST], strides[AT_FIRST:]):
        counted = [row for stride in part if (row := runs.counted(stride)) is not None]
        found = runs.timed()
        times_of.append(found)
        rows += [_timed(row, found, times(plan.native_stride), runs.rate) for row in counted]
    return Strides(
        rows=tuple(rows),
        size=size,
        window=plan.window,
        field=plan.receptive_field,
        outside=outside(plan),
        refused=tuple(runs.refused),
        allowed=runs.limit,
        given=max_memory is not None,
        rounds=max((one.rounds(name) for one in times_of for name in one.seconds), default=0),
        waited=max((one.waited for one in times_of if one.waited is not None), default=None),
        device=runs.image.device.type,
        threads=torch.get_num_threads(),
    )


class _Runs:
    """Finer networks on one image, those that can be timed with weights of their own."""

    def __init__(
        self,
        model: nn.Module,
        fcn: FCN,
        size: tuple[int, ...],
        max_memory: int | None,
        seconds: float,
        say: Say | None,
    ) -> None:
        self.limit, self.rate, self.refused = 0, 0.0, list[str]()
        self._deadline, self._seconds, self._say = Deadline(seconds), seconds, say
        self._model, self._plan, self._size, self._most = model, fcn.plan, size, max_memory
        self._weights = sum(p.numel() * p.element_size() for p in fcn.parameters())
        self._crop = macs(model, (1, fcn.plan.channels, *fcn.window))
        like = next(fcn.parameters(), torch.empty(0))
        self.image = drawn((1, fcn.plan.channels, *size), like)
        self._sides: dict[str, Side] = {}
        self._known: set[str] = set()

    def counted(self, stride: tuple[int, ...]) -> Stride | None:
        """A stride with all that can be said without timing it; None where it is refused."""
        if self._say is not None:
            self._say(f"stride {times(stride)}: counting")
        window = self._plan.window
        try:
            twin = convert(
                self._model,
                window,
                stride=stride,
                context=self._plan.context,
                example=self.image[:, :, *_corner(window)],
            )
        except RefusedError as error:
            reason = str(error).replace("\n", " ")
            self.refused.append(f"Stride {times(stride)}: {reason}")
            return None
        budget = Budget(twin, self._most)
        self.limit = self.limit or budget.limit
        row = _counted(twin, self._size, self._crop, budget)
        if row.needed <= self.limit and self._is_worth_it(row.macs):
            self._add(times(stride), twin.optimize(), row.macs)
        return row

    def _is_worth_it(self, work: int) -> bool:
        """Whether there is time for a stride, and memory for its weights; the first always has."""
        if not self._sides:
            return True
        every = work + sum(side.work for side in self._sides.values())
        soon = 2 * self.rate * every <= TIMED_SHARE * self._deadline.left  # with the warm-up
        held = (len(self._sides) + 1) * self._weights <= HELD
        return held and (soon or self._is_little(work))

    def _is_little(self, work: float) -> bool:
        return self.rate * work <= LITTLE * self._seconds

    def _add(self, name: str, fast: FCN, work: int) -> None:
        self._sides[name] = Side(lambda _: fast(self.image), work=work)
        if not self.rate:
            fast(self.image)  # prepares kernels
            took = clock(lambda: fast(self.image), self.image.device)
            self.rate = took / max(1, work)

    def timed(self) -> Times:
        """Time what was added since the last time, and the native stride with it."""
        new = [name for name in self._sides if name not in self._known]
        if not new:
            return Times({})
        native = next(iter(self._sides))
        sides = {name: self._sides[name] for name in dict.fromkeys([native, *new])}
        self._known.update(sides)
        # What takes little is timed however late it is.
        little = [side.work for side in sides.values() if self._is_little(side.work)]
        least = PASSES * (self.rate * sum(little) + AT_LEAST * len(little))
        return in_turn(
            sides, ROUNDS, self.image.device, at_least=AT_LEAST,
            seconds=max(least, FIRST_SHARE * self._deadline.left), title="stride", say=self._say,
        )  # fmt: skip


def _corner(window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(0, w) for w in window)


def _counted(fcn: FCN, size: tuple[int, ...], crop: int, budget: Budget) -> Stride:
    """A stride with all that can be said of it without a run."""
    shape = (1, fcn.plan.channels, *size)
    work = macs(fcn, shape)
    cells = len(Grid(size, fcn.window, fcn.stride))
    each = macs_per_pixel(fcn)
    return Stride(
        fcn.stride,
        cells,
        work,
        peak_bytes(fcn, shape),
        budget.needed(size),
        cells * crop / work if work else 0.0,
        float(crop / (math.prod(fcn.stride) * each)) if each else 0.0,
    )


def _timed(row: Stride, found: Times, base: str, rate: float) -> Stride:
    name = times(row.stride)
    if name not in found:
        return replace(row, foreseen=rate * row.macs if rate else None)
    compared = base in found and name != base
    return replace(
        row,
        seconds=found.of(name),
        slower=found.ratio(name, base) if compared else None,
    )
