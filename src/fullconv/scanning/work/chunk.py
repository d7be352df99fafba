"""A chunk of the map while its strips come in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fullconv.scanning.sight.gaps import Gaps
from fullconv.scanning.sight.mask import Mask
from fullconv.storage.maps.layout import Index, Layout
from fullconv.storage.sources import Fault


class Chunk:
    """Scores of the cells of one chunk, NaN until they are there.

    Attributes:
        index: which chunk.
        block: its scores, `(rows, columns, K)`.
        faults: px that could not be read and that its cells look at, those that a mask leaves.
        rows: that are there.
    """

    def __init__(self, index: Index, layout: Layout, mask: Mask | None) -> None:
        self.index, self._spans = index, layout.span(index)
        self.block = empty(index, layout)
        self.faults: list[Fault] = []
        self.rows = 0
        self._look = None if mask is None else mask.look(*self._spans)

    @property
    def whole(self) -> bool:
        """Whether all rows are there."""
        return self.rows == len(self.block)

    @property
    def cells(self) -> int:
        """Cells that are there."""
        return int(self.block[: self.rows, ..., 0].size)

    def take(self, scores: npt.NDArray[np.floating], start: int, gaps: Gaps) -> None:
        """Take the scores `(K, rows, columns)` of the rows of the map from `start` on.

        Cells that look at what is in `gaps`, or that the mask leaves out, have none.
        """
        first = start - self._spans[0][0]
        assert first == self.rows, "strips come one after the other"
        self.rows += scores.shape[1]
        part = self.block[first : self.rows]
        part[...] = np.moveaxis(scores, 0, -1)
        look = None if self._look is None else self._look[first : self.rows]
        self.faults += gaps.blank(part, start, look)
        if look is not None:
            part[~look] = np.nan


def empty(index: Index, layout: Layout) -> npt.NDArray[np.float32]:
    """The scores of a chunk without any."""
    cells = (stop - start for start, stop in layout.span(index))
    return np.full((*cells, layout.shape[-1]), np.nan, np.float32)
