"""JPEG: decoded once, into memory within the budget, else row by row into a temporary file.

No library at hand hands out a JPEG in bands. Pillow's decoder takes the file in pieces and writes
rows in order, so that they can go into a file that is mapped, and be let go of as they are written.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
from PIL.JpegImagePlugin import JpegImageFile

from fullconv.errors import InputError
from fullconv.geometry import Box, times
from fullconv.storage.amounts import written_bytes
from fullconv.storage.formats import exif_orientation
from fullconv.storage.raster import Array, count, cut_short
from fullconv.storage.sources.source import Fault, Region
from fullconv.storage.sources.stored import Stored

MOST = 512
"""Px that one byte of a JPEG can hold: at least one bit for each block of 8×8 px."""
AT_A_TIME = 1 << 16  # bytes of the file, after which what was written is let go of
LARGE = "/var/tmp"
HEADER = 1 << 20  # bytes in which the first scan begins
STANDALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)


@dataclass(frozen=True, slots=True)
class JpegHead:
    """What a JPEG declares: its size in px, and whether rows are complete as they come."""

    size: tuple[int, int]
    components: int
    sequential: bool


def head_of(data: bytes) -> JpegHead | None:
    """The head of a JPEG, None where there is none in `data`."""
    position, frame = 2, None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF or marker in STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in FRAMES and position + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, position + 5)
            frame = JpegHead((height, width), components, marker not in PROGRESSIVE)
        if marker == 0xDA and frame is not None:
            scanned = data[position + 4] if position + 4 < len(data) else 0
            # Where each component has a scan of its own, no row is whole before the last.
            sequential = frame.sequential and scanned == frame.components
            return JpegHead(frame.size, frame.components, sequential)
        position += 2 + length
    return frame


class _Mapped(JpegImageFile):
    """A JPEG that Pillow decodes into memory that is given."""

    target: Any = None  # a writable buffer
    stored_mode = ""
    let_go: Any = None

    def load_prepare(self) -> None:
        picture = PIL.Image.frombuffer(
            self.stored_mode, self.size, self.target, "raw", self.stored_mode, 0, 1
        )
        self.im = picture.im

    def load_read(self, read_bytes: int) -> bytes:
        if self.let_go is not None:
            self.let_go()
        return super().load_read(AT_A_TIME)


class Jpeg(Stored):
    """A JPEG, decoded when first read.

    Raises InputError if the file cannot hold the px that it declares, or decoding it takes more
    than `budget` bytes beside the temporary file. Rows behind a cut are faults.
    """

    def __init__(self, file: BinaryIO, length: int, budget: int) -> None:
        self._file = file
        picture = _Mapped(file)
        if not picture.tile:
            raise cut_short(f"it ends at byte {length:,}, before its pixels")
        width, height = picture.size
        self.size, self._mode = (height, width), picture.mode
        self.orientation = exif_orientation(picture.info.get("exif", b""))
        self.dtype, self.colours = np.dtype(np.uint8), 1 if picture.mode == "L" else 3
        self._samples = 1 if picture.mode == "L" else 4  # Pillow holds RGB in four bytes
        if height * width > MOST * length:
            raise InputError(
                f"it declares {times(self.size)} px, and its {count(length, 'byte')} cannot "
                "hold so many.",
                hint="Copy or download it again; or it was made to fill the memory.",
            )
        file.seek(0)
        head = head_of(file.read(HEADER))
        area = height * width
        whole = area * self._samples
        # Libjpeg keeps all coefficients, of two bytes, until the last scan.
        self._kept = 0 if head is None or head.sequential else 2 * area * head.components
        self._in_memory = whole + self._kept <= budget
        if not self._in_memory and self._kept > budget:
            raise InputError(
                f"the image is {times(self.size)} px, and decoding it takes "
                f"{written_bytes(self._kept)} of memory; {written_bytes(budget)} is allowed.",
                why="It is a progressive JPEG, of which no row is complete before the end.",
                hint="Raise the limit, or save the image as a tiled TIFF or a baseline JPEG.",
            )
        self._burst = 4 * AT_A_TIME * whole // length  # px from so many bytes, and some more
        self._rows: Array | None = None
        self._map: mmap.mmap | None = None
        self._end, self._why = height, ""

    def read(self, box: Box) -> Region:
        """Copied from what was decoded."""
        if self._rows is None:
            self._rows = self._decoded()
        top, left, bottom, right = box
        end = max(top, min(bottom, self._end))
        pixels = self.empty(box)
        if end > top:
            stored = self._rows[top:end, left:right]
            if self._mode == "CMYK":
                picture = PIL.Image.fromarray(np.ascontiguousarray(stored), "CMYK")
                stored = np.asarray(picture.convert("RGB"))
            pixels[: end - top] = stored[..., : self.colours]
        if self._map is not None and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
        if end >= bottom:
            return Region(pixels)
        return Region(pixels, (Fault((end, left, bottom, right), self._why),))

    def _decoded(self) -> Array:
        rows, self._map, why = self._decode(0)
        if why:
            # Which rows the decoder came to: those that are the same whatever was there before.
            others, _, _ = self._decode(255)
            same = (np.array_equal(one, other) for one, other in zip(rows, others, strict=True))
            self._end = next((row for row, alike in enumerate(same) if not alike), self.size[0])
            cut = f"the file is cut short: its pixels end in row {self._end:,}"
            self._why = cut if "truncated" in why else f"it cannot be decoded ({why})"
        return rows

    def _decode(self, fill: int) -> tuple[Array, mmap.mmap | None, str]:
        """All rows, where `fill` was before; their map if in a file; and why they are not whole."""
        height, width = self.size
        shape = (height, width, self._samples)
        memory = None if self._in_memory else self._temporary(height * width * self._samples)
        rows = np.zeros(shape, np.uint8) if memory is None else np.ndarray(shape, np.uint8, memory)
        if fill:
            for start in range(0, height, 256):
                rows[start : start + 256] = fill
        self._file.seek(0)
        picture = _Mapped(self._file)
        picture.target = rows
        picture.stored_mode = {"RGB": "RGBX"}.get(self._mode, self._mode)
        if memory is not None and hasattr(memory, "madvise"):
            picture.let_go = lambda: memory.madvise(mmap.MADV_DONTNEED)
        try:
            picture.load()
        except OSError as error:
            return rows, memory, str(error)
        return rows, memory, ""

    def _temporary(self, size: int) -> mmap.mmap:
        """A file without a name, which is gone with its map. Its place on the disk is sure."""
        named = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
        # Where large files that need not last belong: /tmp itself is often held in memory.
        folder = tempfile.gettempdir() if named or not os.path.isdir(LARGE) else LARGE
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                # Else a full disk would end the process when a row is written.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
                return mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise InputError(
                f"decoding it takes a temporary file of {written_bytes(size)}, which cannot be "
                f"made in {folder}: {error.strerror}.",
                why="The image does not fit into the memory that is allowed, and a JPEG can only "
                "be decoded from its beginning.",
                hint="Name a folder on a larger disk in TMPDIR, or save it as a tiled TIFF.",
            ) from error

    def held(self) -> int:
        """The image, if it is in memory."""
        return self.size[0] * self.size[1] * self._samples if self._in_memory else 0

    def beside(self, box: Box) -> int:
        """What decoding takes, and a copy for other colours."""
        copy = 4 * self.bytes_of(box) if self._mode == "CMYK" else self.bytes_of(box)
        # Of a file that is mapped, what was touched since it was last let go of counts too.
        rows = 0 if self._in_memory else (box[2] - box[0]) * self.size[1] * self._samples
        return 4 * HEADER + self._kept + copy + max(rows, self._burst)

    def close(self) -> None:
        """Let go of the image."""
        self._rows = self._map = None
