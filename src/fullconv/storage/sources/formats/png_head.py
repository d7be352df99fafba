"""The head of a PNG: its size, how its px are stored, and where the chunks of its pixels lie."""

from __future__ import annotations

import struct
import zlib
from array import array
from dataclasses import dataclass, replace
from typing import BinaryIO

from fullconv.errors import InputError
from fullconv.storage.formats import exif_orientation
from fullconv.storage.raster import FETCH_AGAIN
from fullconv.storage.sources.stored import PIECE

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # stored for each px, by colour type
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
LOST = "the file is cut short"


@dataclass(frozen=True, slots=True)
class Header:
    """Of a PNG: its size, how its px are stored, and the chunks that say what they mean."""

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool
    meaning: bytes = b""  # the chunks PLTE and tRNS as they lie in the file
    orientation: int = 1

    @property
    def row(self) -> int:
        """Bytes of a row without the one that names its filter."""
        return -(-self.width * self.bits * SAMPLES[self.colour] // 8)

    @property
    def plain(self) -> bool:
        """Whether stored samples are those handed on."""
        return self.bits >= 8 and self.colour != 3 and not self.meaning


def opened(file: BinaryIO, length: int) -> tuple[Header, array[int]]:
    """The header of a PNG and where its IDAT chunks lie: start, bytes, start, bytes, …

    Raises InputError if the header, the palette or a chunk before the pixels is damaged or not
    there. A file that ends in its pixels is admitted; what is there of the last chunk is listed.
    """
    spans = array("Q")
    header: Header | None = None
    meaning, orientation = b"", 1
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            break
        size, kind = struct.unpack(">I4s", head)
        if header is None and (kind != b"IHDR" or size != 13):
            raise InputError("the file begins like a PNG but has no header.", hint=FETCH_AGAIN)
        if kind == b"IDAT":
            spans.extend((position, min(size, length - position - 8)))
        elif kind in (b"IHDR", b"PLTE", b"tRNS", b"eXIf"):
            body = file.read(min(size, PIECE))
            check = file.read(4)
            intact = zlib.crc32(kind + body).to_bytes(4, "big") == check
            if not intact and kind != b"eXIf":
                raise InputError(
                    f"its {kind.decode()} chunk at byte {position:,} is damaged: "
                    "the checksum is wrong.",
                    hint=FETCH_AGAIN,
                )
            if kind == b"IHDR":
                header = _header(body)
            elif kind == b"eXIf":
                orientation = exif_orientation(body) if intact else 1
            elif not spans:
                meaning += head + body + check
        position += 12 + size
    if header is None or not spans:
        raise InputError(
            f"{LOST}: it ends at byte {length:,}, before its pixels.", hint=FETCH_AGAIN
        )
    if header.colour == 3 and b"PLTE" not in meaning:
        raise InputError("its pixels name colours of a palette that is not there.")
    found = replace(header, meaning=meaning, orientation=orientation)
    return found, spans


def _header(body: bytes) -> Header:
    width, height, bits, colour, coding, filters, interlace = struct.unpack(">IIBBBBB", body)
    if not width or not height or bits not in DEPTHS.get(colour, ()) or coding or filters:
        raise InputError(
            f"its header says {height}×{width} px of {bits} bits and colour type {colour}, "
            "which is no PNG.",
            hint=FETCH_AGAIN,
        )
    return Header(width, height, bits, colour, interlace != 0)
