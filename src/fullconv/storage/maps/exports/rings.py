"""From the corners of an area of cells to the rings around it.

An area hangs together by the sides of its cells. Its outline runs along the edges of cells, and is
given by the upper and lower ends of its vertical edges: every edge is then known, because on each
horizontal line ends pair up from left to right, and on each vertical one from top to bottom.

Where two cells of an area touch by a corner only, four edges meet. There the outline turns so that
it stays with the cell that is *not* in the area. So no ring comes to a point twice, and what the
area encloses is a hole, also where it touches the outer ring at a point: the polygon is valid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEFT, RIGHT = 0, 1  # the area lies to the right of a left edge

Ring = list[tuple[int, int]]


def rings_of(ends: npt.NDArray[np.int64]) -> list[Ring]:
    """The rings of one area, as corners `(row, col)`; the first is the outer one.

    `ends` are the ends of its vertical edges, `(n, 3)`: row, column, and the side, LEFT or RIGHT.
    Rows grow downwards. With x = col and y = row the outer ring encloses a positive area by the
    shoelace formula, and holes a negative one. Rings are not closed: the first corner is not said
    again.
    """
    row, col, side = ends.T
    # Where four edges meet, two ends lie at one point. The upper edge is a left one and the lower
    # a right one, or the other way round, and in both cases the left edge borders on the cell to
    # the left of the point that is outside: the end of the left edge goes with what is left of it.
    across = _partners(np.lexsort((side, col, row)))
    along = _partners(np.lexsort((row, side, col)))
    starts = np.lexsort((side, col, row)).tolist()
    seen = [False] * len(ends)
    corners = list(zip(row.tolist(), col.tolist(), strict=True))
    rings: list[Ring] = []
    for start in starts:
        if seen[start]:
            continue
        # The top left corner of its ring: the outer one goes on to the right, a hole down.
        first, second = (along, across) if rings else (across, along)
        ring, at = [], start
        while not seen[at]:
            beyond = first[at]
            ring += [corners[at], corners[beyond]]
            seen[at] = seen[beyond] = True
            at = second[beyond]
        rings.append(ring)
    return rings


def _partners(order: npt.NDArray[Any]) -> list[int]:
    """For each end the other one of its edge, where edges are pairs of neighbours in `order`."""
    partner = np.empty(len(order), np.int64)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    found: list[int] = partner.tolist()
    return found
