"""A stored score map painted over the image it was made of, at a size that can be looked at.

Each cell is the square of `stride` px around its window's centre, as in every export. The image is
read in bands and reduced by a whole factor; a pixel of the picture has the cell in which its own
centre lies. Places are fractions, so that nothing drifts however large the image is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from fullconv.errors import InputError, UsageError
from fullconv.evaluate.pictures.classmap import with_legend
from fullconv.evaluate.pictures.figure import Scale, framed
from fullconv.evaluate.pictures.overlay import Tint
from fullconv.geometry import times
from fullconv.storage.class_colors import class_color
from fullconv.storage.maps.exports.channels import Channels
from fullconv.storage.maps.exports.given import BUDGET, GivenMap, Span, pieces
from fullconv.storage.maps.exports.placement import Placement
from fullconv.storage.sources import Source, open_source

SIDE = 4096
"""Px of the longer side of a picture, at most."""
LISTED = 24  # classes in a legend, at most
SLACK = Fraction(1, 50)  # of a side that levels of a pyramid may lack

Pixels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def open_level(path: str | os.PathLike[str], side: int = SIDE) -> Source:
    """An image in RGB; of a pyramid a coarse level, of which a picture is still half as large."""
    source = open_source(path)
    wanted = ceil(Fraction(max(source.size), side))
    level = 1
    while wanted > 1:
        try:
            coarser = open_source(path, level=level)
        except UsageError:  # there is none
            break
        if max(coarser.frame.scale) > wanted:
            coarser.close()
            break
        source.close()
        source, level = coarser, level + 1
    return source


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Some rows of a map, and where they go.

    Attributes:
        cells: the rows of the map.
        place: where there are cells, as an index of some rows of the picture.
        take: the cells that are there, as an index of these rows of the map.
    """

    cells: Span
    place: tuple[npt.NDArray[Any], ...]
    take: tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The part of an image that was scanned, as a picture.

    Attributes:
        box: it in px of the image, half-open.
        factor: px of the image along the sides of a px of the picture.
        rows, cols: for each row and column of the picture that of the map; −1 where there is none.
    """

    box: tuple[int, int, int, int]
    factor: int
    rows: Places
    cols: Places

    @classmethod
    def of(cls, given: GivenMap, image: Source, side: int = SIDE) -> View:
        """That of a map. Raises InputError for an image that is not the one scanned."""
        placement = Placement.of(given.about)
        spans = [_span(given, image, axis) for axis in (0, 1)]
        factor = ceil(Fraction(max(stop - start for start, stop in spans), side))
        rows, cols = (
            _cells(placement, image, axis, spans[axis], factor, given.shape[axis])
            for axis in (0, 1)
        )
        (top, bottom), (left, right) = spans
        return cls((top, left, bottom, right), factor, rows, cols)

    @property
    def size(self) -> tuple[int, int]:
        """Of the picture, px."""
        return len(self.rows), len(self.cols)

    def bands(self, width: int) -> Iterator[tuple[int, int]]:
        """Rows of the picture, as many at a time as fit; `width` are the numbers of a map row."""
        _, left, _, right = self.box
        image = 3 * self.factor * (right - left)
        there = self.rows[self.rows >= 0]
        cells = (int(there[-1] - there[0]) + 1) / len(self.rows) if len(there) else 0
        step = max(1, int(min(BUDGET / (4 * image), BUDGET / max(1, 4 * width * cells))))
        for start in range(0, len(self.rows), step):
            yield start, min(start + step, len(self.rows))

    def wanted(self, start: int, stop: int) -> Wanted | None:
        """The cells of rows `[start, stop)` of the picture; None if none of them is in the map."""
        rows, cols = self.rows[start:stop], self.cols
        down, across = rows >= 0, cols >= 0
        if not down.any() or not across.any():
            return None
        cells = int(rows[down][0]), int(rows[down][-1]) + 1
        return Wanted(cells, np.ix_(down, across), np.ix_(rows[down] - cells[0], cols[across]))

    def pixels(self, image: Source, start: int, stop: int) -> Pixels:
        """Rows `[start, stop)` of the picture `(rows, W, 3)`: the mean px of the image."""
        top, left, bottom, right = self.box
        first, last = top + start * self.factor, min(top + stop * self.factor, bottom)
        found = image.read((first, left, last, right)).pixels
        whole = {np.dtype(np.uint8): 1, np.dtype(np.uint16): 257}.get(found.dtype)
        if self.factor > 1:
            for axis in (0, 1):
                starts = np.arange(0, found.shape[axis], self.factor)
                counts = np.diff(np.append(starts, found.shape[axis]))
                sums = np.add.reduceat(found, starts, axis=axis, dtype=np.float32)
                found = sums / counts.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        elif whole == 1:
            return found
        return np.rint(found / whole if whole else found * 255).astype(np.uint8)


def class_picture(
    given: GivenMap,
    image: Source,
    number: int,
    *,
    threshold: float | None = None,
    opacity: float = 0.55,
    side: int = SIDE,
) -> PIL.Image.Image:
    """The scores of one class over the image, with a colour bar; nothing where there is none.

    Probabilities are shown from 0 to 1, scores from the lowest to the highest of the map. With a
    threshold only what reaches it is tinted.

    Raises UsageError for a class that the map does not hold, InputError for another image.
    """
    view, channels = View.of(given, image, side), Channels.of(given, [number])
    low, high = _ends(channels)
    picture, box = framed(*view.size, channels.listed[0].name, Scale(low, high))
    tint = Tint(low, high, opacity)
    for start, stop in view.bands(given.shape[1] * channels.width):
        values = np.full((stop - start, len(view.cols)), np.nan)
        if (wanted := view.wanted(start, stop)) is not None:
            scores = channels.read(wanted.cells, (0, given.shape[1]))[..., 0]
            values[wanted.place] = scores[wanted.take]
        if threshold is not None:
            values[~(values >= threshold)] = np.nan
        block = tint.over(view.pixels(image, start, stop), values)
        picture.paste(PIL.Image.fromarray(block), (box[1], box[0] + start))
    return picture


def winner_picture(
    given: GivenMap,
    image: Source,
    numbers: list[int] | None = None,
    *,
    threshold: float | None = None,
    opacity: float = 0.5,
    side: int = SIDE,
) -> PIL.Image.Image:
    """The class that is the highest of all, in its colour over the image, with a legend.

    Only some classes are shown if `numbers` are given, and only where the score reaches the
    threshold if there is one. The legend names those that cover most.
    """
    view, channels = View.of(given, image, side), Channels.of(given, numbers)
    shades = np.array([class_color(number) for number in channels.numbers])
    counts = np.zeros(len(channels), np.int64)
    picture = PIL.Image.new("RGB", view.size[::-1])
    for start, stop in view.bands(given.shape[1] * channels.width):
        labels = np.full((stop - start, len(view.cols)), -1)
        if (wanted := view.wanted(start, stop)) is not None:
            winner, scores = channels.winners(wanted.cells, (0, given.shape[1]))
            if threshold is not None:
                winner = np.where(scores >= threshold, winner, -1)
            labels[wanted.place] = winner[wanted.take]
        counts += np.bincount(labels[labels >= 0], minlength=len(channels))
        pixels = view.pixels(image, start, stop)
        mixed = (1 - opacity) * pixels + opacity * shades[labels]
        block = np.where(labels[..., None] >= 0, np.rint(mixed), pixels).astype(np.uint8)
        picture.paste(PIL.Image.fromarray(block), (0, start))
    shown = [int(k) for k in np.argsort(-counts, kind="stable")[:LISTED] if counts[k]]
    if not shown:
        return picture
    names = tuple(channels.listed[k].name for k in shown)
    return with_legend(picture, names, shades[shown])


def _span(given: GivenMap, image: Source, axis: int) -> Span:
    """The px of the image in which the scanned ones lie, along one axis."""
    about = given.about
    origin = Fraction((about.frame.get("origin") or (0, 0))[axis])
    scale = Fraction((about.frame.get("scale") or (1, 1))[axis])
    edges = origin, origin + scale * about.size[axis]
    inside = [(edge - image.frame.origin[axis]) / image.frame.scale[axis] for edge in edges]
    start, stop = max(0, floor(inside[0])), min(image.size[axis], ceil(inside[1]))
    if stop - start < (1 - SLACK) * (inside[1] - inside[0]):
        side = "high" if axis == 0 else "wide"
        raise InputError(
            f"the image is {times(image.size)} px, and the map was made of px {floor(edges[0]):,} "
            f"to {ceil(edges[1]):,} of one that is as {side}.",
            where=image.name,
            hint="Name the image that was scanned.",
        )
    return start, stop


def _cells(
    placement: Placement, image: Source, axis: int, span: Span, factor: int, count: int
) -> Places:
    """For each px of the picture along an axis the cell in which its centre lies, or −1."""
    scale, origin = image.frame.scale[axis], image.frame.origin[axis]
    # The centre of px p is at first + p · step, in squares from the corner of the map.
    side = placement.step[axis]
    step = scale * factor / side
    first = (origin + scale * (span[0] + Fraction(factor, 2)) - placement.corner[axis]) / side
    length = ceil(Fraction(span[1] - span[0], factor))
    cells = np.array([floor(first + px * step) for px in range(length)], np.int64)
    cells[(cells < 0) | (cells >= count)] = -1
    return cells


def _ends(channels: Channels) -> tuple[float, float]:
    """The scores at the ends of the colour bar."""
    if channels.given.about.values == "probabilities":
        return 0.0, 1.0
    low, high = float("inf"), float("-inf")
    rows, cols, _ = channels.given.shape
    for down, across in pieces(rows, cols, channels.width, tile=64):
        block: npt.NDArray[Any] = channels.read(down, across)
        known = block[np.isfinite(block)]
        if len(known):
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    if not low < high:
        middle = low if np.isfinite(low) else 0.0
        return middle - 0.5, middle + 0.5
    return low, high
