"""What a source of pixels is: any box of an image that need not fit in memory.

A box is half-open and lists the starts of all axes and then the stops, as everywhere. What a file
cannot give is never made up: px that cannot be read are 0 and named in `Region.faults`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError, UsageError
from fullconv.geometry import Box, times
from fullconv.storage.raster import Array


@dataclass(frozen=True, slots=True)
class Fault:
    """A box of px that could not be read, and why: one sentence without its full stop."""

    box: Box
    why: str

    def within(self, box: Box) -> Fault | None:
        """The part of it that lies in `box`, None where there is none."""
        part = overlap(self.box, box)
        return None if part is None else replace(self, box=part)

    def moved(self, by: Sequence[int]) -> Fault:
        """It, `by` px further along each axis."""
        return replace(self, box=moved(self.box, by))


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """The pixels of a box.

    Attributes:
        pixels: `(*space, channels)`, uint8 or uint16 over their full range, or float32 within 0..1.
        faults: px that could not be read, in px of the source; they are 0 in `pixels`.
        missing: `(*space)` bool, True where the file itself says that it has no data; None where
            it says nothing of the kind. What lies there in `pixels` means nothing.
    """

    pixels: Array
    faults: tuple[Fault, ...] = ()
    missing: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the pixels of a source lie: in level 0 of its file, on the slide, on the earth.

    Attributes:
        origin: the corner of this source's px 0 in px of level 0, per axis (row, column).
        scale: px of level 0 for each px of this source, per axis.
        mpp: micrometres for each px of level 0 (row, column), where the file says so.
        crs: coordinate reference system as WKT, empty for none.
        transform: `a b c d e f` that take a (column, row) of level 0 to `x = a·column + b·row + c`
            and `y = d·column + e·row + f` of the CRS, in the order of rasterio.
    """

    origin: tuple[Fraction, ...]
    scale: tuple[Fraction, ...]
    mpp: tuple[float, float] | None = None
    crs: str = ""
    transform: tuple[float, ...] | None = None

    @classmethod
    def plain(cls, dims: int) -> Frame:
        """That of an image which is level 0 itself, from its first px on."""
        return cls((Fraction(0),) * dims, (Fraction(1),) * dims)

    def cropped(self, start: Sequence[int]) -> Frame:
        """That of a part which begins at px `start` of this source."""
        steps = zip(self.origin, self.scale, start, strict=True)
        return replace(self, origin=tuple(o + s * n for o, s, n in steps))


class Source(ABC):
    """An image whose boxes can be read one after the other. A context manager.

    Attributes:
        name: the file, for messages.
        size: px per axis.
        channels: of each pixel.
        dtype: uint8 or uint16 over their full range, or float32 within 0..1.
        frame: where its pixels lie.
        grain: px per axis of the segments it is decoded in: what is read in boxes that are aligned
            to them is decoded once. Of other sources 1.
    """

    name: str
    size: tuple[int, ...]
    channels: int
    dtype: np.dtype[Any]
    frame: Frame
    grain: tuple[int, ...]

    @abstractmethod
    def read(self, box: Box) -> Region:
        """The pixels of a box inside the image.

        Raises UsageError for a box outside, and InputError if the file can no longer be read.
        """

    @abstractmethod
    def held(self) -> int:
        """At most so many bytes are kept from one read to the next."""

    @abstractmethod
    def beside(self, box: Box) -> int:
        """At most so many bytes are taken by a read of such a box, beside its result."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 in hex of what the pixels come from, as told by `fullconv.storage.sources`."""

    @abstractmethod
    def check(self) -> None:
        """Raise InputError if the file is no longer the one that was opened.

        Told by its length and the time it was written to; of a Zarr image by those of its metadata.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of files and memory. What was read stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def checked(self, box: Box) -> Box:
        """`box` in plain ints. Raises UsageError unless it lies inside the image."""
        return checked(box, self.size, self.name)


def checked(box: Sequence[int], size: tuple[int, ...], where: str, what: str = "box") -> Box:
    """A box in plain ints. Raises UsageError, with both named, unless it lies inside `size` px."""
    dims = len(size)
    found = tuple(int(edge) for edge in box)
    if len(found) != 2 * dims:
        raise UsageError(
            f"a {what} of {dims} axes has {2 * dims} numbers, got {len(found)}.",
            where=where,
            hint="Name the starts of all axes, then the stops: top, left, bottom, right.",
        )
    spans = zip(found[:dims], found[dims:], size, strict=True)
    if all(0 <= start <= stop <= length for start, stop, length in spans):
        return found
    edges = ", ".join(map(str, found))
    raise UsageError(
        f"the {what} ({edges}) does not lie inside the image of {times(size)} px.",
        where=where,
        why="It is half-open: top, left, bottom, right in px of the level that is read.",
        hint=f"Stay within ({', '.join(map(str, (*(0,) * dims, *size)))}).",
    )


def extent(box: Box) -> tuple[int, ...]:
    """Px per axis of a box."""
    dims = len(box) // 2
    return tuple(stop - start for start, stop in zip(box[:dims], box[dims:], strict=True))


def overlap(one: Box, other: Box) -> Box | None:
    """What two boxes share, None for nothing."""
    dims = len(one) // 2
    starts = tuple(map(max, one[:dims], other[:dims]))
    stops = tuple(map(min, one[dims:], other[dims:]))
    inside = all(start < stop for start, stop in zip(starts, stops, strict=True))
    return starts + stops if inside else None


def moved(box: Box, by: Sequence[int]) -> Box:
    """A box, `by` px further along each axis."""
    return tuple(edge + step for edge, step in zip(box, (*by, *by), strict=True))


def slices(box: Box, corner: Sequence[int] | None = None) -> tuple[slice, ...]:
    """A box as slices of an array whose first px is `corner`, 0 if none is named."""
    dims = len(box) // 2
    from_ = corner if corner is not None else (0,) * dims
    edges = zip(box[:dims], box[dims:], from_, strict=True)
    return tuple(slice(start - first, stop - first) for start, stop, first in edges)


def hashed(*parts: object) -> str:
    """SHA-256 in hex of some values; bytes as they are, others as they print."""
    found = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        found.update(len(data).to_bytes(8, "little") + data)
    return found.hexdigest()


def placed(error: InputError, where: str) -> InputError:
    """An error with the file it is about."""
    if error.where:
        return error
    return type(error)(error.what, where=where, why=error.why, hint=error.hint)
