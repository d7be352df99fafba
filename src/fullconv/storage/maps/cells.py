"""Scores as they are stored, and stored scores as floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import UsageError
from fullconv.storage.maps.layout import CLASSES, NO_CLASS, SCORES, SKIPPED, TOP, Layout

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
SLACK = 1e-3
"""How far beyond 0 and 1 a probability may lie: networks compute them in half precision too."""


def stored(block: Array, layout: Layout) -> dict[str, Array]:
    """What is stored of the scores `(*cells, K)` of all classes: an array for each of the layout.

    Raises UsageError for scores that the type of the layout cannot hold.
    """
    if layout.top is not None:
        scores, classes = best(block, layout.top)
        return {SCORES: _packed(scores, layout.dtype), CLASSES: classes}
    if layout.kept != "all":
        block = block[..., list(layout.numbers)]
    return {SCORES: _packed(block, layout.dtype)}


def best(block: Array, k: int) -> tuple[Array, npt.NDArray[np.uint16]]:
    """The k best scores of each cell, best first, and their classes; of equals the first class.

    Both `(*cells, k)`. Where a score is NaN it is last, and its class `NO_CLASS`.
    """
    shape = (*block.shape[:-1], k)
    scores, classes = np.empty(shape, block.dtype), np.empty(shape, np.uint16)
    for row in np.ndindex(shape[:-2]):  # one row of cells at a time, so that little is held
        order = np.argsort(-block[row], axis=-1, kind="stable")[..., :k]
        scores[row] = np.take_along_axis(block[row], order, axis=-1)
        classes[row] = order
    classes[np.isnan(scores)] = NO_CLASS
    return scores, classes


def _packed(scores: Array, dtype: str) -> Array:
    """Scores in the type they are stored in, every NaN with the same bits."""
    if dtype == "uint8":
        return _bytes(scores)
    with np.errstate(over="ignore"):
        packed = scores.astype(dtype)
    if dtype == "float16" and (lost := np.isinf(packed) & np.isfinite(scores)).any():
        raise UsageError(
            f"a score of {float(scores[lost][0]):g} is beyond what float16 holds, 65504.",
            hint="Store the map as float32.",
        )
    packed[np.isnan(packed)] = np.nan
    return packed


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
