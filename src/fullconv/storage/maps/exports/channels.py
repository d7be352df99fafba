"""Which classes of a map are written, and under which names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fullconv.errors import UsageError
from fullconv.storage.maps.exports.given import GivenMap


@dataclass(frozen=True, slots=True)
class Channel:
    """A class that a map holds.

    Attributes:
        place: along the last axis of the map.
        number: the class.
        name: its name, or "class 7" where names are not known.
    """

    place: int
    number: int
    name: str


def all_channels(given: GivenMap) -> tuple[Channel, ...]:
    """Every class that the map holds. Raises UsageError for a map of the best few only."""
    about = given.about
    count = given.shape[-1]
    kept = about.kept
    if isinstance(kept, str):
        numbers: Sequence[int] = range(count)
    elif kept and kept[0] == "top":
        raise UsageError(
            f"the map holds the best {kept[1]} classes of each cell, which are others in every "
            "cell.",
            hint="Only --format geojson without --threshold, and png, can be made of it; or scan "
            "again with the classes that are needed.",
        )
    else:
        numbers = kept
    names = about.classes
    return tuple(
        Channel(place, number, _plain(names[number]) if names else f"class {number}")
        for place, number in enumerate(numbers)
    )


def channels_of(given: GivenMap, classes: Sequence[int] | None) -> tuple[Channel, ...]:
    """The classes asked for by number, in that order and each once; None stands for all.

    Raises UsageError for one that the map does not hold, or none at all.
    """
    held = {channel.number: channel for channel in all_channels(given)}
    if classes is None:
        return tuple(held.values())
    if not classes:
        raise UsageError("no class was asked for.", hint="Leave classes out to get all of them.")
    for number in classes:
        if number not in held:
            raise UsageError(
                f"class {number} is not in the map.",
                why=f"It holds {_listed(list(held))}.",
                hint="Scan again with it, or leave it out.",
            )
    return tuple(held[number] for number in dict.fromkeys(classes))


def _listed(numbers: list[int]) -> str:
    if numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) > 2:
        return f"classes {numbers[0]} to {numbers[-1]}"
    more = f" and {len(numbers) - 8:,} more" if len(numbers) > 8 else ""
    return f"class {', '.join(map(str, numbers[:8]))}{more}"


def _plain(name: str) -> str:
    """A name on one line, without what XML and other formats cannot hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())
