"""Image files written for tests, by hand where that is the independent way."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from fullconv.errors import InputError
from fullconv.storage.images import read_image

DATA = Path(os.environ.get("FULLCONV_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the real files are absent; name their folder in $FULLCONV_DATA"
)

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (13, 22, 3), np.uint8)
RGB16 = RNG.integers(0, 65536, (13, 22, 3), np.uint16)
SMOOTH = np.stack(  # what lossy formats keep
    [np.add.outer(np.arange(40) * 2, np.arange(56)), *[np.full((40, 56), v) for v in (90, 200)]], -1
).astype(np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: np.ndarray, colour: int, *extra: bytes, bits: int | None = None, late=()) -> bytes:
    """A PNG written by hand; with fewer than 8 bits, `pixels` are packed rows of bytes."""
    bits = bits or 8 * pixels.dtype.itemsize
    height, width = pixels.shape[0], pixels.shape[1] * max(1, 8 // bits)
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in pixels)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)),
            *extra,
            chunk(b"IDAT", zlib.compress(rows)),
            *late,
            chunk(b"IEND", b""),
        ]
    )


def pillow(picture: PIL.Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def tiff(pixels: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **options)
    return out.getvalue()


def read(data: bytes, folder: Path, **options) -> np.ndarray:
    path = folder / "image.bin"  # the name says nothing about the format
    path.write_bytes(data)
    return read_image(path, **options).pixels


def refused(data: bytes, folder: Path, **options) -> str:
    """The message of the InputError, checked for its first part: the file."""
    with pytest.raises(InputError) as caught:
        read(data, folder, **options)
    assert str(caught.value).startswith(f"{folder / 'image.bin'}: ")
    assert caught.value.exit_code == 3
    return str(caught.value).removeprefix(f"{folder / 'image.bin'}: ")


def over_white(pixels: np.ndarray) -> np.ndarray:
    """The reference, in floating point."""
    top = np.iinfo(pixels.dtype).max
    share = pixels[..., -1:] / top
    return np.rint(pixels[..., :-1] * share + top * (1 - share)).astype(pixels.dtype)


def rewritten(data: bytes, tag: str, index: int, value: int) -> bytes:
    """A TIFF with one number of a tag changed."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        entry = file.pages.first.tags[tag]
        form = {3: "<H", 4: "<I"}[int(entry.dtype)]
        place = entry.valueoffset + index * struct.calcsize(form)
    changed = bytearray(data)
    struct.pack_into(form, changed, place, value)
    return bytes(changed)
