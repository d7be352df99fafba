"""The background of a glass slide: what has no colour, found on a small picture of the slide.

Stained tissue is coloured, glass is white or grey. The threshold of saturation is Otsu's, which
splits the picture's histogram into two parts as different as can be (N. Otsu, 1979). It always
splits: a picture without any glass, or without any tissue, is cut in two all the same. Pen marks
are coloured too; fat, and tissue without stain, are not.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from itertools import count
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError, UsageError
from fullconv.scanning.sight.spans import Flags
from fullconv.storage.sources import ArraySource, Source, open_source
from fullconv.storage.sources.source import slices

LONGEST = 1024
"""Px of the longer side of the small picture, about."""
PIECE = 1 << 20
"""Px that are read at a time."""
BINS = 256
CLOSED = 2  # px of the small picture by which gaps in the tissue are closed

Floats = npt.NDArray[np.float64]


def tissue(
    image: str | os.PathLike[str] | Source, budget: int | None = None
) -> tuple[Flags, float]:
    """Where a slide is not background: `(h, w)` of a small picture, and the threshold.

    Read from the smallest level of a file that is not too small; of images without smaller levels
    every px is read, once. What cannot be read counts as tissue, what is no data as background.
    At most about `budget` bytes are taken.

    Raises InputError for a picture without any colour, UsageError for one that is not RGB.
    """
    with nullcontext(image) if isinstance(image, Source) else _smallest(image, budget) as picture:
        if picture.channels != 3 or len(picture.size) != 2:
            raise UsageError(
                "background is found by its lack of colour, and the image is not RGB.",
                where=picture.name,
                hint="Give a mask as an image.",
            )
        colours, lost, known = thumbnail(picture)
    top, low = colours.max(axis=-1), colours.min(axis=-1)
    saturation = np.divide(top - low, top, out=np.zeros_like(top), where=top > 0)
    measured = saturation[known]
    if not measured.size or float(np.ptp(measured)) < 1 / 255:
        raise InputError(
            "background cannot be told from tissue: the saturation is the same everywhere.",
            where=picture.name,
            hint="Scan without a mask, or give one as an image.",
        )
    threshold = otsu(measured)
    return closed((known & (saturation > threshold)) | lost), threshold


def mask_of(flags: Flags) -> ArraySource:
    """A small picture of flags as a source."""
    return ArraySource(flags, axes=flags.ndim, name="the mask")


def otsu(values: Floats) -> float:
    """The threshold that splits values from 0 to 1 into two parts as different as can be."""
    counts, edges = np.histogram(values, BINS, (0.0, 1.0))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    apart = np.zeros(BINS - 1)
    both = (below > 0) & (above > 0)
    means = sums[:-1][both] / below[both], (sums[-1] - sums[:-1][both]) / above[both]
    apart[both] = below[both] * above[both] * (means[0] - means[1]) ** 2
    best = np.flatnonzero(apart == apart.max())  # a gap between the parts: its middle
    return float(edges[1:-1][best].mean())


def closed(flags: Flags) -> Flags:
    """Flags with small gaps filled."""
    from scipy.ndimage import binary_closing  # type: ignore[import-untyped]

    padded = np.pad(flags, CLOSED, mode="edge")  # beyond the border is more of the same
    filled: Flags = binary_closing(padded, iterations=CLOSED)[CLOSED:-CLOSED, CLOSED:-CLOSED]
    return filled | flags


def thumbnail(source: Source, longest: int = LONGEST) -> tuple[Floats, Flags, Flags]:
    """A small picture `(h, w, channels)` from 0 to 1: means over boxes of whole px.

    Also `(h, w)`: where a px could not be read, and where any px has data. Bounded memory.
    """
    step = max(1, ceil(max(source.size) / longest))
    rows, columns = (-(-length // step) for length in source.size)
    sums = np.zeros((rows, columns, source.channels))
    counts = np.zeros((rows, columns))
    lost = np.zeros((rows, columns), bool)
    top = 1 if source.dtype.kind == "f" else np.iinfo(source.dtype).max
    tall = max(1, source.grain[0] // step) * step  # whole segments, where they are that fine
    while 2 * tall * source.size[1] <= PIECE:
        tall *= 2
    wide = max(1, PIECE // tall // step) * step
    for first in range(0, source.size[0], tall):
        for left in range(0, source.size[1], wide):
            stop = min(first + tall, source.size[0]), min(left + wide, source.size[1])
            box = (first, left, *stop)
            region = source.read(box)
            good = np.ones(region.pixels.shape[:2], bool)
            if region.missing is not None:
                good &= ~region.missing
            for fault in region.faults:
                inner = slices(fault.box, (first, left))
                good[inner] = False
                marked = tuple(slice(a // step, -(-b // step)) for a, b in _pairs(fault.box))
                lost[marked] = True
            place = tuple(slice(a // step, -(-b // step)) for a, b in _pairs(box))
            whole = region.pixels * (good[..., None] / np.float32(top))
            sums[place] += _summed(whole, step, np.float64)
            counts[place] += _summed(good, step, np.int64)
    known = counts > 0
    return np.divide(sums, counts[..., None], where=known[..., None], out=sums), lost, known


def _pairs(box: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(box[0], box[2]), (box[1], box[3])]


def _summed(values: npt.NDArray[Any], step: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Sums over boxes of `step` px, the last ones of an axis over fewer."""
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], step)
        values = np.add.reduceat(values, starts, axis=axis, dtype=dtype)
    return values


def _smallest(path: str | os.PathLike[str], budget: int | None) -> Source:
    """The smallest level of a file that is not too small, in colour."""
    found = open_source(path, channels=3, budget=budget)
    for number in count(1):
        try:
            level = open_source(path, channels=3, level=number, budget=budget)
        except UsageError:  # there is no such level
            break
        if max(level.size) < LONGEST // 2:
            level.close()
            break
        found.close()
        found = level
    return found
