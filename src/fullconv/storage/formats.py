"""PNG, JPEG, GIF, BMP and WebP: from an open file to a raster; TIFF has a module of its own.

Formats are known by their first bytes, never by the file's name. The classes of Pillow are called
directly instead of through `PIL.Image.open`: that keeps plug-ins for other formats away from files
of unknown origin, and leaves the judgement of sizes to `Request.admit` alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

import imagecodecs
import numpy as np
import PIL.Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from fullconv.errors import InputError
from fullconv.geometry import times
from fullconv.storage import tiff
from fullconv.storage.raster import (
    FETCH_AGAIN,
    Array,
    Raster,
    Request,
    Step,
    count,
    cut_short,
    from_array,
    over_white,
)

Reader = Callable[[BinaryIO, int, Request], Raster]

ORIENTATION = 0x0112
PNG_COLOURS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # by colour type, without alpha
PIECE = 1 << 20  # bytes


def read_png(file: BinaryIO, length: int, request: Request) -> Raster:
    """A PNG, at 8 or 16 bits as stored. Pillow would cut 16-bit colour to 8 bits."""
    exif = b""
    for kind, data in _chunks(file, length):
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack_from(">IIBB", data)
            request.admit((height, width), PNG_COLOURS.get(colour, 3))
        else:
            exif = data
    file.seek(0)
    pixels = imagecodecs.png_decode(file.read())  # resolves palettes and transparent colours
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    steps: list[Step] = [over_white] if pixels.shape[2] in (2, 4) else []
    return from_array(pixels, steps, exif_orientation(exif))


def _chunks(file: BinaryIO, length: int) -> Iterator[tuple[bytes, bytes]]:
    """Check that a PNG is whole; yield its `IHDR` and `eXIf` chunks as they come.

    The decoder must not be the one to find out: each PNG that imagecodecs 2026.3 fails on costs a
    reference to None, and after some thousand of them the interpreter aborts.
    """
    position, kind = 8, b""
    while kind != b"IEND":
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            raise cut_short(f"it ends at byte {length:,}, before its end chunk")
        size, kind = struct.unpack(">I4s", head)
        name = kind.decode("latin-1")
        if position == 8 and (kind != b"IHDR" or size != 13):
            raise InputError("the file begins like a PNG but has no header.", hint=FETCH_AGAIN)
        end = position + 12 + size
        if end > length:
            raise cut_short(
                f"its {name} chunk reaches to byte {end:,}, and the file has "
                f"{count(length, 'byte')}"
            )
        optional = bool(kind[0] & 0x20)  # a lower-case letter: readers may do without
        if not optional or kind == b"eXIf":
            data, intact = _chunk(file, kind, size)
            if not intact and not optional:
                raise InputError(
                    f"its {name} chunk at byte {position:,} is damaged: the checksum is wrong.",
                    hint=FETCH_AGAIN,
                )
            if kind == b"IHDR" or (kind == b"eXIf" and intact):
                yield kind, data
        position = end


def _chunk(file: BinaryIO, kind: bytes, size: int) -> tuple[bytes, bool]:
    """The first MiB of a PNG chunk, and whether all of it matches its checksum."""
    first, checksum = b"", zlib.crc32(kind)
    for left in range(size, 0, -PIECE):
        piece = file.read(min(left, PIECE))
        checksum = zlib.crc32(piece, checksum)
        first = first or piece
    return first, file.read(4) == checksum.to_bytes(4, "big")


def read_webp(file: BinaryIO, length: int, request: Request) -> Raster:
    """A WebP; of an animation, the first frame."""
    declared = 8 + int.from_bytes(file.read(8)[4:], "little")
    file.seek(0)
    if declared > length:
        raise cut_short(f"it declares {count(declared, 'byte')} and has {length:,}")
    try:
        return read_pillow(WebPImageFile, file, length, request)
    except PIL.Image.DecompressionBombError:
        pass
    # Pillow refuses what is beyond its own limit, a global variable that is not ours to change.
    file.seek(0)
    data = file.read()
    size, exif = webp_header(data)
    request.admit(size, 3)
    pixels = imagecodecs.webp_decode(data)
    if pixels.shape[:2] != size:
        raise InputError(
            f"its first frame covers only {times(pixels.shape[:2])} of {times(size)} px.",
            hint="Save the frame as an image of its own.",
        )
    return from_array(pixels, [over_white] if pixels.shape[2] == 4 else [], exif_orientation(exif))


def webp_header(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Size `(H, W)` in px and EXIF block of a WebP file."""
    size, exif, position = (0, 0), b"", 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        body = data[position + 8 : position + 8 + length]
        if kind == b"VP8X":
            width = int.from_bytes(body[4:7], "little") + 1
            size = (int.from_bytes(body[7:10], "little") + 1, width)
        elif kind == b"VP8 " and size == (0, 0):
            width, height = struct.unpack_from("<HH", body, 6)
            size = (height & 0x3FFF, width & 0x3FFF)
        elif kind == b"VP8L" and size == (0, 0):
            bits = int.from_bytes(body[1:5], "little")
            size = ((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
        elif kind == b"EXIF":
            exif = body
        position += 8 + length + length % 2
    return size, exif


def read_pillow(
    opener: Callable[[BinaryIO], ImageFile], file: BinaryIO, length: int, request: Request
) -> Raster:
    """What Pillow reads well: 8-bit images, of which it decodes the first frame."""
    picture = opener(file)  # reads the header only
    width, height = picture.size
    grey = picture.mode in ("1", "L", "LA")
    request.admit((height, width), 1 if grey else 3)
    picture.load()
    clear = picture.has_transparency_data
    mode = ("LA" if clear else "L") if grey else ("RGBA" if clear else "RGB")

    def rows(start: int, stop: int) -> Array:
        block: PIL.Image.Image = picture.crop((0, start, width, stop))
        values = np.asarray(block if block.mode == mode else block.convert(mode))
        values = values.reshape(stop - start, width, -1)
        return over_white(values) if clear else values

    orientation = exif_orientation(picture.info.get("exif", b""))
    return Raster((height, width), np.dtype(np.uint8), 1 if grey else 3, rows, orientation)


def exif_orientation(exif: bytes) -> int:
    """The orientation that an EXIF block asks for, 1 (upright) to 8; 1 if it cannot be read."""
    tags = PIL.Image.Exif()
    try:
        tags.load(exif)
        return int(tags.get(ORIENTATION, 1))
    except Exception:  # a damaged EXIF block must not cost the image
        return 1


# Name, first bytes, reader.
FORMATS: tuple[tuple[str, bytes, Reader], ...] = (
    ("PNG", b"\x89PNG\r\n\x1a\n", read_png),
    ("JPEG", b"\xff\xd8\xff", partial(read_pillow, JpegImageFile)),
    ("TIFF", b"II*\0", tiff.read),
    ("TIFF", b"MM\0*", tiff.read),
    ("TIFF", b"II+\0", tiff.read),
    ("TIFF", b"MM\0+", tiff.read),
    ("BMP", b"BM", partial(read_pillow, BmpImageFile)),
    ("WebP", b"RIFF", read_webp),
    ("GIF", b"GIF87a", partial(read_pillow, GifImageFile)),
    ("GIF", b"GIF89a", partial(read_pillow, GifImageFile)),
)
