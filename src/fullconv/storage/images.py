"""The one door for images: upright, grey or RGB, at the depth the file stores, or a clear error.

What is done to a file's pixels, and nothing else: EXIF orientation is applied; palettes, CMYK and
YCbCr become RGB; transparency is laid over white; grey is repeated for three channels, and RGB
becomes ITU-R 601 luminance for one. Colour profiles are not applied. Of an animation or a file with
several pages, the first is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import PIL.Image

from fullconv.errors import FullconvError, InputError, UsageError, near
from fullconv.storage import MAX_PIXELS
from fullconv.storage.formats import FORMATS, Reader
from fullconv.storage.raster import FETCH_AGAIN, Array, Raster, Request

BLOCK = 1 << 20  # px converted at a time

# How stored rows lie in the upright image: (rows and columns change places, step down, step right).
ORIENTATIONS = {
    1: (False, 1, 1),
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An image in memory, upright.

    Attributes:
        path: the file it was read from.
        pixels: `(H, W, channels)`, uint8 or uint16 over their full range, or float32 within 0..1.
    """

    path: Path
    pixels: Array

    @property
    def size(self) -> tuple[int, int]:
        """`(H, W)` in px."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def channels(self) -> int:
        """Channels per pixel."""
        return int(self.pixels.shape[2])

    def scaled(self) -> npt.NDArray[np.float32]:
        """A new array of the pixels from 0 (black) to 1 (white), `(H, W, channels)`."""
        top = 1 if self.pixels.dtype.kind == "f" else np.iinfo(self.pixels.dtype).max
        return np.divide(self.pixels, np.float32(top), dtype=np.float32)

    def as_rgb8(self) -> npt.NDArray[np.uint8]:
        """The image to look at, `(H, W, 3)` uint8; `pixels` itself where it is that already.

        Raises InputError if it has neither one channel nor three.
        """
        if self.channels not in (1, 3):
            raise InputError(
                f"an image of {self.channels} channels cannot be shown.",
                where=str(self.path),
                why="A picture has one channel (grey) or three (RGB).",
            )
        pixels = self.as_bytes()
        return pixels if self.channels == 3 else np.repeat(pixels, 3, axis=2)

    def as_bytes(self) -> npt.NDArray[np.uint8]:
        """The pixels `(H, W, channels)` uint8; `pixels` itself where it is that already."""
        if self.pixels.dtype == np.uint8:
            return self.pixels
        height, width = self.size
        found = np.empty((height, width, self.channels), np.uint8)
        for start, stop in _blocks(height, width):
            block = self.pixels[start:stop]
            if block.dtype == np.uint16:
                block = (block.astype(np.uint32) + 128) // 257
            elif block.dtype.kind == "f":
                block = np.rint(block * 255)
            found[start:stop] = block
        return found


def read_image(
    path: str | os.PathLike[str], *, channels: int = 3, max_pixels: int = MAX_PIXELS
) -> Image:
    """Read a PNG, JPEG, TIFF, BMP, WebP or GIF file, recognised by its content.

    Args:
        path: the file.
        channels: 3 for RGB, 1 for grey; any other number for a TIFF with exactly so many.
        max_pixels: refuse larger images; judged from the header, before anything is decoded.

    Raises InputError if the file is missing, empty, no image, cut short or damaged, too large, or
    has other channels, NaN samples, or floats outside 0..1.
    """
    if channels < 1 or max_pixels < 1:
        raise UsageError(
            f"channels={channels} and max_pixels={max_pixels} must be positive whole numbers."
        )
    return decode_image(Path(path), Request(channels, max_pixels))


def decode_image(where: Path, request: Request) -> Image:
    """`read_image`, within what `request` admits."""
    with opened(where) as (file, length):
        name, reader = format_of(file, where)
        with decoding(where, name):
            raster = reader(file, length, request)
            return Image(where, _upright(raster, request.channels))


@contextmanager
def decoding(where: Path, name: str) -> Iterator[None]:
    """Whatever goes wrong while a file of the format `name` is decoded, as an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(
            error.what, where=error.where or str(where), why=error.why, hint=error.hint
        ) from error.__cause__
    except FullconvError:
        raise
    except MemoryError as error:
        raise InputError(
            "the image does not fit in memory.",
            where=str(where),
            hint="Lower max_pixels to refuse such files, or cut the image into parts.",
        ) from error
    except PIL.Image.DecompressionBombError as error:  # a GIF, or a limit set very low
        raise InputError(
            "the image is larger than Pillow decodes in this format.",
            where=str(where),
            why=f"PIL.Image.MAX_IMAGE_PIXELS is {PIL.Image.MAX_IMAGE_PIXELS:,} here.",
            hint="Save it as PNG or TIFF, which are read without Pillow.",
        ) from error
    # Decoders fail on bad bytes in every way there is: OSError, SyntaxError, IndexError,
    # struct.error, zlib.error, and errors of their own.
    except Exception as error:
        detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        short = "truncated" in detail.lower()
        guess = "it is cut short" if short else "it is damaged, or of an unusual kind"
        raise InputError(
            f"cannot be decoded as {name}: {guess}.",
            where=str(where),
            why=f"The decoder says: {detail}.",
            hint=f"{FETCH_AGAIN} If other programs open it, save it there as PNG.",
        ) from error


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The open file and its length in bytes. Raises InputError if there is none to read."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(
                "this is a directory.", where=str(path), hint="Name one image file in it."
            )
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device: opening it could wait for ever
            raise InputError(
                "this is not a regular file.", where=str(path), hint="Save the image to a file."
            )
        if status.st_size == 0:
            raise InputError("the file is empty: 0 bytes.", where=str(path), hint=FETCH_AGAIN)
        file = path.open("rb")
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            "the file cannot be opened.",
            where=str(path),
            why=f"The system says: {reason}.",
            hint="Check its name and its permissions.",
        ) from error
    with file:
        yield file, status.st_size


def _missing(path: Path) -> InputError:
    """The error for a file that is not there, with the names it could have meant."""
    folder, what = path.parent, "there is no such file."
    meant = ""
    if not folder.is_dir():
        what = f"there is no such file: the folder {folder} does not exist."
    else:
        with suppress(OSError):
            meant = near(path.name, sorted(os.listdir(folder)))
    return InputError(what, where=str(path), hint=meant or "Check the path.")


def format_of(file: BinaryIO, path: Path) -> tuple[str, Reader]:
    """The format that a file's first bytes announce: its name and reader."""
    head = file.read(16)
    file.seek(0)
    for name, start, reader in FORMATS:
        if head.startswith(start) and (name != "WebP" or head[8:12] == b"WEBP"):
            return name, reader
    raise InputError(
        f"this is not an image that can be read; the file begins with {head!r}.",
        where=str(path),
        why="PNG, JPEG, TIFF, BMP, WebP and GIF files are told by their first bytes.",
        hint="Convert it to one of these, for instance to PNG.",
    )


def _blocks(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Half-open row ranges of about `BLOCK` px each."""
    step = max(1, BLOCK // width)
    for start in range(0, height, step):
        yield start, min(start + step, height)


def _upright(raster: Raster, channels: int) -> Array:
    """The raster's pixels `(H, W, channels)`, turned as its orientation says."""
    turned, down, right = ORIENTATIONS.get(raster.orientation, ORIENTATIONS[1])
    if (
        raster.whole is not None
        and raster.colours == channels
        and (turned, down, right) == (False, 1, 1)
    ):
        return np.ascontiguousarray(raster.whole)
    height, width = raster.size
    upright = np.empty((*(raster.size[::-1] if turned else raster.size), channels), raster.dtype)
    stored = upright[::down, ::right]  # a view in which the rows lie as in the file
    stored = stored.transpose(1, 0, 2) if turned else stored
    for start, stop in _blocks(height, width):
        block = raster.rows(start, stop)
        if channels == 1 and raster.colours == 3:
            block = luminance(block)
        stored[start:stop] = block  # grey spreads over three channels
    return upright


def luminance(block: Array) -> Array:
    """ITU-R 601 luminance `(rows, W, 1)` of RGB `(rows, W, 3)`, in the same type.

    Integers use the weights 0.299, 0.587, 0.114 as 65536ths, rounded, so that grey stays exact.
    """
    if block.dtype.kind == "f":
        red, green, blue = np.moveaxis(block, 2, 0)
        luminance = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    else:  # uint32 suffices: 65535 · 65536 + 32768 is below 2³²
        red, green, blue = np.moveaxis(block.astype(np.uint32), 2, 0)
        luminance = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
    grey: Array = luminance[..., None].astype(block.dtype)
    return grey
