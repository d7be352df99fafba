"""Samples that mean a brightness: which types do, and which px of an array do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError
from fullconv.geometry import Box
from fullconv.storage.raster import Array
from fullconv.storage.sources.source import Fault, moved

Mask = npt.NDArray[np.bool_]
MOST_BOXES = 4096
"""Px that are no brightness are named in at most about so many boxes for each read."""


def settled(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which samples stored as `dtype` are handed on.

    Raises InputError for types without a fixed white: signed, complex, more than 16 bits.
    """
    if dtype.kind == "b" or dtype == np.uint8:
        return np.dtype(np.uint8)
    if dtype.kind == "u" and dtype.itemsize == 2:
        return np.dtype(np.uint16)
    if dtype.kind == "f":
        return np.dtype(np.float32)
    raise InputError(
        f"its samples are {dtype}.",
        why="It is not known which value is white.",
        hint="Save it with 8- or 16-bit samples, or as floats from 0 to 1.",
    )


@dataclass(frozen=True, slots=True)
class Absent:
    """How stored samples say that a px has no data.

    Attributes:
        nodata: the value that all channels then have.
        opacity: whether the last of the channels is an opacity, and 0 there says so.
    """

    nodata: float | None = None
    opacity: bool = False


PRESENT = Absent()
"""Nothing says so."""


def brightness(stored: Array, absent: Absent = PRESENT) -> tuple[Array, Mask | None, Mask]:
    """Stored samples `(*space, channels)` as brightnesses, what is missing, and what is none.

    Returns the samples, in the type that `settled` names; where they are missing, None if nothing
    can say so; and where floats are NaN or outside 0..1, of which all are 0.
    """
    missing: Mask | None = None
    nodata = absent.nodata
    if nodata is not None:
        missing = np.all(np.isnan(stored) if np.isnan(nodata) else stored == nodata, axis=-1)
    if absent.opacity:
        clear = stored[..., -1] == 0
        missing = clear if missing is None else missing | clear
    if stored.dtype.kind == "b":
        return stored.astype(np.uint8) * np.uint8(255), missing, np.zeros(0, bool)
    if stored.dtype.kind == "u":
        plain = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        return plain, missing, np.zeros(0, bool)
    right: Mask = np.all((stored >= 0) & (stored <= 1), axis=-1)  # NaN is neither
    if right.all():
        return stored.astype(np.float32, copy=False), missing, np.zeros(0, bool)
    clean = np.where(right[..., None], stored, 0).astype(np.float32)
    wrong = ~right
    if missing is not None:
        wrong &= ~missing
    return clean, missing, wrong


def faults(stored: Array, wrong: Mask, corner: tuple[int, ...]) -> list[Fault]:
    """The px that are no brightness, as faults; `corner` is the first px of `stored`."""
    if not wrong.any():
        return []
    empty = np.isnan(stored).any(-1) & wrong
    found = [Fault(moved(box, corner), "its samples are NaN") for box in boxes(empty)]
    beyond = wrong & ~empty
    if beyond.any():
        values = stored[beyond]
        why = (
            f"its floating-point samples lie between {values.min():g} and {values.max():g}, "
            "and only 0 (black) to 1 (white) have a meaning"
        )
        found += [Fault(moved(box, corner), why) for box in boxes(beyond)]
    return found


def boxes(mask: Mask) -> list[Box]:
    """The True px of a mask in boxes that do not overlap.

    Runs along the last axis, joined along the one before. Where that makes very many, one box
    around the px of each row, so that px between them are named too.
    """
    if mask.ndim == 1:
        return [(box[1], box[3]) for box in _rectangles(mask[None])]
    found: list[Box] = []
    for lead in np.ndindex(mask.shape[:-2]):
        for top, left, bottom, right in _rectangles(mask[lead]):
            found.append((*lead, top, left, *(index + 1 for index in lead), bottom, right))
    return found


def _rectangles(mask: Mask) -> list[Box]:
    """The True px of `(rows, columns)` in boxes."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    if len(rows) > MOST_BOXES:
        rows, first = np.unique(rows, return_index=True)
        starts, stops = starts[first], stops[np.append(first[1:], len(stops)) - 1]
    found: list[Box] = []
    open_: dict[tuple[int, int], int] = {}
    before = -1
    by_row: dict[int, list[tuple[int, int]]] = {}
    for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
        by_row.setdefault(row, []).append((start, stop))
    for row, runs in by_row.items():
        going = {run: open_.pop(run) for run in runs if run in open_ and row == before + 1}
        found += [(top, run[0], before + 1, run[1]) for run, top in open_.items()]
        open_ = {run: going.get(run, row) for run in runs}
        before = row
    return found + [(top, run[0], before + 1, run[1]) for run, top in open_.items()]
