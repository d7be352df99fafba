"""Regions of a source that could not be read, as a map and its journal keep them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from fullconv.geometry import Box


@dataclass(frozen=True)
class Fault:
    """Px of the source that could not be read.

    Attributes:
        box: half-open, in px of the source.
        why: what was found there, one sentence.
    """

    box: Box
    why: str


class FaultLike(Protocol):
    """Anything that says where and why."""

    @property
    def box(self) -> Box:
        """Half-open, in px of the source."""

    @property
    def why(self) -> str:
        """What was found there."""


def collected(faults: Iterable[FaultLike]) -> tuple[Fault, ...]:
    """Each fault once, in the order of their boxes: chunks share the px around their seams."""
    once = {(tuple(map(int, fault.box)), fault.why) for fault in faults}
    return tuple(Fault(box, why) for box, why in sorted(once))


def to_lists(faults: Iterable[FaultLike]) -> list[list[Any]]:
    """`[[box, why], …]` for JSON, in order."""
    return [[list(fault.box), fault.why] for fault in collected(faults)]


def from_lists(value: Any) -> tuple[Fault, ...]:
    """What `to_lists` gave. Raises ValueError or TypeError for anything else."""
    faults = []
    for box, why in value:
        if not isinstance(why, str) or any(type(edge) is not int for edge in box):
            raise TypeError(f"{box} and {why} are no fault")
        faults.append(Fault(tuple(box), why))
    return collected(faults)
