"""Images stored in segments (tiles, strips, chunks): only those that a box touches are decoded."""

from __future__ import annotations

import errno
import itertools
import math
from abc import abstractmethod
from collections import OrderedDict

import numpy as np

from fullconv.errors import InputError
from fullconv.geometry import Box, times
from fullconv.storage.amounts import written_bytes
from fullconv.storage.sources.samples import Mask
from fullconv.storage.sources.source import (
    Fault,
    Region,
    extent,
    overlap,
    slices,
)
from fullconv.storage.sources.stored import Stored

KEPT = 64 << 20  # bytes of decoded segments kept at least, where the budget admits it
WORK = 3  # times its own bytes that decoding a segment takes: the coded bytes, and conversions


class Segmented(Stored):
    """Pixels in a grid of segments of `grain` px; those last used are kept, decoded."""

    def _prepare(self, budget: int, noun: str) -> None:
        """Decide how much is kept; `size`, `dtype`, `colours` and `grain` are known.

        Raises InputError if a single segment takes more than `budget` bytes.
        """
        self._cache: OrderedDict[tuple[int, ...], Region] = OrderedDict()
        self._taken = 0
        area = math.prod(self.grain)
        # A segment may reach beyond the image, and is decoded as a whole.
        self._segment = area * max(1, self.colours) * max(1, self.dtype.itemsize)
        if WORK * self._segment > budget:
            raise InputError(
                f"its {noun}s are {times(self.grain)} px, and decoding one takes "
                f"{written_bytes(WORK * self._segment)} of memory; {written_bytes(budget)} "
                "is allowed.",
                why=f"A {noun} can only be decoded as a whole.",
                hint=f"Save the image in smaller {noun}s, for instance as a tiled TIFF, or "
                "raise the limit.",
            )
        across = math.prod(-(-s // g) for s, g in zip(self.size[1:], self.grain[1:], strict=True))
        row = across * self._segment  # one row of segments over the whole width
        down = -(-self.size[0] // self.grain[0])
        self._capacity = min(max(KEPT, 2 * row), down * row, budget // 4)

    @abstractmethod
    def decode(self, index: tuple[int, ...], box: Box) -> Region:
        """The segment at `index` of the grid, of which `box` lies inside the image.

        Faults are in px of the image. Errors of decoders are caught by `read`.
        """

    def read(self, box: Box) -> Region:
        """Put together from the segments it touches."""
        dims = len(self.size)
        pixels = self.empty(box)
        faults: list[Fault] = []
        missing: Mask | None = None
        ranges = (
            range(start // grain, -(-stop // grain))
            for start, stop, grain in zip(box[:dims], box[dims:], self.grain, strict=True)
        )
        for index in itertools.product(*ranges):
            whole = self._box(index)
            part = overlap(whole, box)
            if part is None:
                continue
            segment = self._segment_at(index, whole)
            there, here = slices(part, whole[:dims]), slices(part, box[:dims])
            pixels[here] = segment.pixels[there]
            faults += [piece for fault in segment.faults if (piece := fault.within(box))]
            if segment.missing is not None:
                if missing is None:
                    missing = np.zeros(extent(box), bool)
                missing[here] = segment.missing[there]
        return Region(pixels, tuple(faults), missing)

    def _box(self, index: tuple[int, ...]) -> Box:
        """What of a segment lies inside the image."""
        starts = tuple(i * grain for i, grain in zip(index, self.grain, strict=True))
        stops = (
            min(start + grain, size)
            for start, grain, size in zip(starts, self.grain, self.size, strict=True)
        )
        return (*starts, *stops)

    def _segment_at(self, index: tuple[int, ...], box: Box) -> Region:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        try:
            found = self.decode(index, box)
        except MemoryError:
            raise
        except InputError as error:
            found = self._lost(box, error.what)
        # Decoders fail on bad bytes in every way there is, and with errors of their own.
        except Exception as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EIO):
                raise  # the system's: the disk is gone, say, and the file may be sound
            detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            found = self._lost(box, f"it cannot be decoded ({detail})")
        if found.pixels.base is not None and any(found.pixels.strides):
            # A view would keep alive more than is counted.
            found = Region(found.pixels.copy(), found.faults, found.missing)
        size = _bytes(found)
        while self._cache and self._taken + size > self._capacity:
            self._taken -= _bytes(self._cache.popitem(last=False)[1])
        if size <= self._capacity:
            self._cache[index] = found
            self._taken += size
        return found

    def _lost(self, box: Box, why: str) -> Region:
        """A segment of which nothing can be read; its zeros take no memory."""
        zero = np.zeros((), self.dtype)
        return Region(
            np.broadcast_to(zero, (*extent(box), self.colours)), (Fault(box, why.rstrip(".")),)
        )

    def held(self) -> int:
        """What the segments kept may take."""
        return self._capacity

    def beside(self, box: Box) -> int:
        """What decoding one segment takes."""
        return WORK * self._segment + self._segment

    def close(self) -> None:
        """Forget the segments."""
        self._cache.clear()
        self._taken = 0


def _bytes(region: Region) -> int:
    """What a region kept takes."""
    pixels = region.pixels.nbytes if any(region.pixels.strides) else 0
    return pixels + (0 if region.missing is None else region.missing.nbytes)
