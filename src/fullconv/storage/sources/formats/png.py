"""PNG in bands of rows: the stream is inflated piece by piece, and only one band is kept.

Each band is put into a small PNG of its own, behind the row before it, for libpng to undo the
filters. Interlaced files are decoded whole: none of their rows is complete before the last pass.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from dataclasses import dataclass
from typing import Any, BinaryIO

import imagecodecs
import numpy as np

from fullconv.errors import InputError
from fullconv.geometry import Box
from fullconv.storage.amounts import written_bytes
from fullconv.storage.formats import PNG_COLOURS
from fullconv.storage.raster import Array, over_white
from fullconv.storage.sources.formats.png_head import LOST, SIGNATURE, Header
from fullconv.storage.sources.source import Fault, Region
from fullconv.storage.sources.stored import PIECE, Stored

READ = 1 << 16  # bytes of the file at a time
WIDEST = 1_000_000
MARKS = 16 << 20  # bytes that places to go on from may take
DECOMPRESSOR = 1 << 16  # bytes that a copy of one takes


@dataclass(slots=True)
class Mark:
    """A place in the stream to go on from: before row `row`."""

    row: int
    stream: Any  # zlib's decompressor, None before the first byte
    span: int  # which IDAT chunk
    at: int  # bytes of it that were taken
    waiting: bytes  # compressed, not yet inflated
    before: bytes  # the row before, without filter


class Png(Stored):
    """A PNG that is not interlaced. Reading downwards inflates every byte once.

    Reading upwards goes on from one of some places that are remembered. `spans` and `header` are
    those of `opened`. Raises InputError if a few rows take more than `budget` bytes.
    """

    def __init__(self, file: BinaryIO, header: Header, spans: array[int], budget: int) -> None:
        self._file, self._header, self._spans = file, header, spans
        self.size = (header.height, header.width)
        self.grain = (1, header.width)  # rows are decoded whole
        self.colours = PNG_COLOURS[header.colour]
        self.dtype = np.dtype(np.uint16 if header.bits == 16 else np.uint8)
        row = header.row
        if header.width > WIDEST:
            raise InputError(
                f"it is {header.width:,} px wide, and libpng reads {WIDEST:,} px at most.",
                hint="Save it as a tiled TIFF.",
            )
        widest = max(row + 1, header.width * (self.colours + 1) * self.dtype.itemsize)
        self._band = min(header.height, max(1, min(PIECE, budget // 16) // widest))
        if self._work() > budget:
            raise InputError(
                f"a single row takes {written_bytes(row)}, and decoding it "
                f"{written_bytes(self._work())} of memory; {written_bytes(budget)} is allowed.",
                hint="Raise the limit, or save the image as a tiled TIFF.",
            )
        room = min(MARKS, budget // 8)
        most = max(1, room // (row + DECOMPRESSOR))
        self._every = max(self._band, -(-header.height // most))
        self._marks = [Mark(0, None, 0, 0, b"", bytes(row))]
        self._checked = 0  # so many IDAT chunks match their checksums
        self._end = (header.height, "")  # rows from there on cannot be read, and why
        self._state = self._copy(self._marks[0])

    def _work(self) -> int:
        """Bytes that decoding a band takes."""
        pixels = self._header.width * max(self.colours + 1, 4) * self.dtype.itemsize
        return 3 * READ + self._band * (5 * (self._header.row + 1) + 3 * pixels)

    def _copy(self, mark: Mark) -> Mark:
        stream = zlib.decompressobj() if mark.stream is None else mark.stream.copy()
        return Mark(mark.row, stream, mark.span, mark.at, mark.waiting, mark.before)

    def read(self, box: Box) -> Region:
        """Inflated from the place nearest above it."""
        top, left, bottom, right = box
        pixels = self.empty(box)
        state = self._state
        best = max((mark for mark in self._marks if mark.row <= top), key=lambda mark: mark.row)
        if not best.row <= state.row <= top:
            state = self._copy(best)
        self._state = self._copy(self._marks[0])  # should this read be broken off
        while state.row < min(bottom, self._end[0]):
            start = state.row
            # A band begins where the box does, so that nothing is decoded that is not handed on.
            rows = min(self._band, (bottom if start >= top else top) - start)
            stored = self._next(state, rows)
            if start >= top and len(stored):
                pixels[start - top : state.row - top] = self._meant(stored)[:, left:right]
        self._state = state
        end, why = self._end
        if end >= bottom:
            return Region(pixels)
        return Region(pixels, (Fault((max(top, end), left, bottom, right), why),))

    def _next(self, state: Mark, rows: int) -> Array:
        """The next rows as stored, at most `rows`, and `state` behind them; marks on the way."""
        row = self._header.row
        data = self._inflated(state, rows * (row + 1))
        found = len(data) // (row + 1)
        filters = np.frombuffer(data, np.uint8)[: found * (row + 1)].reshape(found, row + 1)[:, 0]
        wrong = np.flatnonzero(filters > 4)
        if len(wrong):
            found = int(wrong[0])
            self._lose(state.row + found, f"row {state.row + found:,} names no filter of PNG")
        if not found:
            return np.zeros((0, 0, 0), self.dtype)
        stored, last = self._unfiltered(state.before, bytes(data[: found * (row + 1)]), found)
        state.row += found
        state.before = last
        if state.row - self._marks[-1].row >= self._every and state.row < self._header.height:
            self._marks.append(self._copy(state))
        return stored

    def _lose(self, row: int, why: str) -> None:
        if row < self._end[0]:
            self._end = (row, why)

    def _inflated(self, state: Mark, wanted: int) -> bytearray:
        """So many bytes of the stream; fewer, and the end is known, where it breaks off."""
        found = bytearray()
        why = "its compressed pixels end too early"
        while len(found) < wanted:
            if not state.waiting:
                state.waiting, broken = self._coded(state)
                if broken:
                    why = broken
                    break
            try:
                found += state.stream.decompress(state.waiting, wanted - len(found))
            except zlib.error as error:
                why = f"its compressed pixels are damaged ({error})"
                state.waiting = b""
                break
            state.waiting = state.stream.unconsumed_tail
            if state.stream.eof:
                break
        if len(found) < wanted:
            self._lose(state.row + len(found) // (self._header.row + 1), why)
        return found

    def _coded(self, state: Mark) -> tuple[bytes, str]:
        """The next piece of the IDAT chunks, and why there is none."""
        while state.span < len(self._spans) // 2:
            start, size = self._spans[2 * state.span], self._spans[2 * state.span + 1]
            if state.span >= self._checked:
                if broken := self._broken(start, size):
                    return b"", broken
                self._checked = state.span + 1
            if state.at < size:
                self._file.seek(start + 8 + state.at)
                piece = self._file.read(min(READ, size - state.at))
                if not piece:
                    return b"", f"{LOST}: it ends before byte {start + 8 + size:,}"
                state.at += len(piece)
                return piece, ""
            state.span, state.at = state.span + 1, 0
        return b"", f"{LOST}: its compressed pixels end too early"

    def _broken(self, start: int, size: int) -> str:
        """Why a chunk cannot be trusted, empty if it can. One that is cut short can, so far."""
        self._file.seek(start)
        declared, kind = struct.unpack(">I4s", self._file.read(8))
        if declared != size:
            return ""
        checksum = zlib.crc32(kind)
        for left in range(size, 0, -READ):
            checksum = zlib.crc32(self._file.read(min(left, READ)), checksum)
        check = self._file.read(4)
        if len(check) == 4 and checksum.to_bytes(4, "big") != check:
            return f"its IDAT chunk at byte {start:,} is damaged: the checksum is wrong"
        return ""

    def _unfiltered(self, before: bytes, rows: bytes, number: int) -> tuple[Array, bytes]:
        """Stored samples `(rows, W or bytes, samples)`, and the last row's bytes."""
        header = self._header
        bits, colour = header.bits, 0 if header.colour == 3 else header.colour
        # Filters work on whole bytes: packed px are read as a row of grey bytes.
        width = header.width if bits >= 8 else header.row
        small = _png(width, number + 1, max(bits, 8), colour, b"\0" + before + rows)
        found = imagecodecs.png_decode(small)[1:]
        found = found.reshape(number, width, -1)
        last = found[-1].astype(found.dtype.newbyteorder(">")).tobytes()
        return found, last

    def _meant(self, stored: Array) -> Array:
        """Colours over white of stored samples."""
        header = self._header
        if not header.plain:  # a palette, a transparent colour, or px packed into bytes
            rows = len(stored)
            data = stored.astype(stored.dtype.newbyteorder(">")).reshape(rows, -1).view(np.uint8)
            data = np.pad(data, ((0, 0), (1, 0)))  # filter 0
            small = _png(
                header.width, rows, header.bits, header.colour, data.tobytes(), header.meaning
            )
            stored = imagecodecs.png_decode(small).reshape(rows, header.width, -1)
        return over_white(stored) if stored.shape[2] in (2, 4) else stored

    def held(self) -> int:
        """The places to go on from, and where the chunks lie."""
        marks = 2 + self._header.height // self._every
        return marks * (self._header.row + DECOMPRESSOR + READ) + 8 * len(self._spans)

    def beside(self, box: Box) -> int:
        """What decoding a band takes."""
        return self._work()

    def close(self) -> None:
        """Forget the places."""
        del self._marks[1:]


def _png(
    width: int, height: int, bits: int, colour: int, rows: bytes, meaning: bytes = b""
) -> bytes:
    """A PNG of rows that carry their filters, uncompressed."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"".join(
        [
            SIGNATURE,
            _chunk(b"IHDR", header),
            meaning,
            _chunk(b"IDAT", zlib.compress(rows, 0)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")
    return b"".join([len(body).to_bytes(4, "big"), kind, body, check])
