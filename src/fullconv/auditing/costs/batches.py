"""Images of different sizes: one by one, equal sizes together, or padded to the largest."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from fullconv.auditing.costs.calls import COUNTS, Runner
from fullconv.auditing.costs.padding import Padding, Size, compare
from fullconv.auditing.measuring.timing import (
    AT_LEAST,
    ROUNDS,
    Deadline,
    Say,
    Side,
    Spread,
    Times,
    in_turn,
)
from fullconv.hosts.torch_fx.fcn import FCN

SHAPES = 5
"""Different sizes that are drawn, at most."""

STEPS = 8
"""Sides are drawn in so many parts of a window, from one window to two."""

LEAST_DRAWN = 3
"""Of drawn sizes the first and third are equal."""

WAYS = ("single", "bucketed", "padded")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run all images.

    Attributes:
        name: "single", "bucketed" or "padded".
        passes: calls of the network.
        macs: of all of them.
        seconds: for all images; None where it was not timed.
        ratio: to single runs, of the same round.
        foreseen: seconds that it would take, where it was not timed.
    """

    name: str
    passes: int
    macs: int
    seconds: Spread | None = None
    ratio: Spread | None = None
    foreseen: float | None = None


@dataclass(frozen=True, slots=True)
class Batches:
    """Throughput of images of different sizes.

    Attributes:
        sizes: px of every image, per axis.
        largest: px of the padded images, per axis.
        ways: the three ways, as far as they fit the memory.
        padding: what padding does to maps; None where it was not seen.
        noise: whether the images were random numbers, and sizes drawn.
        problem: why the images that were given were not taken.
        once: ways that were run once only.
        rounds: how many numbers seconds are medians of, at most.
        waited: share of the time that threads waited for a core; None where it is not told.
        device, threads: where it ran.
    """

    sizes: tuple[Size, ...]
    largest: Size
    ways: tuple[Way, ...]
    padding: Padding | None
    noise: bool
    problem: str = ""
    once: tuple[str, ...] = ()
    rounds: int = 0
    waited: float | None = None
    device: str = "cpu"
    threads: int = 1

    @property
    def pixels(self) -> int:
        """Px of all images."""
        return sum(math.prod(size) for size in self.sizes)

    @property
    def wasted(self) -> float:
        """Share of the px of padded images that is padding."""
        padded = len(self.sizes) * math.prod(self.largest)
        return 1 - self.pixels / padded if padded else 0.0

    @property
    def buckets(self) -> int:
        """Different sizes."""
        return len(set(self.sizes))

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable."""
        found = asdict(self) | {"wasted": self.wasted, "pixels": self.pixels}
        for way, entry in zip(self.ways, found["ways"], strict=True):
            seconds = None if way.seconds is None else way.seconds.median
            entry["images_per_second"] = None if seconds is None else len(self.sizes) / seconds
            entry["pixels_per_second"] = None if seconds is None else self.pixels / seconds
        return found


def drawn_sizes(window: Size, count: int, seed: int = 0) -> list[Size]:
    """Sizes of images from one window to two: a few different ones, the first and third equal."""
    draw = random.Random(seed)
    shapes = [
        tuple(side + side * draw.randint(0, STEPS) // STEPS for side in window)
        for _ in range(SHAPES)
    ]
    order = [0, 1, 0, 2, *(draw.randrange(SHAPES) for _ in range(count))]
    return [shapes[place] for place in order[:count]]


def measure(
    fcn: FCN,
    images: Sequence[Tensor] = (),
    *,
    max_memory: int | None = None,
    seconds: float,
    say: Say | None = None,
) -> Batches:
    """Time images of different sizes run in three ways, and compare maps of padded ones.

    Args:
        fcn: the network, not optimized; what `optimize` gives is run.
        images: prepared images, each `(1, C, *space)`; noise of sizes that are drawn takes the
            place of fewer than two, and of those that take too long.
        max_memory: bytes that a pass may take beside the weights; by default what is free. It
            bounds batches; images that do not fit by themselves are left out.
        seconds: how long it may take, about.
        say: told what is being measured.
    """
    deadline = Deadline(seconds)
    runner = Runner(fcn, max_memory)
    problem = ""
    chosen = [image for image in images if runner.fits(tuple(image.shape[2:]))]
    if len(chosen) < len(images):
        problem = f"{len(images) - len(chosen)} of {len(images)} do not fit the memory"
    count = runner.affordable([tuple(x.shape[2:]) for x in chosen], deadline.left)
    noise = count < 2
    if noise:
        if len(chosen) > 1:
            problem = "they would take too long at their own size"
        sizes = [size for size in drawn_sizes(fcn.window, COUNTS[0]) if runner.fits(size)]
        count = max(LEAST_DRAWN, runner.affordable(sizes, deadline.left))
        chosen = runner.noise(sizes[:count])
    chosen = [image.to(runner.like) for image in chosen[:count]]
    sizes = [tuple(image.shape[2:]) for image in chosen]
    largest = tuple(map(max, zip(*sizes, strict=True))) if sizes else fcn.window
    plans = {} if not sizes else runner.plans(sizes, largest)
    maps: dict[str, dict[int, Tensor]] = {}
    sides = {}
    for name, calls in plans.items():
        work = runner.work(calls)
        sides[name] = Side(runner.run(name, calls, chosen, maps), work=work)
    found = Times({})
    if sides:
        found = in_turn(
            sides, ROUNDS, runner.device, at_least=AT_LEAST, seconds=deadline.left,
            rate=runner.rate, title="images", say=say,
        )  # fmt: skip
    return Batches(
        sizes=tuple(sizes),
        largest=largest,
        ways=tuple(
            _way(name, len(calls), runner.work(calls), found) for name, calls in plans.items()
        ),
        padding=compare(fcn, sizes, maps.get("single"), maps.get("padded")),
        noise=noise,
        problem=problem,
        once=tuple(name for name in found.seconds if name in found.once),
        rounds=max((found.rounds(name) for name in found.seconds), default=0),
        waited=found.waited,
        device=runner.device.type,
        threads=torch.get_num_threads(),
    )


def _way(name: str, passes: int, work: int, found: Times) -> Way:
    if name not in found:
        return Way(name, passes, work, foreseen=found.foreseen.get(name))
    compared = name != "single" and "single" in found
    return Way(
        name, passes, work, found.of(name), found.ratio(name, "single") if compared else None
    )
