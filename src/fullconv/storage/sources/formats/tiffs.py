"""TIFF: the tiles and strips that a box touches, each checked before it is decoded."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import reduce
from typing import BinaryIO

import numpy as np
import tifffile

from fullconv.errors import InputError
from fullconv.geometry import Box
from fullconv.storage.formats import webp_header
from fullconv.storage.raster import Array, admit_channels
from fullconv.storage.sources.flat import Flat, FlatArray
from fullconv.storage.sources.formats.jpeg import head_of
from fullconv.storage.sources.samples import PRESENT, Absent, brightness, faults
from fullconv.storage.sources.segments import Segmented
from fullconv.storage.sources.source import Region, extent
from fullconv.storage.sources.stored import Stored
from fullconv.storage.tiff import JPEG, Layout, check_listing, check_segment, layout

JPEG_2000 = (33003, 33004, 33005, 34712)
WEBP = (34927, 50001)
SIZE_MARKER = b"\xff\x51"  # of a JPEG 2000 codestream


def page_pixels(
    file: BinaryIO,
    length: int,
    pages: Sequence[tifffile.TiffPage],
    channels: int,
    budget: int,
    absent: Absent = PRESENT,
) -> tuple[Stored, int]:
    """The pixels of a page, or of pages that hold one channel each; and their orientation.

    Raises InputError for a page that lists too few segments, has other channels or unknown
    samples, and for segments that take more than `budget` bytes.
    """
    page = pages[0]
    form = layout(page, channels)
    bands = form.colours if len(pages) == 1 else len(pages)
    admit_channels(bands, channels)
    for one in pages:
        check_listing(one)
    if len(pages) == 1 and page.is_contiguous and page.fillorder == 1 and page.predictor == 1:
        dtype = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        planes, _, height, width, samples = page.shaped
        array = FlatArray(
            file, length, page.dataoffsets[0], (planes, height, width, samples), dtype
        )
        plain = not any(form.steps)

        def convert(block: Array) -> Array:
            return reduce(lambda found, step: step(found), form.steps, block)

        stored = Flat(array, (1, 2), (0, 3), convert=None if plain else convert, absent=absent)
        return stored, form.orientation
    return Segments(file, length, pages, form, budget, absent), form.orientation


def page_mask(file: BinaryIO, length: int, page: tifffile.TiffPage, budget: int) -> Stored:
    """A page that masks another: 0 where that has no data."""
    check_listing(page)
    form = Layout((page.imagelength, page.imagewidth), 1, 1, (), 1)
    return Segments(file, length, [page], form, budget, PRESENT)


class Segments(Segmented):
    """A page in tiles or strips, or several such pages with one channel each."""

    def __init__(
        self,
        file: BinaryIO,
        length: int,
        pages: Sequence[tifffile.TiffPage],
        form: Layout,
        budget: int,
        absent: Absent,
    ) -> None:
        self._file, self._length, self._pages, self._form = file, length, pages, form
        self._absent = absent
        page = pages[0]
        self.size = form.size
        self.grain = (
            (page.tilelength, page.tilewidth)
            if page.is_tiled
            else (min(page.rowsperstrip, form.size[0]), form.size[1])
        )
        probe = np.zeros((1, 1, form.bands), page.dtype)
        for step in form.steps:
            probe = step(probe)
        self.dtype = np.dtype(np.float32) if probe.dtype.kind == "f" else probe.dtype
        self.colours = probe.shape[2] if len(pages) == 1 else len(pages)
        self._across = -(-self.size[1] // self.grain[1])
        self._each = self._across * -(-self.size[0] // self.grain[0])
        noun = "tile" if page.is_tiled else "strip"
        # Samples are decoded as stored, which can be wider than what is handed on.
        wider = form.bands * np.dtype(page.dtype).itemsize / (self.colours * self.dtype.itemsize)
        self._prepare(int(budget / max(1.0, wider)), noun)

    def decode(self, index: tuple[int, ...], box: Box) -> Region:
        """See `Segmented.decode`."""
        number = index[0] * self._across + index[1]
        found = [self._planes(page, number, box) for page in self._pages]
        stored = found[0] if len(found) == 1 else np.concatenate(found, axis=2)
        if not stored.size:
            return self._sparse(box)
        if stored.dtype.kind == "b":  # one bit
            return Region(self._meant(stored))
        pixels, missing, wrong = brightness(stored, self._absent)
        return Region(self._meant(pixels), tuple(faults(stored, wrong, box[:2])), missing)

    def _meant(self, stored: Array) -> Array:
        return reduce(lambda block, step: step(block), self._form.steps, stored)

    def _sparse(self, box: Box) -> Region:
        """A segment that was never written, in a file that says what stands for no data."""
        zeros = np.zeros((*extent(box), self.colours), self.dtype)
        return Region(zeros, (), np.ones(extent(box), bool))

    def _planes(self, page: tifffile.TiffPage, number: int, box: Box) -> Array:
        """The samples `(rows, columns, bands)` of a segment, as stored; none if it is sparse."""
        found = []
        rows, columns = extent(box)
        planes = page.shaped[0]
        spots = [plane * self._each + number for plane in range(planes)]
        declared = self._absent.nodata is not None
        if declared and not any(page.databytecounts[spot] for spot in spots):
            return np.zeros((0, 0, 0), page.dtype)
        for spot in spots:
            data = self._data(page, spot)
            arguments = {}
            if page.compression in (*JPEG, 33007):
                arguments = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
            decoded = page.decode(data, spot, **arguments)[0]
            if decoded is None:
                raise InputError("it holds no px")
            segment = decoded[0, :rows, :columns]
            if segment.shape[:2] != (rows, columns):
                raise InputError(
                    f"it holds {segment.shape[0]}×{segment.shape[1]} px of {rows}×{columns}"
                )
            found.append(segment)
        return found[0] if planes == 1 else np.concatenate(found, axis=2)

    def _data(self, page: tifffile.TiffPage, spot: int) -> bytes:
        """The coded bytes of a segment. Raises InputError if they are not whole."""
        check_segment(self._file, self._length, page, spot)
        size = page.databytecounts[spot]
        self._file.seek(page.dataoffsets[spot])
        data = self._file.read(size)
        noun = "tile" if page.is_tiled else "strip"
        if len(data) < size:
            raise InputError(f"the file ended while {noun} {spot + 1:,} was read")
        declared = declared_size(data, page)
        if declared is not None and declared[0] * declared[1] > 4 * self.grain[0] * self.grain[1]:
            raise InputError(
                f"{noun} {spot + 1:,} declares {declared[0]}×{declared[1]} px instead of "
                f"{self.grain[0]}×{self.grain[1]}"
            )
        return data


def declared_size(data: bytes, page: tifffile.TiffPage) -> tuple[int, int] | None:
    """The size `(H, W)` that a coded segment says it has, where its code says so.

    It is what a decoder takes memory for.
    """
    if page.compression in JPEG and data[:2] == b"\xff\xd8":
        head = head_of(data)
        return None if head is None else head.size
    if page.compression in WEBP and data[:4] == b"RIFF":
        return webp_header(data)[0]
    if page.compression in JPEG_2000:
        at = data.find(SIZE_MARKER)
        if at >= 0 and at + 14 <= len(data):
            width, height = struct.unpack_from(">II", data, at + 6)
            return height, width
    return None
