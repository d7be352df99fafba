"""Timing in turn: every side once per round, one after the other, so that a slow spell hits all.

Ratios are taken within a round and their median is given, with the lowest and the highest round.
Where seconds are few there are fewer rounds; what would take too long by itself is left out.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from fullconv.auditing.measuring.contention import since_now
from fullconv.auditing.measuring.peak import peak_of

Say = Callable[[str], None]
"""Called with what is being measured."""

ROUNDS = 5
"""How often each side is timed, at most."""

AT_LEAST = 0.02
"""Seconds of one measurement; shorter runs are repeated within it."""

SHARE = 0.5
"""A single run may take this much of the seconds that are left, as far as that can be foreseen."""

LITTLE = 0.01
"""And this much of all seconds even where none are left: what is quick is not left out."""

SHORT = 1.0
"""Seconds below which a first call, which also prepares kernels, says little of the next ones."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things that are compared.

    Attributes:
        run: does the work of round `i`.
        warm_up: called before the first round; round 0 of `run` by default.
        times: what the seconds count for: where a round does a tenth of the work, ten.
        work: how much a run does, in a unit that all sides share, such as MACs: its seconds are
            foreseen by those of the sides before. 0 where they cannot be.
    """

    run: Callable[[int], object]
    warm_up: Callable[[], object] | None = None
    times: float = 1.0
    work: float = 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, the lowest and the highest.

    `count` is how many rounds they are; 0 where nobody counted.
    """

    median: float
    low: float
    high: float
    count: int = 0

    def scaled(self, factor: float) -> Spread:
        """The same in another unit; `factor` is positive."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.count)

    @property
    def inverse(self) -> Spread:
        """Of the other way round: how many times as fast what takes so many times as long is."""
        return Spread(1 / self.median, 1 / self.high, 1 / self.low, self.count)

    @property
    def tells(self) -> bool:
        """Whether all of several rounds of a ratio lie on the same side of 1."""
        return self.count == 1 or not round(self.low, 2) <= 1 <= round(self.high, 2)

    def to_dict(self) -> dict[str, float]:
        """JSON-serialisable."""
        return {"median": self.median, "low": self.low, "high": self.high, "count": self.count}


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of every side that was timed, one per round, in the order of the rounds.

    Attributes:
        seconds: NaN for a round that a side had to leave out.
        once: the sides that had no round: their only number is that of the warm-up.
        foreseen: sides that were left out, with the seconds a run would take.
        peaks: bytes that a run held at most, where that was asked for; None where it is not told.
        waited: share of the time that threads waited for a core; None where it is not told.
    """

    seconds: Mapping[str, Sequence[float]]
    once: frozenset[str] = frozenset()
    foreseen: Mapping[str, float] = field(default_factory=dict)
    peaks: Mapping[str, int | None] = field(default_factory=dict)
    waited: float | None = None

    def __contains__(self, side: str) -> bool:
        return side in self.seconds

    def of(self, side: str) -> Spread:
        """Seconds of one side."""
        return spread([one for one in self.seconds[side] if not math.isnan(one)])

    def ratio(self, slow: str, fast: str) -> Spread:
        """How many times as long `slow` took as `fast`, from pairs of the same round.

        Of the medians, where no round has both.
        """
        pairs = list(zip(self.seconds[slow], self.seconds[fast], strict=False))
        ratios = [a / b for a, b in pairs if not math.isnan(a / b)]
        return spread(ratios or [self.of(slow).median / self.of(fast).median])

    def rounds(self, side: str) -> int:
        """How many numbers the median of a side is of."""
        return sum(not math.isnan(one) for one in self.seconds[side])


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


class Deadline:
    """So many seconds from now; without a number there is no end."""

    def __init__(self, seconds: float | None = None) -> None:
        self._end = math.inf if seconds is None else time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; 0 if there are none."""
        return max(0.0, self._end - time.perf_counter())


@dataclass(frozen=True, slots=True)
class _First:
    """What the warm-up of a side says: seconds of a run, how often a round repeats it, its peak."""

    seconds: float
    repeat: int
    peak: int | None


def in_turn(
    sides: Mapping[str, Side],
    rounds: int,
    device: str | torch.device = "cpu",
    *,
    at_least: float = 0.0,
    seconds: float | None = None,
    rate: float = 0.0,
    memory: bool = False,
    title: str = "",
    say: Say | None = None,
) -> Times:
    """Time all sides up to `rounds` times, after a warm-up of each.

    Every other round goes through the sides backwards, so that none profits from its place.

    Args:
        sides: by name; where seconds are limited, those that take less first.
        rounds: how often each is timed.
        device: where the work runs; a GPU is waited for before the clock is read.
        at_least: seconds one measurement takes; shorter work is repeated within it.
        seconds: how many all may take. A side that is foreseen to take more than half of what is
            left is left out, and a round goes without the sides that no longer fit.
        rate: seconds for one unit of work, for the first side; 0 where they are not known.
        memory: whether the peak of the memory is measured while a side warms up.
        title: said before what is being measured.
        say: told what is being measured.
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be positive.")
    deadline, waiting = Deadline(seconds), since_now()
    if memory:
        gc.collect()
    first: dict[str, _First] = {}
    foreseen: dict[str, float] = {}
    little = 0.0 if seconds is None else LITTLE * seconds
    for name, side in sides.items():
        if rate * side.work > max(SHARE * deadline.left, little):
            foreseen[name] = rate * side.work * side.times
            continue
        _tell(say, f"{title}: warming up, {name}")
        first[name] = _warmed_up(side, device, at_least, memory)
        if side.work:  # what takes long has the least of fixed costs: it is foreseen by the best
            rate = min(rate or math.inf, first[name].seconds / side.work)
    took: dict[str, list[float]] = {name: [] for name in first}
    for round_ in range(rounds):
        for name in list(first)[:: -1 if round_ % 2 else 1]:
            side, repeat = sides[name], first[name].repeat
            if first[name].seconds * repeat > deadline.left:
                took[name].append(math.nan)
                continue
            _tell(say, f"{title}: round {round_ + 1} of {rounds}, {name}")
            whole = clock(lambda: [side.run(round_) for _ in range(repeat)], device)  # noqa: B023
            took[name].append(whole / repeat * side.times)
    once = frozenset(name for name, found in took.items() if all(map(math.isnan, found)))
    for name in once:
        took[name] = [first[name].seconds * sides[name].times]
    peaks = {name: one.peak for name, one in first.items()} if memory else {}
    return Times(took, once, foreseen, peaks, waiting.share())


def _warmed_up(side: Side, device: str | torch.device, at_least: float, memory: bool) -> _First:
    """Run a side for the first time; where that is short, twice, and the second counts."""
    work = side.warm_up or (lambda: side.run(0))

    def measured() -> tuple[float, int | None]:
        found: list[float] = []

        def timed() -> None:
            found.append(clock(work, device))

        peak = None
        if memory:
            peak = peak_of(timed, device)
        else:
            timed()
        return found[0], peak

    seconds, peak = measured()
    if at_least and seconds < max(SHORT, at_least):
        seconds, peak = measured()
    repeat = max(1, round(at_least / seconds)) if at_least else 1
    return _First(seconds, repeat, peak)


def _tell(say: Say | None, what: str) -> None:
    if say is not None:
        say(what)


def clock(work: Callable[[], object], device: str | torch.device = "cpu") -> float:
    """Seconds that `work` takes; on a GPU until it is done there."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: str | torch.device) -> None:
    """Until a GPU has done all it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
