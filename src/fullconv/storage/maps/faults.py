"""Regions of a source that could not be read, as a map and its journal keep them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fullconv.storage.sources.source import Fault


def collected(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Each fault once, in the order of their boxes: chunks share the px around their seams."""
    return tuple(sorted(set(faults), key=lambda fault: (fault.box, fault.why)))


def to_lists(faults: Iterable[Fault]) -> list[list[Any]]:
    """`[[box, why], …]` for JSON, in order."""
    return [[[int(edge) for edge in fault.box], fault.why] for fault in collected(faults)]


def from_lists(value: Any) -> tuple[Fault, ...]:
    """What `to_lists` gave. Raises ValueError or TypeError for anything else."""
    faults = []
    for box, why in value:
        if not isinstance(why, str) or any(type(edge) is not int for edge in box):
            raise TypeError(f"{box} and {why} are no fault")
        faults.append(Fault(tuple(box), why))
    return collected(faults)
