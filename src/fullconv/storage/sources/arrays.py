"""Sources without a file: an array in memory, and pixels that are computed when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError, UsageError
from fullconv.geometry import Box, per_axis, times
from fullconv.storage.images import BLOCK
from fullconv.storage.raster import Array, admit_channels
from fullconv.storage.sources.channels import in_channels, spatial_axes
from fullconv.storage.sources.samples import brightness, faults, settled
from fullconv.storage.sources.source import (
    Fault,
    Frame,
    Region,
    Source,
    extent,
    hashed,
    placed,
    slices,
)

PART = 64 << 20  # bytes hashed at a time


class ArraySource(Source):
    """An array, or a memory-mapped one: `(*space, channels)`, or `(*space)` of one channel.

    Args:
        array: uint8 or uint16 over their full range, floats within 0..1, or bool.
        axes: how many of its axes are spatial. Otherwise an array of one or two axes has one
            channel, and of three or more the last are the channels.
        channels: of what is read; grey and RGB are turned into each other. As many as the array
            has, if left out.
        name: for messages.

    Raises InputError for samples of another type, other channels, and an array without px. Floats
    that are NaN or outside 0..1 are faults.
    """

    def __init__(
        self,
        array: npt.ArrayLike,
        *,
        axes: int | None = None,
        channels: int | None = None,
        name: str = "the array",
    ) -> None:
        self.name = name
        given = np.asanyarray(array)
        last = spatial_axes(given.shape, axes) < given.ndim
        self._array: Array = given if last else given[..., None]
        if 0 in self._array.shape:
            raise InputError(
                f"holds no pixels: its shape is {times(self._array.shape)}.", where=name
            )
        colours = int(self._array.shape[-1])
        self.size, self.channels = self._array.shape[:-1], channels or colours
        try:
            self.dtype = settled(self._array.dtype)
            admit_channels(colours, self.channels)
        except InputError as error:
            raise placed(error, name) from None
        self.frame, self.grain = Frame.plain(len(self.size)), (1,) * len(self.size)

    def read(self, box: Box) -> Region:
        """See `Source.read`: a copy."""
        box = self.checked(box)
        stored = np.array(self._array[slices(box)])
        pixels, _, wrong = brightness(stored)
        found = tuple(faults(stored, wrong, box[: len(self.size)]))
        return Region(in_channels(pixels, self.channels), found)

    def held(self) -> int:
        """Nothing beyond the array, which is its owner's."""
        return 0

    def beside(self, box: Box) -> int:
        """What checking floats and turning colours takes."""
        samples = math.prod(extent(box)) * self._array.shape[-1]
        work = 16 * BLOCK if self.channels != self._array.shape[-1] else 0
        return int(samples) * (3 * self._array.dtype.itemsize + 2) + work

    def fingerprint(self) -> str:
        """That of all its bytes, in C order."""
        array = self._array
        rows = max(1, PART // max(1, array.nbytes // len(array)))
        digest = ""
        for start in range(0, len(array), rows):
            digest = hashed(digest, np.ascontiguousarray(array[start : start + rows]).tobytes())
        return hashed(digest, array.shape, str(array.dtype))

    def check(self) -> None:
        """An array does not tell whether it was written to."""


class DrawnSource(Source):
    """Pixels that a function computes, the same every time.

    Args:
        size: px per axis.
        channels: of each pixel.
        dtype: uint8, uint16 or float32.
        function: takes a box, gives its pixels `(*space, channels)` in that dtype.
        name: for messages, and part of the fingerprint: two different functions need two names.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        channels: int,
        dtype: npt.DTypeLike,
        function: Callable[[Box], Array],
        *,
        name: str = "the drawn image",
    ) -> None:
        self.size = (size,) if isinstance(size, int) else tuple(size)
        per_axis(self.size, len(self.size), "size")
        self.name, self.channels, self._function = name, channels, function
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        if self.dtype not in (np.uint8, np.uint16, np.float32):
            raise UsageError(f"dtype={self.dtype} is none of uint8, uint16 and float32.")
        self.frame, self.grain = Frame.plain(len(self.size)), (1,) * len(self.size)

    def read(self, box: Box) -> Region:
        """See `Source.read`. Raises UsageError if the function gives another shape or type."""
        box = self.checked(box)
        pixels = self._function(box)
        shape = (*extent(box), self.channels)
        if pixels.shape != shape or pixels.dtype != self.dtype:
            raise UsageError(
                f"its function gave {times(pixels.shape)} {pixels.dtype} for a box of "
                f"{times(shape)} {self.dtype}.",
                where=self.name,
            )
        wrong = brightness(pixels)[2]
        found: list[Fault] = faults(pixels, wrong, box[: len(self.size)])
        if found:
            pixels = brightness(pixels)[0]
        return Region(pixels, tuple(found))

    def held(self) -> int:
        """Nothing."""
        return 0

    def beside(self, box: Box) -> int:
        """As much as the result: what the function takes is not known."""
        return math.prod(extent(box)) * self.channels * (self.dtype.itemsize + 2)

    def fingerprint(self) -> str:
        """That of its name and size, and of px in its corners."""
        dims = len(self.size)
        near = tuple(min(16, length) for length in self.size)
        far = tuple(length - step for length, step in zip(self.size, near, strict=True))
        corners = [self.read((*(0,) * dims, *near)), self.read((*far, *self.size))]
        drawn = [corner.pixels.tobytes() for corner in corners]
        return hashed(self.name, self.size, self.channels, str(self.dtype), *drawn)

    def check(self) -> None:
        """A function does not change."""
