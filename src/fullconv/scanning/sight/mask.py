"""Which parts of an image are looked at: a mask, scaled to the image, asked cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from fullconv.errors import InputError
from fullconv.scanning.sight.spans import Flags, Sight, Spans
from fullconv.storage.sources import Source

PIECE = 1 << 20
"""Px of a mask that are read at a time."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask over an image; px of it that are not 0 are to be looked at.

    Px `p` of the image is px `p * m // n` of the mask, where they have `n` and `m` px along an
    axis.

    Attributes:
        source: of its px, one channel.
        whole: px per axis of the image that it covers.
        corner: where in that image px 0 of what is scanned is.
        sight: of the scan.
        identity: what tells it from other masks.
    """

    source: Source
    whole: tuple[int, ...]
    corner: tuple[int, ...]
    sight: Sight
    identity: str

    def look(self, *cells: tuple[int, int]) -> Flags:
        """Whether the window of each cell of these ranges has any px to look at.

        Raises InputError for a mask that cannot be read.
        """
        spans = [self._scaled(axis, *span) for axis, span in enumerate(cells)]
        found = np.zeros([stop - start for start, stop in cells], bool)
        low = [int(span.starts[0]) for span in spans]
        high = [int(span.stops[-1]) for span in spans]
        across = prod(stop - start for start, stop in zip(low[1:], high[1:], strict=True))
        step = max(1, PIECE // max(1, across))
        for row in range(low[0], high[0], step):
            end = min(row + step, high[0])
            flags = self._flags((row, *low[1:]), (end, *high[1:]))
            for axis in range(1, len(cells)):
                flags = spans[axis].any(flags, low[axis], axis)
            rows = spans[0].touching(row, end)
            part = Spans(spans[0].starts[rows], spans[0].stops[rows])
            found[rows] |= part.any(flags, row)
        return found

    def _scaled(self, axis: int, start: int, stop: int) -> Spans:
        """The windows of some cells in px of the mask."""
        windows = self.sight.windows(axis, start, stop)
        there, here = self.source.size[axis], self.whole[axis]
        first = windows.starts + self.corner[axis]
        last = windows.stops + self.corner[axis] - 1
        return Spans(first * there // here, last * there // here + 1)

    def _flags(self, starts: Sequence[int], stops: Sequence[int]) -> Flags:
        region = self.source.read((*starts, *stops))
        if region.faults:
            fault = region.faults[0]
            raise InputError(
                f"px {fault.box} of the mask could not be read: {fault.why}.",
                where=self.source.name,
                hint="Make the mask again, or scan without it.",
            )
        flags: Flags = region.pixels[..., 0] != 0
        if region.missing is not None:
            flags &= ~region.missing
        return flags
