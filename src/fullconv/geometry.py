"""Where things lie: exact integer arithmetic, once per axis, for any number of axes.

A window is the image extent a classifier was built for; a cell is one position of a score map; the
stride is the distance in px between the windows of neighbouring cells. All boxes are half-open, and
list the starts of all axes and then the stops: `(top, left, bottom, right)` in two dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import lcm, prod

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

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """All cells, last axis fastest."""
        return product(*(range(count) for count in self.shape))

    def __len__(self) -> int:
        """How many cells there are."""
        return prod(self.shape)

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


@dataclass(frozen=True, slots=True)
class Sweep:
    """How one layer sweeps over one axis of its input: the numbers of a convolution or a pool."""

    kernel: int
    stride: int = 1
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    ceil_mode: bool = False

    @property
    def extent(self) -> int:
        """Input cells from the first to the last tap, both counted."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def pads(self) -> bool:
        """Whether it adds cells before or after its input."""
        return self.padding != (0, 0)

    def gain(self) -> int:
        """`g` such that `n` input cells give `(n + g) // stride` output cells, for every `n`.

        Ceil mode counts a last window that hangs over the end, unless it would begin beyond the
        input and its leading padding (the rule of `torch.nn.MaxPool2d`); both bounds divide by
        the same stride, so the smaller numerator wins.
        """
        before, after = self.padding
        floor = before + after - self.extent + self.stride
        if not self.ceil_mode:
            return floor
        return min(floor + self.stride - 1, before + self.stride - 1)

    def count(self, cells: int) -> int:
        """Output cells for `cells` input cells."""
        return (cells + self.gain()) // self.stride

    def explicit(self) -> Sweep:
        """The sweep that makes the same cells without ceil mode: it pads where that hangs over."""
        if not self.ceil_mode:
            return self
        before, after = self.padding
        after = min(after + self.stride - 1, self.extent - 1)
        return replace(self, padding=(before, after), ceil_mode=False)

    def overhang(self, cells: int) -> int:
        """Cells that the last window reaches beyond the padded input (ceil mode only)."""
        end = (self.count(cells) - 1) * self.stride + self.extent
        return max(0, end - cells - sum(self.padding))


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a feature map: what it is in the classifier, and where its cells lie in an image.

    Nested floor divisions collapse, `floor(floor(x / m) / n) = floor(x / (m n))`, so however many
    layers lie above it, the number of cells on an image of `n` px is exactly
    `(n + slack) // stride`.

    Attributes:
        size: cells in the classifier, at its window.
        stride: px between neighbouring cells of the FCN.
        slack: see above, px.
        start: px where the first cell's receptive field begins; negative inside padding.
        field: receptive field of a cell, px.
        dilation: FCN cells from one cell to the next of the classifier (1 unless a stride was
            turned into dilation).
        collapsed: the cell stands for the whole window; its FCN neighbours are other windows.
        context: of a context op: the classifier has one cell, pooled over this many; the FCN has
            one for every cell of the map it was pooled from. 0 for all else.
        loose: a map that was enlarged: on some image sizes it has fewer trailing cells than
            `count` says, never too few for whole windows.
        grain: px by multiples of which a window must move for its cells to be cells of the map;
            more than `stride` where a coarser map was enlarged.
        binned: adaptive pooling made its cells; what lies beside those of a window is not the rim
            that the classifier sees.
    """

    size: int
    stride: int = 1
    slack: int = 0
    start: int = 0
    field: int = 1
    dilation: int = 1
    collapsed: bool = False
    context: int = 0
    loose: bool = False
    binned: bool = False
    grain: int = 1

    @property
    def end(self) -> int:
        """Px where the first cell's receptive field ends."""
        return self.start + self.field

    @property
    def span(self) -> int:
        """FCN cells from the first to the last cell of one window, both counted."""
        return (self.size - 1) * self.dilation + 1

    def count(self, pixels: int) -> int:
        """FCN cells on an image of `pixels` px."""
        return (pixels + self.slack) // self.stride

    def inner(self, sweep: Sweep, *, keep: int | None = None, fragments: bool = False) -> Sweep:
        """The sweep the FCN makes where the classifier makes `sweep`.

        `keep` is the part of the stride that still steps; the rest becomes dilation of whatever
        follows (à-trous). The layer itself keeps the dilation its input asks for. With `fragments`
        the phases of a dilated map lie side by side in the batch, each an undilated map.

        Where a layer in ceil mode no longer makes its whole step, the cells it reaches beyond the
        end become padding, so that every phase has the cells that ceil mode gives it.
        """
        spread = 1 if fragments else self.dilation
        steps = sweep.stride * spread
        step = steps if keep is None else keep
        if step != sweep.stride or spread > 1:
            sweep = sweep.explicit()
        before, after = sweep.padding
        return Sweep(
            sweep.kernel,
            step,
            (before * spread, after * spread),
            sweep.dilation * spread,
            sweep.ceil_mode,
        )

    def swept(self, sweep: Sweep, *, keep: int | None = None, collapse: bool = False) -> Axis:
        """This axis after a layer sweeps over it, `keep` as in `inner`.

        With `collapse` the one output cell stands for the whole window.
        """
        inner = self.inner(sweep, keep=keep)
        return Axis(
            size=sweep.count(self.size),
            stride=self.stride * inner.stride,
            slack=self.slack + self.stride * inner.gain(),
            start=self.start - inner.padding[0] * self.stride,
            field=self.field + (inner.extent - 1) * self.stride,
            dilation=1 if collapse else sweep.stride * self.dilation // inner.stride,
            collapsed=collapse or self.collapsed,
            context=self.context,
            loose=self.loose,
            binned=self.binned and not collapse,
            grain=self.grain,
        )

    def surveyed(self, *, local: bool) -> Axis:
        """This axis after an op that looks at the whole map; `local` as at the window.

        A local op looks, at every cell, at the window-sized box nearest to centred on it.
        """
        if not local:
            return self
        before, reach = (self.size - 1) // 2, self.size - 1
        return replace(
            self,
            start=self.start - before * self.dilation * self.stride,
            field=self.field + reach * self.dilation * self.stride,
        )

    def enlarged(self, factor: int) -> Axis:
        """This axis with every cell repeated `factor` times; `factor` divides the stride."""
        if self.stride % factor or self.dilation > 1:
            raise ValueError(f"cells {self.stride} px apart cannot be repeated {factor} times")
        return replace(
            self,
            size=self.size * factor,
            stride=self.stride // factor,
            loose=self.loose or factor > 1,
            grain=lcm(self.grain, self.stride),
        )

    def joined(self, other: Axis) -> Axis:
        """The axis of two branches that meet: what either sees, as many cells as both have."""
        start = min(self.start, other.start)
        return Axis(
            self.size,
            self.stride,
            min(self.slack, other.slack),
            start,
            max(self.end, other.end) - start,
            self.dilation,
            self.collapsed,
            self.context,
            self.loose or other.loose,
            self.binned or other.binned,
            lcm(self.grain, other.grain),
        )
