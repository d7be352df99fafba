"""Timing in turn: every side once per round, one after the other, so that a slow spell hits all.

Ratios are taken within a round and their median is given, with the lowest and the highest round.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things that are compared.

    Attributes:
        run: does the work of round `i`.
        warm_up: called before the first round; round 0 of `run` by default.
        times: what the seconds count for: where a round does a tenth of the work, ten.
    """

    run: Callable[[int], object]
    warm_up: Callable[[], object] | None = None
    times: float = 1.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, the lowest and the highest."""

    median: float
    low: float
    high: float

    def scaled(self, factor: float) -> Spread:
        """The same in another unit; `factor` is positive."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of every side, one per round, in the order of the rounds."""

    seconds: Mapping[str, Sequence[float]]

    def of(self, side: str) -> Spread:
        """Seconds of one side."""
        return spread(self.seconds[side])

    def ratio(self, slow: str, fast: str) -> Spread:
        """How many times as long `slow` took as `fast`, from pairs of the same round."""
        pairs = zip(self.seconds[slow], self.seconds[fast], strict=True)
        return spread([a / b for a, b in pairs])


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def in_turn(
    sides: Mapping[str, Side],
    rounds: int,
    device: str = "cpu",
    *,
    at_least: float = 0.0,
    title: str = "",
) -> Times:
    """Time all sides `rounds` times, in inference mode, after a warm-up of each.

    Every other round goes through the sides backwards, so that none profits from its place.

    Args:
        sides: by name.
        rounds: how often each is timed.
        device: where the work runs; a GPU is waited for before the clock is read.
        at_least: seconds one measurement takes; shorter work is repeated within it.
        title: shown with the progress on stderr.
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be positive.")
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    repeats = {}
    with torch.inference_mode():
        for name, side in sides.items():
            first = side.warm_up or (lambda side=side: side.run(0))  # type: ignore[misc]
            progress(f"{title}: warming up, {name}")
            first()
            # The first call also prepares kernels; only the second says how long a call takes.
            repeats[name] = 1
            if at_least:
                repeats[name] = max(1, round(at_least / clock(first, device)))
        for round_ in range(rounds):
            for name in list(sides)[:: -1 if round_ % 2 else 1]:
                progress(f"{title}: round {round_ + 1} of {rounds}, {name}")
                side, repeat = sides[name], repeats[name]
                took = clock(lambda: [side.run(round_) for _ in range(repeat)], device)  # noqa: B023
                seconds[name].append(took / repeat * side.times)
    progress("")
    return Times(seconds)


def run_on(network: Callable[[torch.Tensor], object], image: torch.Tensor, _: int = 0) -> object:
    """A side's work: the same image in every round."""
    return network(image)


def clock(work: Callable[[], object], device: str = "cpu") -> float:
    """Seconds that `work` takes; on a GPU until it is done there."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: str) -> None:
    """Until a GPU has done all it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def sampled(count: int, per_round: int, rounds: int) -> list[list[int]]:
    """Which of `count` batches each round takes: spread over all, and no batch in two rounds.

    Raises ValueError if there are not enough for that.
    """
    chosen = per_round * rounds
    if not 0 < chosen <= count:
        raise ValueError(f"{rounds} rounds of {per_round} batches need {chosen}, of {count}.")
    places = [(2 * i + 1) * count // (2 * chosen) for i in range(chosen)]
    return [places[first::rounds] for first in range(rounds)]


def progress(text: str) -> None:
    """One line on a terminal's stderr that is written over; nothing where no one watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[:110]}", end="", file=sys.stderr, flush=True)
