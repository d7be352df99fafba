"""How a score map lies on the disk: its arrays, its chunks and their files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from fullconv.errors import UsageError
from fullconv.geometry import times
from fullconv.storage.maps.about import Kept

DTYPES = ("float32", "float16", "uint8")
SCORES, CLASSES = "scores", "classes"
NO_CLASS = 65535
"""In `classes`, uint16: there is no score here."""
SKIPPED, TOP = 255, 254
"""In uint8 scores: there is no score here, and the value that stands for probability 1."""
LARGEST = 2**31 - 1  # bytes of a chunk that zstd takes at once

Index = tuple[int, ...]
Span = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """The sizes of a map.

    Attributes:
        shape: cells per axis, and then K, the scores that the network has for a cell.
        chunk: cells of a chunk per axis; the last ones of an axis may have fewer.
        dtype: "float32", "float16", or "uint8" for probabilities: `round(254 p)`, 255 for none.
        kept: which of the K are stored.

    Raises UsageError for sizes that fit no map.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    kept: Kept = "all"

    def __post_init__(self) -> None:
        if len(self.chunk) != len(self.shape) - 1 or not self.chunk:
            raise UsageError(
                f"a map of shape {self.shape} has chunks of {len(self.shape) - 1} sides, "
                f"not {self.chunk}."
            )
        if any(type(n) is not int or n < 1 for n in (*self.shape, *self.chunk)):
            raise UsageError(
                f"shape {self.shape} and chunk {self.chunk} must be made of positive whole numbers."
            )
        if self.dtype not in DTYPES:
            raise UsageError(f"dtype={self.dtype!r} must be one of {', '.join(DTYPES)}.")
        self._check_classes()
        if (size := self.chunk_bytes) > LARGEST:
            raise UsageError(
                f"a chunk of {times(self.chunk)} cells takes {size:,} bytes, and at most "
                f"{LARGEST:,} can be compressed at once.",
                hint="Make the chunks smaller, or store fewer classes.",
            )

    def _check_classes(self) -> None:
        total = self.shape[-1]
        if self.top is not None:
            if self.top > total:
                raise UsageError(
                    f"the best {self.top} classes are to be stored, and there are {total}."
                )
            if total > NO_CLASS:
                raise UsageError(
                    f"of {total:,} classes the best cannot be told: their numbers go to "
                    f"{NO_CLASS - 1:,}.",
                    hint="Store all classes, or chosen ones.",
                )
        elif self.kept != "all" and (wrong := [k for k in self.kept if int(k) >= total]):
            raise UsageError(
                f"class {wrong[0]} is to be stored, and there are {total}, numbered from 0."
            )

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells per axis."""
        return self.shape[:-1]

    @property
    def top(self) -> int | None:
        """How many of the best classes are stored, None if it is always the same classes."""
        return int(self.kept[1]) if self.kept[0] == "top" else None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The classes that are stored, in order; of the best ones there are none to name."""
        if self.kept == "all":
            return tuple(range(self.shape[-1]))
        return () if self.top is not None else tuple(int(k) for k in self.kept)

    @property
    def stored(self) -> int:
        """Scores per cell that are stored."""
        return self.top or len(self.numbers)

    @property
    def arrays(self) -> dict[str, tuple[str, Any]]:
        """Name, dtype and the value of a cell that is not there, of each array."""
        fill = SKIPPED if self.dtype == "uint8" else float("nan")
        scores = {SCORES: (self.dtype, fill)}
        return scores if self.top is None else {**scores, CLASSES: ("uint16", NO_CLASS)}

    @property
    def chunk_bytes(self) -> int:
        """Bytes of the scores of a whole chunk, before they are compressed."""
        size = {"float32": 4, "float16": 2, "uint8": 1}[self.dtype]
        return prod(self.chunk) * self.stored * size

    @property
    def beside(self) -> int:
        """At most so many bytes are taken by writing a chunk, beside the block that is given.

        What is stored, the same filled up to a whole chunk, compressed, and with its checksum; of
        what is computed a row of cells at a time, a row.
        """
        arrays = self.chunk_bytes + (0 if self.top is None else 2 * prod(self.chunk) * self.stored)
        return 4 * arrays + 64 * self.chunk[-1] * self.shape[-1] + 4 * 2**20

    @property
    def counts(self) -> tuple[int, ...]:
        """Chunks per axis."""
        pairs = zip(self.cells, self.chunk, strict=True)
        return tuple(-(-cells // chunk) for cells, chunk in pairs)

    def __iter__(self) -> Iterator[Index]:
        """The index of every chunk, last axis fastest: (strip, band)."""
        return product(*(range(count) for count in self.counts))

    def __len__(self) -> int:
        """How many chunks there are."""
        return prod(self.counts)

    def __contains__(self, index: object) -> bool:
        """Whether there is such a chunk."""
        return (
            isinstance(index, tuple)
            and len(index) == len(self.counts)
            and all(type(i) is int and 0 <= i < n for i, n in zip(index, self.counts, strict=True))
        )

    def span(self, index: Index) -> tuple[Span, ...]:
        """The half-open range of cells of a chunk, per axis."""
        return tuple(
            (i * chunk, min((i + 1) * chunk, cells))
            for i, chunk, cells in zip(index, self.chunk, self.cells, strict=True)
        )

    def over(self, spans: tuple[Span, ...]) -> Iterator[Index]:
        """The chunks that hold any of these cells."""
        pairs = zip(spans, self.chunk, strict=True)
        return product(
            *(
                range(start // chunk, -(-stop // chunk)) if start < stop else range(0)
                for (start, stop), chunk in pairs
            )
        )

    def files(self, index: Index) -> tuple[str, ...]:
        """The files of a chunk, as paths inside the map: one for each array."""
        name = ".".join(map(str, ("c", *index, 0)))
        return tuple(f"{array}/{name}" for array in self.arrays)
