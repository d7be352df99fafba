"""Scores as they are stored, and stored scores as floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import UsageError
from fullconv.storage.maps.layout import CLASSES, NO_CLASS, SCORES, SKIPPED, TOP, Layout

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
NAN_BITS = np.array(np.nan, np.float32).view(np.uint32)
FEW = 32
"""Up to so many of the best are found one after the other, which is quicker than sorting."""
SLACK = 1e-3
"""How far beyond 0 and 1 a probability may lie: networks compute them in half precision too."""


def stored(block: Array, layout: Layout) -> dict[str, Array]:
    """What is stored of the scores `(*cells, K)` of all classes: an array for each of the layout.

    Raises UsageError for scores that the type of the layout cannot hold.
    """
    if layout.top is not None:
        scores, classes = best(block, layout.top)
        return {SCORES: _packed(scores, layout.dtype), CLASSES: classes}
    chosen = None if layout.kept == "all" else list(layout.numbers)
    return {SCORES: _packed(block, layout.dtype, chosen)}


def best(block: Array, k: int) -> tuple[Array, npt.NDArray[np.uint16]]:
    """The k best scores of each cell, best first, and their classes; of equals the first class.

    Both `(*cells, k)`. Where a score is NaN it is last, and its class `NO_CLASS`.
    """
    shape = (*block.shape[:-1], k)
    scores, classes = np.empty(shape, block.dtype), np.empty(shape, np.uint16)
    for row in np.ndindex(shape[:-2]):  # one row of cells at a time, so that little is held
        order = _order(block[row], k)
        scores[row] = np.take_along_axis(block[row], order, axis=-1)
        classes[row] = order
    classes[np.isnan(scores)] = NO_CLASS
    return scores, classes


def _order(row: Array, k: int) -> npt.NDArray[np.intp]:
    """The places of the k best of each of some cells, `(cells, K)` to `(cells, k)`."""
    if k > FEW:
        return _sorted(row, k)
    rest, cells = np.where(np.isnan(row), np.inf, -row), np.arange(len(row))
    order = np.empty((len(row), k), np.intp)
    for rank in range(k):
        place = order[:, rank] = rest.argmin(axis=-1)
        last = rest[cells, place]
        rest[cells, place] = np.inf
    # Where scores of minus infinity or NaN come in, some places may be there twice.
    unsure = (last == np.inf) & ~np.isnan(row).all(axis=-1)
    order[unsure] = _sorted(row[unsure], k)
    return order


def _sorted(row: Array, k: int) -> npt.NDArray[np.intp]:
    return np.argsort(-row, axis=-1, kind="stable")[..., :k]


def _packed(scores: Array, dtype: str, chosen: list[int] | None = None) -> Array:
    """Scores, or the chosen ones, as they are stored, every NaN with the same bits."""
    rows = list(np.ndindex(scores.shape[:-2]))  # one at a time, so that little is held
    if chosen is None and scores.dtype == dtype and all(_plain(scores[row]) for row in rows):
        return scores
    count = scores.shape[-1] if chosen is None else len(chosen)
    packed = np.empty((*scores.shape[:-1], count), dtype)
    for row in rows:
        given = scores[row] if chosen is None else scores[row][..., chosen]
        packed[row] = _bytes(given) if dtype == "uint8" else _rounded(given, dtype)
    return packed


def _plain(scores: Array) -> bool:
    """Whether every NaN of float32 scores has the bits of `np.nan`."""
    found = scores[np.isnan(scores)]
    return scores.dtype == np.float32 and bool((found.view(np.uint32) == NAN_BITS).all())


def _rounded(scores: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):
        rounded = scores.astype(dtype)
    lost = np.isinf(rounded) & np.isfinite(scores)
    if lost.any():
        most = float(np.finfo(dtype).max)
        raise UsageError(
            f"a score of {float(scores[lost][0]):g} is beyond what {dtype} holds, {most:g}.",
            hint="Store the map as float32." if dtype == "float16" else "",
        )
    rounded[np.isnan(rounded)] = np.nan
    return rounded


def _bytes(scores: Array) -> npt.NDArray[np.uint8]:
    skipped = np.isnan(scores)
    wrong = ~skipped & ~((scores >= -SLACK) & (scores <= 1 + SLACK))
    if wrong.any():
        raise UsageError(
            f"a score of {float(scores[wrong][0]):g} is no probability.",
            why="uint8 holds probabilities, from 0 to 1.",
            hint="Store the map as float32 or float16, or the probabilities of its scores.",
        )
    steps = np.rint(np.clip(np.where(skipped, 0, scores), 0, 1) * np.float32(TOP))
    packed: npt.NDArray[np.uint8] = steps.astype(np.uint8)
    packed[skipped] = SKIPPED
    return packed


def floats(packed: Array) -> Floats:
    """Stored scores as float32, NaN where there is none."""
    if packed.dtype != np.uint8:
        return packed.astype(np.float32, copy=False)
    scores = packed.astype(np.float32) / np.float32(TOP)
    scores[packed == SKIPPED] = np.nan
    return scores
