"""Pixels that lie uncompressed in a file: read from where they are, nothing is mapped.

A mapped file counts as memory of the process as far as it was touched, and kills the process if
it is cut short meanwhile. Reads do neither.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np

from fullconv.geometry import Box
from fullconv.storage.raster import Array, count
from fullconv.storage.sources.samples import PRESENT, Absent, brightness, faults, settled
from fullconv.storage.sources.source import Fault, Region, extent, overlap
from fullconv.storage.sources.stored import Stored


class FlatArray:
    """An array of `shape` and `dtype` in C order from byte `offset` of a file on.

    `length` is that of the file: what lies beyond is reported, not read.
    """

    def __init__(
        self, file: BinaryIO, length: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._file, self._offset = file, offset
        self.shape, self.dtype = shape, dtype
        self.whole = max(0, min(math.prod(shape), (length - offset) // dtype.itemsize))

    def read(self, box: Box) -> tuple[Array, int]:
        """The numbers of a box, and how many of the array's there are; the others are 0."""
        dims = len(self.shape)
        starts, shape = box[:dims], extent(box)
        found = np.zeros(shape, self.dtype)
        # The axes behind the first that is not whole lie in the file in one piece.
        first = dims
        while first > 1 and shape[first - 1] == self.shape[first - 1]:
            first -= 1
        run = math.prod(shape[first - 1 :])
        steps = [math.prod(self.shape[axis + 1 :]) for axis in range(dims)]
        into = found.reshape(-1).view(np.uint8).data
        whole, size = self.whole, self.dtype.itemsize
        lead = itertools.product(*(range(n) for n in shape[: first - 1]))
        for number, index in enumerate(lead):
            place = sum(
                (start + step) * width
                for start, step, width in zip(starts, (*index, *(0,) * dims), steps, strict=False)
            )
            wanted = max(0, min(run, whole - place)) * size
            if wanted:
                first_byte = number * run * size
                part = into[first_byte : first_byte + wanted]
                got = self._fill(self._offset + place * size, part)
                if got < wanted:  # the file became shorter
                    whole = min(whole, place + got // size)
        return found, whole

    def _fill(self, place: int, into: memoryview) -> int:
        self._file.seek(place)
        done = 0
        while done < len(into):
            got = self._file.readinto(into[done:])  # type: ignore[attr-defined]
            if not got:
                break
            done += got
        return done


def tail(shape: tuple[int, ...], number: int) -> list[Box]:
    """The entries of an array in C order from the `number`-th on, in boxes."""
    found: list[Box] = []
    index = np.unravel_index(number, shape) if number < math.prod(shape) else None
    if index is None:
        return []
    at = [int(i) for i in index]
    if not any(at):
        return [(*(0,) * len(shape), *shape)]
    last = max(axis for axis, i in enumerate(at) if i)
    for axis in range(last, -1, -1):
        start = at[axis] + (axis < last)
        if start < shape[axis]:
            lead = at[:axis]
            rest = shape[axis + 1 :]
            found.append(
                (*lead, start, *(0,) * len(rest), *(i + 1 for i in lead), shape[axis], *rest)
            )
    return found


class Flat(Stored):
    """An image that lies uncompressed in a file.

    `space` and `channels` name the axes of `array` that are spatial, in order, and those that
    together are the channels; all others are of length 1. `convert` turns samples as stored, with
    all channels, into those that are handed on, for two spatial axes.
    """

    def __init__(
        self,
        array: FlatArray,
        space: Sequence[int],
        channels: Sequence[int],
        *,
        convert: Callable[[Array], Array] | None = None,
        absent: Absent = PRESENT,
    ) -> None:
        self._array, self._space, self._channels = array, tuple(space), tuple(channels)
        self._convert, self._absent = convert, absent
        self.size = tuple(array.shape[axis] for axis in space)
        self.grain = (1,) * len(self.size)
        probe = np.zeros((*(1,) * len(self.size), self._samples), settled(array.dtype))
        if convert:
            probe = convert(probe)
        self.dtype, self.colours = probe.dtype, probe.shape[-1]

    @property
    def _samples(self) -> int:
        return math.prod(self._array.shape[axis] for axis in self._channels)

    def read(self, box: Box) -> Region:
        """Exactly the bytes of the box are read."""
        dims = len(self.size)
        axes = range(len(self._array.shape))
        starts, stops = [0] * len(axes), list(self._array.shape)
        for place, axis in enumerate(self._space):
            starts[axis], stops[axis] = box[place], box[dims + place]
        stored, whole = self._array.read((*starts, *stops))
        others = [axis for axis in axes if axis not in (*self._space, *self._channels)]
        stored = stored.transpose(*self._space, *others, *self._channels)
        stored = stored.reshape(*extent(box), self._samples)
        pixels, missing, wrong = brightness(stored, self._absent)
        found = faults(stored, wrong, box[:dims])
        if self._convert:
            pixels = self._convert(pixels)
        return Region(pixels, (*self._cut(whole, box), *found), missing)

    def _cut(self, whole: int, box: Box) -> list[Fault]:
        """Px of the box of which a sample lies beyond the end of the file."""
        axes = len(self._array.shape)
        found: list[Fault] = []
        for part in tail(self._array.shape, whole):
            starts = tuple(part[axis] for axis in self._space)
            stops = tuple(part[axes + axis] for axis in self._space)
            inside = overlap(starts + stops, box)
            if inside is not None and not any(inside == fault.box for fault in found):
                why = f"the file ends before it, after {count(whole, 'sample')}"
                found.append(Fault(inside, why))
        return found

    def beside(self, box: Box) -> int:
        """The samples as stored, and twice as much again for conversions."""
        pixels = math.prod(extent(box))
        stored = pixels * self._samples * self._array.dtype.itemsize
        return 2 * stored + (2 * self.bytes_of(box) if self._convert else 0) + pixels
