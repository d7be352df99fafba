"""A score map on the disk, read in parts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import IncompleteError, InputError, UsageError
from fullconv.geometry import Grid
from fullconv.storage.maps import journal
from fullconv.storage.maps.about import MapAbout
from fullconv.storage.maps.cells import Floats, best, floats
from fullconv.storage.maps.document import Document, read_document
from fullconv.storage.maps.faults import collected
from fullconv.storage.maps.journal import Entry
from fullconv.storage.maps.layout import CLASSES, SCORES, Index, Layout, Span
from fullconv.storage.sources.source import Fault, Frame

Array = npt.NDArray[Any]


def open_map(path: str | os.PathLike[str], *, incomplete: bool = False) -> ScoreMapStore:
    """Open the map in a folder for reading.

    Args:
        path: the folder.
        incomplete: open it also if chunks are missing; their cells are NaN.

    Raises InputError if there is no map, and IncompleteError if chunks are missing.
    """
    root = Path(path)
    given = read_document(root)
    if given.complete:
        return ScoreMapStore(root, given, None)
    entries = journal.entered(root / journal.NAME, given.layout)
    if not incomplete:
        raise IncompleteError(
            f"the map is incomplete: {len(entries):,} of {len(given.layout):,} chunks are there.",
            where=str(root),
            hint="Scan again with the same settings to go on with it, or open it as it is "
            "(incomplete=True).",
        )
    return ScoreMapStore(root, given, entries)


class ScoreMapStore:
    """A score map on the disk; `open_map` opens one. Safe to read from several threads.

    What is read is read in whole chunks: ask for `layout.span(index)` where there is a choice.

    Attributes:
        path: its folder.
        about: what made it, and where it lies.
        layout: its chunks; iterating over it gives the index of every chunk.
        complete: whether all chunks are there.
        faults: px of the source that could not be read, in order.
    """

    def __init__(self, path: Path, given: Document, entries: Mapping[Index, Entry] | None) -> None:
        """`entries` are the chunks that are there, None if all are."""
        import zarr

        self.path, self.complete = path, given.complete
        self.about: MapAbout = given.about
        self.layout: Layout = given.layout
        self._done = None if entries is None else frozenset(entries)
        self.faults: tuple[Fault, ...] = given.faults
        if entries is not None:
            self.faults = collected(fault for e in entries.values() for fault in e.faults)
        self._arrays: dict[str, Any] = {}
        for name, (dtype, _) in self.layout.arrays.items():
            try:
                array = zarr.open_array(path / name, mode="r", zarr_format=3)
            except (OSError, KeyError, ValueError, TypeError) as error:
                raise InputError(
                    "is no array of Zarr 3.", where=str(path / name), why=f"zarr says: {error}."
                ) from error
            if array.shape != self.shape or array.dtype != np.dtype(dtype):
                raise InputError(
                    f"is an array {array.shape} of {array.dtype}, and the map says it is "
                    f"{self.shape} of {dtype}.",
                    where=str(path / name),
                )
            self._arrays[name] = array

    @property
    def shape(self) -> tuple[int, ...]:
        """`(rows, cols, scores stored for a cell)`."""
        return (*self.layout.cells, self.layout.stored)

    @property
    def done(self) -> frozenset[Index]:
        """The chunks that are there."""
        return frozenset(self.layout) if self._done is None else self._done

    @property
    def grid(self) -> Grid:
        """Which window each cell stands for, in px of the source counted from `about.offset`."""
        return self.about.grid

    @property
    def frame(self) -> Frame:
        """Where the source's px lie at level 0 and in the world.

        Raises InputError if the map holds something else there.
        """
        given = self.about.frame
        if not given:
            return Frame.plain(len(self.about.size))
        mpp, transform = given.get("mpp"), given.get("transform")
        try:
            return Frame(
                tuple(map(Fraction, given["origin"])),
                tuple(map(Fraction, given["scale"])),
                None if mpp is None else (float(mpp[0]), float(mpp[1])),
                str(given.get("crs") or ""),
                None if transform is None else tuple(map(float, transform)),
            )
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
            raise InputError(
                "its frame is damaged, or was changed.", where=str(self.path), why=f"It is {given}."
            ) from error

    @property
    def numbers(self) -> tuple[int, ...]:
        """The class of each stored score, in order; () if the best classes are stored."""
        return self.layout.numbers

    def read(self, *spans: Span) -> Floats:
        """Scores of the cells in `(start, stop)` of each axis, all if none are named.

        float32 `(rows, cols, scores stored for a cell)`, NaN where there is none. If the best
        classes are stored, the best first. Probabilities stored as uint8 are from 0 to 1 again.

        Raises UsageError for cells outside the map, InputError if a chunk is missing or damaged.
        """
        return floats(self._read(SCORES, spans))

    def top(self, k: int, *spans: Span) -> tuple[Floats, npt.NDArray[np.uint16]]:
        """The k best scores of each cell, best first, and their classes, both `(rows, cols, k)`.

        Of equal scores the lower class first. Where there is no score it is NaN, and the class
        65535.

        Raises UsageError if fewer are stored, and as `read` does.
        """
        if not 1 <= k <= self.layout.stored:
            raise UsageError(
                f"the best {k} classes are asked for, and {self.layout.stored} are stored.",
                where=str(self.path),
            )
        if self.layout.top is not None:
            return self.read(*spans)[..., :k], self._read(CLASSES, spans)[..., :k]
        scores, places = best(self.read(*spans), k)
        if self.layout.kept == "all":
            return scores, places
        numbers = np.array([*self.numbers], np.uint16)
        found = np.where(np.isnan(scores), places, numbers[np.minimum(places, len(numbers) - 1)])
        return scores, found.astype(np.uint16)

    def plane(self, number: int, *spans: Span) -> Floats:
        """The scores of one class, `(rows, cols)`.

        If the best classes are stored, NaN also where this class is not among them.

        Raises UsageError if the class is not stored, and as `read` does.
        """
        if self.layout.top is None and number in self.numbers:
            return self.read(*spans)[..., self.numbers.index(number)]
        if self.layout.top is None or not 0 <= number < self.layout.shape[-1]:
            raise UsageError(f"class {number} is not stored.", where=str(self.path))
        found = self._read(CLASSES, spans) == number  # at one rank, or at none
        rank = found.argmax(axis=-1)[..., None]
        scores = np.take_along_axis(self.read(*spans), rank, axis=-1)[..., 0]
        scores[~found.any(axis=-1)] = np.nan
        return scores

    def unsound(self) -> tuple[Index, ...]:
        """The chunks whose files are missing, or are not as they were written: all are read.

        Raises InputError if there is no journal to tell.
        """
        entries = journal.entered(self.path / journal.NAME, self.layout)
        if not entries and self.done:
            raise InputError("is missing or damaged.", where=str(self.path / journal.NAME))
        return tuple(
            index
            for index in sorted(self.done)
            if index not in entries or not entries[index].holds(self.path)
        )

    def _read(self, name: str, spans: tuple[Span, ...]) -> Array:
        """Stored values, chunk by chunk."""
        spans = self._checked(spans)
        dtype, fill = self.layout.arrays[name]
        sizes = [stop - start for start, stop in spans]
        values = np.full((*sizes, self.layout.stored), fill, dtype)
        for index in self.layout.over(spans):
            if self._done is not None and index not in self._done:
                continue
            pairs = list(zip(self.layout.span(index), spans, strict=True))
            both = [(max(a, c), min(b, d)) for (a, b), (c, d) in pairs]
            inside = [(a - c, b - c) for (a, b), (c, _) in zip(both, spans, strict=True)]
            values[_slices(inside)] = self._chunk(name, index, _slices(both))
        return values

    def _chunk(self, name: str, index: Index, place: tuple[slice, ...]) -> Array:
        """Part of a chunk. zarr would read one that is not there as empty."""
        file = self.path / next(f for f in self.layout.files(index) if f.startswith(f"{name}/"))
        if not file.exists():
            raise InputError(
                f"chunk {index} is missing.",
                where=str(file),
                hint="Scan again with the same settings to write it again.",
            )
        try:
            values: Array = self._arrays[name][place]
        except (ValueError, RuntimeError, OSError, TypeError) as error:
            raise InputError(
                f"chunk {index} is damaged.",
                where=str(file),
                why=f"zarr says: {error}.",
                hint="Scan again with the same settings to write it again.",
            ) from error
        return values

    def _checked(self, spans: tuple[Span, ...]) -> tuple[Span, ...]:
        spans = spans or tuple((0, cells) for cells in self.layout.cells)
        cells = self.layout.cells
        if len(spans) != len(cells) or any(
            not 0 <= start <= stop <= n for (start, stop), n in zip(spans, cells, strict=True)
        ):
            raise UsageError(
                f"cells {spans} are asked for, and the map has {cells}.", where=str(self.path)
            )
        return spans


def _slices(spans: Iterator[Span] | list[Span]) -> tuple[slice, ...]:
    return tuple(slice(start, stop) for start, stop in spans)
