"""Pixels as a file stores them: neither turned upright nor brought to the channels asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fullconv.geometry import Box
from fullconv.storage.raster import Array
from fullconv.storage.sources.source import Region, extent, slices

PIECE = 4 << 20  # bytes read or decoded at a time where that can be chosen


class Stored(ABC):
    """What a format reads: boxes of px, alpha already over white.

    Attributes:
        size: px per axis, as stored.
        dtype: uint8, uint16 or float32, as in `Region`.
        colours: channels per pixel: 1 grey, 3 RGB, or as many as there are.
        grain: px per axis of the segments it is decoded in.
    """

    size: tuple[int, ...]
    dtype: np.dtype[Any]
    colours: int
    grain: tuple[int, ...] = (1, 1)

    @abstractmethod
    def read(self, box: Box) -> Region:
        """The pixels of a box inside the image that holds at least one."""

    def held(self) -> int:
        """At most so many bytes are kept from one read to the next."""
        return 0

    @abstractmethod
    def beside(self, box: Box) -> int:
        """At most so many bytes are taken by a read of such a box, beside its result."""

    def close(self) -> None:  # noqa: B027
        """Let go of files and memory."""

    def bytes_of(self, box: Box) -> int:
        """Bytes of the pixels of a box."""
        return math.prod(extent(box)) * self.colours * self.dtype.itemsize

    def empty(self, box: Box) -> Array:
        """Zeros for the pixels of a box."""
        return np.zeros((*extent(box), self.colours), self.dtype)


class Whole(Stored):
    """Pixels `(*space, colours)` in memory."""

    def __init__(self, pixels: Array) -> None:
        self._pixels = pixels
        self.size = pixels.shape[:-1]
        self.dtype, self.colours = pixels.dtype, pixels.shape[-1]
        self.grain = (1,) * len(self.size)

    def read(self, box: Box) -> Region:
        """A copy."""
        return Region(self._pixels[slices(box)].copy())

    def held(self) -> int:
        """All its pixels."""
        return self._pixels.nbytes

    def beside(self, box: Box) -> int:
        """Nothing."""
        return 0

    def close(self) -> None:
        """Let go of the pixels."""
        self._pixels = self._pixels[:0]
