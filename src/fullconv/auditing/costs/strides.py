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
from fullconv.auditing.measuring.timing import Deadline, Say, Side, Spread, Times, clock, in_turn
from fullconv.errors import RefusedError
from fullconv.geometry import Grid, times
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.surgery.plan import Plan

WINDOWS = 2
"""Side of the image that finer maps are made of, in windows."""

ROUNDS = 5
AT_LEAST = 0.02

HELD = 2 << 30
"""Bytes of weights that are held at once, at most: every stride that is timed has its own."""

TIMED_SHARE = 0.8
"""Of the seconds that are left, runs that are timed may be foreseen to take this much."""


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
        waited: share of the time that threads waited for a core; None where it is not told.
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

    Args:
        model: the classifier.
        fcn: its FCN at the native stride, not optimized.
        max_memory: bytes that a pass may take beside the weights; nine tenths of what is free by
            default. What takes more is counted only.
        seconds: how long it may take, about. What takes too long is counted only.
        say: told what is being measured.
    """
    deadline = Deadline(seconds)
    plan = fcn.plan
    window, native = plan.window, plan.native_stride
    size = tuple(w + (WINDOWS - 1) * w // s * s for w, s in zip(window, native, strict=True))
    first = next(fcn.parameters(), torch.empty(0))
    image = torch.randn(1, plan.channels, *size, generator=torch.Generator().manual_seed(0))
    image = image.to(first)
    crop = macs(model, (1, plan.channels, *window))
    rows: list[Stride] = []
    sides: dict[str, Side] = {}
    refused: list[str] = []
    weights = sum(p.numel() * p.element_size() for p in fcn.parameters())
    limit, rate = 0, 0.0
    for stride in finer(native):
        if say is not None:
            say(f"stride {times(stride)}: counting")
        try:
            twin = convert(
                model,
                window,
                stride=stride,
                context=plan.context,
                example=image[:, :, *_corner(window)],
            )
        except RefusedError as error:
            reason = str(error).replace("\n", " ")
            refused.append(f"Stride {times(stride)}: {reason}")
            continue
        budget = Budget(twin, max_memory)
        limit = limit or budget.limit
        row = _counted(twin, size, crop, budget)
        held = (len(sides) + 1) * weights <= HELD
        soon = 2 * rate * (row.macs + _work(sides)) <= TIMED_SHARE * deadline.left  # and warm-up
        if row.needed <= limit and held and (soon or not sides):
            fast = twin.optimize()
            sides[times(stride)] = Side(lambda _, fast=fast: fast(image), work=row.macs)  # type: ignore[misc]
            if not rate:
                fast(image)  # prepares kernels
                rate = clock(lambda: fast(image), first.device) / max(1, row.macs)  # noqa: B023
        rows.append(row)
    found = in_turn(
        sides, ROUNDS, first.device, at_least=AT_LEAST, seconds=deadline.left, title="stride",
        say=say,
    )  # fmt: skip
    base = times(native)
    return Strides(
        rows=tuple(_timed(row, found, base, rate) for row in rows),
        size=size,
        window=window,
        field=plan.receptive_field,
        outside=outside(plan),
        refused=tuple(refused),
        allowed=limit,
        given=max_memory is not None,
        rounds=max((found.rounds(name) for name in found.seconds), default=0),
        waited=found.waited,
        device=first.device.type,
        threads=torch.get_num_threads(),
    )


def _corner(window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(0, w) for w in window)


def _work(sides: dict[str, Side]) -> float:
    return sum(side.work for side in sides.values())


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
