"""What an export reads of a map, and in which pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from fullconv.errors import UsageError

if TYPE_CHECKING:
    from fullconv.storage.maps.about import MapAbout
    from fullconv.storage.maps.layout import Layout

Array = npt.NDArray[Any]
Span = tuple[int, int]  # half-open

BUDGET = 64 * 2**20
"""Bytes of scores that are held at a time."""


class GivenMap(Protocol):
    """A score map that is read in parts, as `open_map` gives it.

    What is read is float32 `(rows, cols, k)`, NaN where no score is. The k are the classes
    `numbers`; where those are none, the best k classes of each cell, and `top` tells which.
    """

    @property
    def about(self) -> MapAbout: ...  # noqa: D102

    @property
    def layout(self) -> Layout: ...  # noqa: D102

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def numbers(self) -> tuple[int, ...]: ...  # noqa: D102

    def read(self, *spans: Span) -> Array: ...  # noqa: D102

    def top(self, k: int, *spans: Span) -> tuple[Array, Array]: ...  # noqa: D102


def check_axes(given: GivenMap) -> None:
    """Raise UsageError for a map that is no picture: of one axis or of three."""
    axes = len(given.shape) - 1
    if axes != 2:
        raise UsageError(
            f"a map of {axes} {'axis' if axes == 1 else 'axes'} cannot be written so.",
            why="These formats hold maps of rows and columns.",
            hint="Read it with fullconv.storage.maps.open_map.",
        )


def pieces(
    rows: int, cols: int, values: int, *, tile: int, budget: int = BUDGET
) -> Iterator[tuple[Span, Span]]:
    """The parts of `rows` by `cols` cells, in whole tiles, that hold `budget` bytes at most.

    Of `values` float32 numbers a cell. They are as wide as they may be, and one tile at least.
    """
    wide = max(1, budget // (4 * values * tile * tile)) * tile
    for top in range(0, rows, tile):
        for left in range(0, cols, wide):
            yield (top, min(top + tile, rows)), (left, min(left + wide, cols))
