"""A file's pixels as its decoder hands them on: what is asked of a decoder, and what it returns.

A decoder reads the header, has `Request.admit` judge it before it decodes anything, and returns a
`Raster`. Its rows are asked for in blocks, so that no conversion ever holds a second whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError
from fullconv.geometry import times
from fullconv.storage.amounts import written_bytes

Array = npt.NDArray[Any]
Step = Callable[[Array], Array]  # a block of rows to the same rows

DECODING = 3
"""Bytes that decoding takes at most for each 8-bit sample: as decoded, converted, upright."""
FETCH_AGAIN = "Copy or download it again."


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller wants of a file: `channels` per pixel, and no more than `max_pixels`.

    With a `budget` the bytes of the decoded image are what is limited, not its pixels.
    """

    channels: int
    max_pixels: int
    budget: int | None = None

    def admit(self, size: tuple[int, int], colours: int) -> None:
        """Judge a header: `size` is `(H, W)` in px, `colours` counts channels without alpha.

        Raises InputError if the image is too large, or its channels cannot become those asked for.
        """
        area = size[0] * size[1]
        needed = DECODING * area * max(colours, self.channels)
        if self.budget is not None and needed > self.budget:
            raise InputError(
                f"the image is {times(size)} px, and decoding it takes {written_bytes(needed)} of "
                f"memory; {written_bytes(self.budget)} is allowed.",
                why="Of this format only the whole image can be decoded.",
                hint="Raise the limit, or save the image as a tiled TIFF.",
            )
        if self.budget is None and area > self.max_pixels:
            raise InputError(
                f"the image is {times(size)} px: {area:,} pixels, and at most "
                f"{self.max_pixels:,} are read.",
                why="An image is held in memory as a whole, and a small file can declare any size.",
                hint="Raise max_pixels if you trust the file, or cut the image into parts.",
            )
        admit_channels(colours, self.channels)


@dataclass(frozen=True, slots=True)
class Raster:
    """An image as stored: alpha already laid over white, not yet turned upright.

    Attributes:
        size: `(H, W)` in px.
        dtype: uint8 or uint16 over their full range, or float32 within 0..1.
        colours: channels per pixel: 1 grey, 3 RGB, or the bands of a TIFF.
        rows: `rows(start, stop)` gives `(stop - start, W, colours)`.
        orientation: the EXIF and TIFF orientation, 1 to 8.
        whole: all rows at once, where they lie in memory exactly as `rows` would give them.
    """

    size: tuple[int, int]
    dtype: np.dtype[Any]
    colours: int
    rows: Callable[[int, int], Array]
    orientation: int = 1
    whole: Array | None = None


def admit_channels(colours: int, channels: int) -> None:
    """Raise InputError unless pixels of `colours` channels can be given as `channels`."""
    if colours != channels and {colours, channels} != {1, 3}:
        raise InputError(
            f"the image has {count(colours, 'channel')} per pixel, "
            f"but channels={channels} was asked for.",
            why="Only grey and RGB can be turned into each other.",
            hint="Write a file with the channels that the network was trained on.",
        )


def from_array(pixels: Array, steps: Sequence[Step] = (), orientation: int = 1) -> Raster:
    """The raster of decoded pixels `(H, W, C)`, with `steps` applied to each block of rows."""

    def rows(start: int, stop: int) -> Array:
        block = pixels[start:stop]
        for step in steps:
            block = step(block)
        return block

    probe = rows(0, 1)
    size = (pixels.shape[0], pixels.shape[1])
    return Raster(size, probe.dtype, probe.shape[2], rows, orientation, None if steps else pixels)


def over_white(pixels: Array, *, premultiplied: bool = False) -> Array:
    """Lay `(rows, W, C + 1)` pixels over white by their last channel, the opacity: `(rows, W, C)`.

    Integers are rounded to the nearest. `premultiplied` colours already carry their opacity.
    """
    result: Array
    if pixels.dtype.kind == "f":
        colour, opacity = pixels[..., :-1], pixels[..., -1:]
        result = np.minimum((colour if premultiplied else colour * opacity) + (1 - opacity), 1)
        return result
    top = int(np.iinfo(pixels.dtype).max)
    # The largest product, top² + top // 2, still fits: 65,152 in 16 bits, 4,294,868,992 in 32.
    wide = np.uint16 if top == 255 else np.uint32
    colour, opacity = pixels[..., :-1].astype(wide), pixels[..., -1:].astype(wide)
    if premultiplied:
        result = np.minimum(colour, opacity) + (top - opacity)
    else:
        result = (colour * opacity + top * (top - opacity) + top // 2) // top
    result = result.astype(pixels.dtype)
    return result


def count(number: int, noun: str) -> str:
    """`1 channel`, `3 channels`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def cut_short(detail: str) -> InputError:
    """The error for a file that ends too early; `detail` says where."""
    return InputError(
        f"the file is cut short: {detail}.",
        why="What is missing would be read as garbage.",
        hint=FETCH_AGAIN,
    )
