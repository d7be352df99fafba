"""Which px every cell of a score map looks at, exactly, along each axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fullconv.streams.course import Cells, Course

Flags = npt.NDArray[np.bool_]
Edges = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Spans:
    """Half-open px intervals of some cells in a row, `(cells,)` each; neither ever decreases."""

    starts: Edges
    stops: Edges

    def touching(self, start: int, stop: int) -> slice:
        """The cells whose intervals hold any of the px from `start` to `stop`."""
        first = int(np.searchsorted(self.stops, start, side="right"))
        last = int(np.searchsorted(self.starts, stop, side="left"))
        return slice(first, max(first, last))

    def within(self, other: Spans) -> Spans:
        """What of each interval lies in that of another; empty ones have their start as stop."""
        starts = np.maximum(self.starts, other.starts)
        return Spans(starts, np.maximum(starts, np.minimum(self.stops, other.stops)))

    def any(self, flags: Flags, first: int, axis: int = 0) -> Flags:
        """Whether any flag is set in each interval; along `axis` they belong to px from `first` on.

        Intervals are cut at the ends of the flags.
        """
        length = flags.shape[axis]
        starts = np.clip(self.starts - first, 0, length)
        stops = np.maximum(starts, np.clip(self.stops - first, 0, length))
        shape = [*flags.shape]
        shape[axis] = length + 1
        counts = np.zeros(shape, np.int32)
        behind = [slice(None)] * flags.ndim
        behind[axis] = slice(1, None)
        np.cumsum(flags, axis=axis, dtype=np.int32, out=counts[tuple(behind)])
        found: Flags = counts.take(stops, axis=axis) > counts.take(starts, axis=axis)
        return found


@dataclass(frozen=True)
class Sight:
    """What the cells of a score map see of an image.

    Attributes:
        course: of the network.
        cells: of all its maps on the image, as `course.cells` gives them.
        window, stride: of the network, px per axis.
    """

    course: Course
    cells: Mapping[str, Cells]
    window: tuple[int, ...]
    stride: tuple[int, ...]

    def seen(self, axis: int, start: int, stop: int) -> Spans:
        """The px that enter the computation of the cells from `start` to `stop`.

        Padding is no px. Cells between dilated taps are counted in.
        """
        image, size = self.course.image.name, self.cells[self.course.image.name][axis]
        starts = [self.course.starts(axis, i, self.cells).get(image, 0) for i in range(start, stop)]
        stops = [
            self.course.stops(axis, i + 1, self.cells).get(image, 0) for i in range(start, stop)
        ]
        return Spans(
            np.clip(np.array(starts, np.int64), 0, size),
            np.clip(np.array(stops, np.int64), 0, size),
        )

    def windows(self, axis: int, start: int, stop: int) -> Spans:
        """The windows of the cells from `start` to `stop`."""
        starts = np.arange(start, stop, dtype=np.int64) * self.stride[axis]
        return Spans(starts, starts + self.window[axis])
