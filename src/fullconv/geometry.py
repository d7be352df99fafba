"""Where things lie: exact integer arithmetic, once per axis, for any number of axes.

A window is the image extent a classifier was built for; a cell is one position of a score map; the
stride is the distance in px between the windows of neighbouring cells. All boxes are half-open, and
list the starts of all axes and then the stops: `(top, left, bottom, right)` in two dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from fullconv.errors import InputError, UsageError

Box = tuple[int, ...]


def per_axis(value: int | Sequence[int], dims: int, what: str) -> tuple[int, ...]:
    """`value` as one int per axis: a single int counts for every axis.

    Raises UsageError if the length is not `dims` or an entry is not a positive int.
    """
    entries = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(entries) != dims:
        raise UsageError(
            f"{what}={value} names {len(entries)} axes, but the network has {dims}.",
            hint=f"Pass one number, or one for each of the {dims} axes.",
        )
    if any(not isinstance(entry, int) or entry < 1 for entry in entries):
        raise UsageError(f"{what}={value} must be made of positive whole numbers.")
    return entries


def times(sizes: Sequence[int]) -> str:
    """`(224, 224)` as people write it: `224×224`."""
    return "×".join(str(size) for size in sizes)


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows along one axis: `count` of them, `window` px long, `stride` px apart."""

    window: int
    stride: int
    count: int

    def span(self, cell: int) -> tuple[int, int]:
        """The half-open px interval of one cell's window."""
        if not 0 <= cell < self.count:
            raise IndexError(f"cell {cell} is outside a map of {self.count} cells")
        return cell * self.stride, cell * self.stride + self.window

    def inside(self, start: int, stop: int) -> tuple[int, int]:
        """The half-open range of cells whose windows lie wholly inside `[start, stop)` px."""
        first = max(0, -(-start // self.stride))
        last = min(self.count, (stop - self.window) // self.stride + 1)
        return first, max(first, last)


@dataclass(frozen=True, slots=True)
class Grid:
    """Which window each cell of a score map stands for.

    Attributes:
        size: image size in px, per axis.
        window: window size in px, per axis.
        stride: distance between neighbouring windows in px, per axis.

    Raises InputError if the image is smaller than the window: there is no whole window to score.
    """

    size: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.size) == len(self.window) == len(self.stride):
            raise UsageError(
                f"size {self.size}, window {self.window} and stride {self.stride} "
                "must name the same number of axes."
            )
        if any(size < window for size, window in zip(self.size, self.window, strict=True)):
            raise InputError(
                f"the image is {times(self.size)} px, smaller than the {times(self.window)} "
                "window of the classifier.",
                why="A score needs one whole window.",
                hint="Use a larger image, or enlarge this one to at least the window.",
            )

    @property
    def axes(self) -> tuple[Windows, ...]:
        """The windows of each axis; their number is `(size - window) // stride + 1`."""
        triples = zip(self.size, self.window, self.stride, strict=True)
        return tuple(Windows(w, s, (n - w) // s + 1) for n, w, s in triples)

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells per axis: `(rows, cols)` in two dimensions."""
        return tuple(axis.count for axis in self.axes)

    def box(self, *cell: int) -> Box:
        """The window of a cell in px, half-open: `box(row, col)` is `(top, left, bottom, right)`.

        Raises IndexError for a cell outside the map.
        """
        spans = [axis.span(index) for axis, index in zip(self.axes, cell, strict=True)]
        return tuple(start for start, _ in spans) + tuple(stop for _, stop in spans)

    def center(self, *cell: int) -> tuple[Fraction, ...]:
        """The middle of a cell's window in px, exactly; pixel `i` covers `[i, i + 1)`."""
        spans = [axis.span(index) for axis, index in zip(self.axes, cell, strict=True)]
        return tuple(Fraction(start + stop, 2) for start, stop in spans)

    def cells(self, box: Box) -> Box:
        """The cells whose windows lie wholly inside a px box, as a half-open box of cells.

        It undoes `box`: `grid.cells(grid.box(i, j)) == (i, j, i + 1, j + 1)`. Where no window fits
        the range is empty (start equals stop).
        """
        dims = len(self.size)
        if len(box) != 2 * dims:
            raise UsageError(f"a box of {dims} axes has {2 * dims} numbers, got {len(box)}.")
        ranges = [
            axis.inside(start, stop)
            for axis, start, stop in zip(self.axes, box[:dims], box[dims:], strict=True)
        ]
        return tuple(first for first, _ in ranges) + tuple(last for _, last in ranges)
