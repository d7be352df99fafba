"""Timing in turn, in inference mode and with progress on a terminal; see `Side` and `Times`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import torch

from fullconv.auditing.measuring import timing
from fullconv.auditing.measuring.timing import Side, Spread, Times, clock, spread, wait

__all__ = [
    "Side", "Spread", "Times", "clock", "in_turn", "progress", "run_on", "sampled", "spread",
    "wait",
]  # fmt: skip


def in_turn(
    sides: Mapping[str, Side],
    rounds: int,
    device: str = "cpu",
    *,
    at_least: float = 0.0,
    title: str = "",
) -> Times:
    """Time all sides `rounds` times, in inference mode, after a warm-up of each.

    As `fullconv.auditing.measuring.timing.in_turn`, with the progress on stderr.
    """
    with torch.inference_mode():
        times = timing.in_turn(sides, rounds, device, at_least=at_least, title=title, say=progress)
    progress("")
    return times


def run_on(network: Callable[[torch.Tensor], object], image: torch.Tensor, _: int = 0) -> object:
    """A side's work: the same image in every round."""
    return network(image)


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
