"""Which input cells an output cell needs, along one axis.

A reach answers three questions about an op: how many cells it makes of how many, from which input
cell on it needs what lies there (`start`), and up to which (`stop`, half-open). Cells asked for
before the first or beyond the last are padding. `start` and `stop` never decrease, so that rows can
be made one after the other and let go of.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

from fullconv.geometry import Sweep


class Reach(ABC):
    """What an op needs along one axis, for a map of `cells` cells."""

    @abstractmethod
    def count(self, cells: int) -> int:
        """Output cells."""

    @abstractmethod
    def start(self, start: int, cells: int) -> int:
        """The first input cell that any output cell from `start` on needs; negative in padding."""

    @abstractmethod
    def stop(self, stop: int, cells: int) -> int:
        """The input cell after the last that any output cell before `stop` needs.

        More than `cells` in padding. `stop` may be zero or negative: what the rows above the first
        would need, if there were any.
        """


@dataclass(frozen=True, slots=True)
class Same(Reach):
    """Every cell by itself."""

    def count(self, cells: int) -> int:
        """Output cells of `cells` input cells."""
        return cells

    def start(self, start: int, cells: int) -> int:
        """As `Reach.start`."""
        return start

    def stop(self, stop: int, cells: int) -> int:
        """As `Reach.stop`."""
        return stop


@dataclass(frozen=True, slots=True)
class Swept(Reach):
    """A kernel that steps over the cells: convolutions, pools, and more.

    Cutting off the first `n` cells is a kernel of one cell with a padding of -n, phases moved into
    the batch a kernel as long as its stride.
    """

    sweep: Sweep

    def count(self, cells: int) -> int:
        """Output cells of `cells` input cells."""
        return max(0, self.sweep.count(cells))

    def start(self, start: int, cells: int) -> int:
        """As `Reach.start`."""
        return start * self.sweep.stride - self.sweep.padding[0]

    def stop(self, stop: int, cells: int) -> int:
        """As `Reach.stop`."""
        return self.start(stop - 1, cells) + self.sweep.extent


@dataclass(frozen=True, slots=True)
class Spread(Reach):
    """Every cell becomes `factor` cells: cells repeated, phases brought back from the batch."""

    factor: int

    def count(self, cells: int) -> int:
        """Output cells of `cells` input cells."""
        return cells * self.factor

    def start(self, start: int, cells: int) -> int:
        """As `Reach.start`."""
        return start // self.factor

    def stop(self, stop: int, cells: int) -> int:
        """As `Reach.stop`."""
        return -(-stop // self.factor)


@dataclass(frozen=True, slots=True)
class Nearest(Reach):
    """The box of `kernel` cells, `dilation` apart, nearest to centred on each: a context op."""

    kernel: int
    dilation: int = 1

    def count(self, cells: int) -> int:
        """Output cells of `cells` input cells."""
        return cells

    def start(self, start: int, cells: int) -> int:
        """As `Reach.start`."""
        return _looked_up(self, cells)[0][min(start, cells - 1)] if start > 0 else 0

    def stop(self, stop: int, cells: int) -> int:
        """As `Reach.stop`."""
        if stop <= 0:
            return stop
        return _looked_up(self, cells)[1][min(stop, cells) - 1]

    def places(self, cells: int) -> list[tuple[int, int]]:
        """For every cell the first and the last input cell it needs."""
        reach = self.dilation * (self.kernel - 1)
        return [(first, first + reach) for first in boxes(cells, self.kernel, self.dilation)]


@dataclass(frozen=True, slots=True)
class Mirrored(Reach):
    """Padding that repeats cells of the map: every phase by itself.

    `mode` is reflect, replicate or circular; `before` and `after` count cells of a phase.
    """

    before: int
    after: int
    dilation: int
    mode: str

    def count(self, cells: int) -> int:
        """Output cells of `cells` input cells."""
        return cells + (self.before + self.after) * self.dilation

    def start(self, start: int, cells: int) -> int:
        """As `Reach.start`."""
        return _looked_up(self, cells)[0][min(start, self.count(cells) - 1)] if start > 0 else 0

    def stop(self, stop: int, cells: int) -> int:
        """As `Reach.stop`."""
        if stop <= 0:
            return stop - self.before * self.dilation
        return _looked_up(self, cells)[1][min(stop, self.count(cells)) - 1]

    def places(self, cells: int) -> list[tuple[int, int]]:
        """For every padded cell the cell it repeats, twice."""
        found = outside(cells, self.before, self.after, self.dilation, self.mode)
        return [(cell, cell) for cell in found]


@lru_cache(maxsize=256)
def _looked_up(reach: Nearest | Mirrored, cells: int) -> tuple[list[int], list[int]]:
    """For every cell the first input cell needed from there on, and where those so far end."""
    places = reach.places(cells)
    starts, stops = [first for first, _ in places], [last + 1 for _, last in places]
    for index in range(len(places) - 2, -1, -1):
        starts[index] = min(starts[index], starts[index + 1])
    for index in range(1, len(places)):
        stops[index] = max(stops[index], stops[index - 1])
    return starts, stops


@lru_cache(maxsize=128)
def boxes(cells: int, kernel: int, dilation: int) -> tuple[int, ...]:
    """For every cell, where the box of `kernel` cells begins that is nearest to centred on it.

    Boxes lie inside the map and hold cells of one phase, `dilation` apart. The box of cell `i`
    begins at `i - (kernel - 1) // 2`, or at the nearest place where it fits.
    """
    count = cells - dilation * (kernel - 1)
    found = []
    for cell in range(cells):
        place, phase = divmod(cell, dilation)
        last = (cells - phase - 1) // dilation + 1 - kernel
        start = max(0, min(place - (kernel - 1) // 2, last))
        # A phase too short for a box belongs to no whole window.
        found.append(min(start * dilation + phase, count - 1))
    return tuple(found)


@lru_cache(maxsize=128)
def outside(cells: int, before: int, after: int, apart: int, mode: str) -> tuple[int, ...]:
    """For every cell of a padded axis, the cell it repeats; every phase is padded by itself."""
    found = []
    for cell in range(cells + (before + after) * apart):
        place, phase = divmod(cell, apart)
        place -= before
        count = (cells - phase - 1) // apart + 1
        if mode == "circular":
            place %= max(count, 1)
        elif mode == "reflect":
            place = abs(place)
            place = 2 * (count - 1) - place if place >= count else place
        place = max(0, min(place, count - 1))
        found.append(min(place * apart + phase, cells - 1))
    return tuple(found)
