"""Which classes of a map are written, under which names, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fullconv.errors import UsageError
from fullconv.storage.maps.exports.given import Array, GivenMap, Span
from fullconv.storage.maps.layout import NO_CLASS


@dataclass(frozen=True, slots=True)
class Channel:
    """A class that is written: its number, and its name, "class 7" where names are not known."""

    number: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Some classes of a map, in the order in which they are written.

    Raises UsageError for a class that the map does not hold, or none at all.
    """

    given: GivenMap
    numbers: tuple[int, ...]
    _places: Array = field(init=False)

    def __post_init__(self) -> None:
        held = numbers_in(self.given)
        known = held if isinstance(held, range) else frozenset(held)
        if not self.numbers:
            raise UsageError("no class was asked for.", hint="Leave them out to get all of them.")
        for number in self.numbers:
            if number not in known:
                raise UsageError(
                    f"class {number} is not in the map.",
                    why=f"It holds {_listed(held)}.",
                    hint="Scan again with it, or leave it out.",
                )
        if self.given.numbers:
            there = {number: place for place, number in enumerate(self.given.numbers)}
            places = np.array([there[number] for number in self.numbers])
        else:  # from a class to its place here; the last one is that of all others
            places = np.full(NO_CLASS + 1, len(self.numbers))  # NO_CLASS is the largest
            places[list(self.numbers)] = np.arange(len(self.numbers))
        object.__setattr__(self, "_places", places)

    @classmethod
    def of(cls, given: GivenMap, classes: Sequence[int] | None) -> Channels:
        """The classes asked for by number, each once; None stands for all that the map holds."""
        asked = numbers_in(given) if classes is None else classes
        return cls(given, tuple(dict.fromkeys(asked)))

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self.listed)

    @property
    def listed(self) -> tuple[Channel, ...]:
        """Each with its name."""
        names = self.given.about.classes
        return tuple(
            Channel(number, (plain(names[number]) if names else "") or f"class {number}")
            for number in self.numbers
        )

    @property
    def width(self) -> int:
        """Numbers that are held for a cell while it is read."""
        return max(self.given.shape[-1], len(self.numbers) + 1)

    def read(self, rows: Span, cols: Span) -> Array:
        """Their scores, `(rows, cols, k)` float32.

        Of a map of the best few, NaN also where a class is not among them.
        """
        if self.given.numbers:
            whole = np.asarray(self.given.read(rows, cols), np.float32)
            if self.numbers == self.given.numbers:
                return whole
            return whole[..., self._places]
        best, classes = self.given.top(self.given.shape[-1], rows, cols)
        found = np.full((*best.shape[:2], len(self.numbers) + 1), np.nan, np.float32)
        np.put_along_axis(found, self._places[classes], best, axis=2)
        return found[..., :-1]

    def winners(self, rows: Span, cols: Span) -> tuple[Array, Array]:
        """Which of these classes is the highest of all that the map holds, and its score.

        Both `(rows, cols)`; the first is its place among these, −1 where another one is, or none.
        """
        if not self.given.numbers:
            scores, classes = self.given.top(1, rows, cols)
            places = np.where(self._places == len(self.numbers), -1, self._places)
            return places[classes[..., 0]], scores[..., 0]
        scores = np.asarray(self.given.read(rows, cols), np.float32)
        places = np.full(scores.shape[-1], -1)
        places[self._places] = np.arange(len(self.numbers))
        blank = np.isnan(scores)
        filled = np.where(blank, -np.inf, scores)
        winner = filled.argmax(2)
        values = np.take_along_axis(scores, winner[..., None], 2)[..., 0]
        return np.where(blank.all(2), -1, places[winner]), values


def numbers_in(given: GivenMap) -> Sequence[int]:
    """Every class that a cell of the map may have a score of."""
    if given.numbers:
        return given.numbers
    return range(given.layout.shape[-1])


def _listed(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    if len(numbers) > 2 and list(numbers) == list(range(first, last + 1)):
        return f"classes {first} to {last}"
    more = f" and {len(numbers) - 8:,} more" if len(numbers) > 8 else ""
    one = "class" if len(numbers) == 1 else "classes"
    return f"{one} {', '.join(map(str, numbers[:8]))}{more}"


def plain(name: str) -> str:
    """A name on one line, without what XML and other formats cannot hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())
