"""What an export reads of a finished map, and in which pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from fullconv.errors import UsageError

Array = npt.NDArray[Any]
Span = tuple[int, int]  # half-open

BUDGET = 64 * 2**20
"""Bytes of scores that are held at a time."""


class About(Protocol):
    """Where the cells of a map lie and what they say; all in px of its source."""

    @property
    def window(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def stride(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def offset(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def size(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def frame(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def classes(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def kept(self) -> Any: ...  # noqa: D102
    @property
    def values(self) -> str: ...  # noqa: D102


class GivenMap(Protocol):
    """A map `(rows, cols, K)` that is read in parts; NaN where no score is."""

    @property
    def about(self) -> About: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    def read(self, rows: Span, cols: Span) -> Array: ...  # noqa: D102


def check_axes(given: GivenMap) -> None:
    """Raise UsageError for a map that is no picture: of one axis or of three."""
    if len(given.shape) != 3:
        raise UsageError(
            f"a map of {len(given.shape) - 1} axes cannot be written so.",
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
