"""What a pass costs as its image grows, forward and in training, against crops at the same cells.

MACs and bytes are counted on fake tensors, seconds and peaks of memory are measured. Forward runs
what `fcn.optimize()` gives, as the command line does; forward and backward runs the FCN as it is.
Crops run through the same network, so that both sides have the same layers in the same form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from fullconv.api.costs import ceiling_of_large_images, macs
from fullconv.api.memory import Budget, peak_bytes
from fullconv.api.sliding import cut
from fullconv.auditing.costs.grown import WAYS, Growth, Pass, Row, exponents
from fullconv.auditing.measuring.noise import drawn
from fullconv.auditing.measuring.passes import train, trainable, training_bytes
from fullconv.auditing.measuring.timing import (
    AT_LEAST,
    ROUNDS,
    Deadline,
    Say,
    Side,
    Times,
    clock,
    in_turn,
)
from fullconv.geometry import Grid, times
from fullconv.hosts.torch_fx.fcn import FCN

FACTORS = (Fraction(3, 2), Fraction(2), Fraction(4))
"""Sizes that are looked at by default, in windows."""


MOST_CROPS = 32
CROPS_SHARE = {"forward": 1 / 12, "training": 1 / 8}
"""Crops in a batch, at most; and what a batch may take of the seconds."""

WORK = {"forward": 1, "training": 3}
"""MACs of a pass in those of one forward: on the way back each layer has two products more."""


def sizes_of(fcn: FCN, given: Sequence[tuple[int, ...]] = ()) -> list[tuple[int, ...]]:
    """The window and the sizes given, by default 1.5, 2 and 4 windows: px, smallest first.

    Each is cut to whole strides above the window; it has the same cells then.

    Raises InputError for a size below the window.
    """
    window, stride = fcn.window, fcn.stride
    usual = [tuple(int(w * factor) for w in window) for factor in FACTORS]
    found = set()
    for size in (window, *(given or usual)):
        cells = Grid(tuple(size), window, stride).shape
        found.add(tuple(w + (n - 1) * s for w, n, s in zip(window, cells, stride, strict=True)))
    return sorted(found, key=lambda size: (math.prod(size), size))


def measure(
    model: nn.Module,
    fcn: FCN,
    *,
    sizes: Sequence[tuple[int, ...]] = (),
    max_memory: int | None = None,
    seconds: float,
    say: Say | None = None,
) -> Growth:
    """Count and time passes over images of growing size.

    Args:
        model: the classifier; its own gradients and modes are left alone.
        fcn: its FCN, not optimized.
        sizes: px per axis, see `sizes_of`.
        max_memory: bytes that a pass may take beside the weights; nine tenths of what is free by
            default. A size that takes more is counted, and not run.
        seconds: how long it may take, about. Where they are few there are fewer rounds, and what
            takes too long by itself is not timed.
        say: told what is being measured.

    Raises InputError for a size below the window.
    """
    deadline = Deadline(seconds)
    subject = _Subject(model, fcn, max_memory)
    rows = [subject.counted(size) for size in sizes_of(fcn, sizes)]
    fitting = [row for row in rows if row.forward.fits]
    batches, found = dict.fromkeys(WAYS, 1), Times({})
    if fitting:
        crop = subject.seconds_of_a_crop()
        most = {way: CROPS_SHARE[way] * seconds / crop / WORK[way] for way in WAYS}
        batches = {way: subject.batch(rows, most[way]) for way in WAYS}
        sides = subject.sides(rows, batches)
        found = in_turn(
            sides, ROUNDS, subject.device, at_least=AT_LEAST, seconds=deadline.left,
            rate=crop / subject.window_macs if subject.window_macs else 0.0, memory=True,
            title="growth", say=say,
        )  # fmt: skip
    rows = [_timed(row, found, batches, subject.image_bytes(row.size)) for row in rows]
    return Growth(
        rows=tuple(rows),
        window=fcn.window,
        stride=fcn.stride,
        limit=ceiling_of_large_images(model, fcn),
        gradients=subject.gradients,
        batches=batches,
        allowed=subject.budget.limit,
        given=max_memory is not None,
        exponents=exponents(rows),
        once=tuple(name for name in found.seconds if name in found.once),
        tells_peak=not found.peaks or any(peak is not None for peak in found.peaks.values()),
        waited=found.waited,
        device=subject.device.type,
        threads=torch.get_num_threads(),
    )


class _Subject:
    """A network in both forms, and what its passes take."""

    def __init__(self, model: nn.Module, fcn: FCN, max_memory: int | None) -> None:
        self.fcn, self.fast, self.twin = fcn, fcn.optimize(), trainable(fcn)
        self.budget = Budget(self.fast, max_memory)
        self.channels = fcn.plan.channels
        self.window_macs = macs(model, (1, self.channels, *fcn.window))
        first = next(fcn.parameters(), torch.empty(0))
        self.device, self.dtype = first.device, first.dtype
        parameters = [p for p in self.twin.parameters() if p.requires_grad]
        self.gradients = sum(p.numel() * p.element_size() for p in parameters)

    def counted(self, size: tuple[int, ...]) -> Row:
        """A size, with all that can be said of it without a run."""
        shape = (1, self.channels, *size)
        cells = len(self.fcn.grid(size))
        training = training_bytes(self.twin, shape)
        forward = self._pass(peak_bytes(self.fast, shape), self.budget.needed(size))
        backward = self._pass(training.saved, self.budget.with_allocator(training.peak))
        return Row(
            size,
            cells,
            macs(self.fcn, shape),
            cells * self.window_macs,
            forward,
            backward,
        )

    def _pass(self, counted: int, needed: int) -> Pass:
        return Pass(counted, needed, self._fits(needed))

    def seconds_of_a_crop(self) -> float:
        """Of the classifier on one crop, forward."""
        crop = self.noise(self.fcn.window)
        self.fast(crop)  # prepares kernels
        return clock(lambda: self.fast(crop), self.device)

    def batch(self, rows: Sequence[Row], most: float) -> int:
        """How many crops go into a batch: at most so many, as far as memory and cells allow."""
        cells = max(row.cells for row in rows)
        count = 1 << int(math.log2(max(1.0, min(MOST_CROPS, most, cells))))
        shape = (self.channels, *self.fcn.window)
        while count > 1:
            peak = training_bytes(self.twin, (count, *shape)).peak
            if self._fits(self.budget.with_allocator(peak)):
                break
            count //= 2
        return count

    def sides(self, rows: Sequence[Row], batches: Mapping[str, int]) -> dict[str, Side]:
        """Maps and crops, forward and in training, by their work."""
        found: dict[str, Side] = {}
        for way in WAYS:
            fitting = [row for row in rows if row.way(way).fits]
            for row in fitting:
                found[_named(way, row)] = self._map(way, row)
                if row is fitting[0] and len(fitting) > 1:
                    found[_crops(way)] = self._crops(way, fitting[-1].size, batches[way])
        return dict(sorted(found.items(), key=lambda side: side[1].work))

    def _map(self, way: str, row: Row) -> Side:
        image = self.noise(row.size)
        return Side(lambda _: self._run(way, image), work=WORK[way] * row.macs)

    def _crops(self, way: str, size: tuple[int, ...], batch: int) -> Side:
        image, grid = self.noise(size)[0], self.fcn.grid(size)
        cells = list(grid)

        def run(round_: int) -> None:
            # Spread over the image, other ones in every round.
            places = [(i * len(cells) // batch + round_) % len(cells) for i in range(batch)]
            self._run(way, cut(image, grid, [cells[place] for place in places]))

        return Side(run, work=WORK[way] * batch * self.window_macs)

    def _run(self, way: str, images: Tensor) -> None:
        if way == "training":
            train(self.twin, images)
        else:
            self.fast(images)

    def _fits(self, needed: int) -> bool:
        return needed <= self.budget.limit

    def noise(self, size: tuple[int, ...]) -> Tensor:
        """A random image `(1, C, *size)`, the same in every run."""
        return drawn(
            (1, self.channels, *size), torch.empty(0, device=self.device, dtype=self.dtype)
        )

    def image_bytes(self, size: tuple[int, ...]) -> int:
        """What the image itself takes: it is there before a pass is measured."""
        taken: int = self.channels * math.prod(size) * self.dtype.itemsize
        return taken


def _named(way: str, row: Row) -> str:
    return f"{way} at {times(row.size)} px"


def _crops(way: str) -> str:
    return f"{way} of crops"


def _timed(row: Row, found: Times, batches: Mapping[str, int], image: int) -> Row:
    """The row with what was measured of it."""
    forward, training = (_measured(row, way, found, batches[way], image) for way in WAYS)
    return replace(row, forward=forward, training=training)


def _measured(row: Row, way: str, found: Times, batch: int, image: int) -> Pass:
    one, name, crops = row.way(way), _named(way, row), _crops(way)
    if name not in found:
        return replace(one, foreseen=found.foreseen.get(name))
    peak = found.peaks.get(name)
    compared = row.cells > 1 and crops in found
    many = row.cells / batch
    return replace(
        one,
        seconds=found.of(name),
        crops=found.of(crops).scaled(many) if compared else None,
        speed_up=found.ratio(crops, name).scaled(many) if compared else None,
        peak=None if peak is None else peak + image,
        crops_peak=found.peaks.get(crops) if compared else None,
        rounds=found.rounds(name),
    )
