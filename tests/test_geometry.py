"""The arithmetic of windows, sweeps and axes, against counting by brute force."""

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from fullconv.errors import InputError, UsageError
from fullconv.geometry import Axis, Grid, Sweep, Windows, per_axis, times
from sweeps import chained, convolutions, pools, smallest, stacks

# --- strategies ---


@st.composite
def grids(draw) -> Grid:
    """Grids of one to three axes with at least one window."""
    dims = draw(st.integers(1, 3))
    axes = st.lists(st.integers(1, 9), min_size=dims, max_size=dims).map(tuple)
    window, stride = draw(axes), draw(axes)
    extra = draw(st.lists(st.integers(0, 20), min_size=dims, max_size=dims))
    size = tuple(w + more for w, more in zip(window, extra, strict=True))
    return Grid(size, window, stride)


# --- sweeps ---


def positions(sweep: Sweep, cells: int) -> list[list[int]]:
    """The input cells every output cell looks at, listed one output cell after the other."""
    before, after = sweep.padding
    found = []
    start = -before
    while True:
        taps = [start + k * sweep.dilation for k in range(sweep.kernel)]
        over = taps[-1] - (cells - 1 + after)
        if over > 0:
            # Ceil mode counts one more: the first that hangs over, if it begins inside.
            hangs = sweep.ceil_mode and over < sweep.stride and start < cells
            return [*found, taps] if hangs else found
        found.append(taps)
        start += sweep.stride


@given(st.one_of(convolutions(), pools()), st.integers(1, 60))
def test_count_and_overhang(sweep, cells):
    assume(cells + sum(sweep.padding) >= sweep.extent)
    listed = positions(sweep, cells)
    assert sweep.count(cells) == len(listed)
    assert sweep.overhang(cells) == max(0, listed[-1][-1] - (cells - 1 + sweep.padding[1]))
    assert sweep.extent == listed[0][-1] - listed[0][0] + 1
    assert sweep.pads == any(sweep.padding)


@given(pools(), st.integers(1, 60))
def test_count_is_what_pytorch_gives(sweep, cells):
    assume(cells + sum(sweep.padding) >= sweep.extent)
    x = torch.zeros(1, 1, cells)
    pad, ceil = sweep.padding[0], sweep.ceil_mode
    pooled = F.max_pool1d(x, sweep.kernel, sweep.stride, pad, sweep.dilation, ceil_mode=ceil)
    assert sweep.count(cells) == pooled.shape[-1]
    if sweep.dilation == 1:
        mean = F.avg_pool1d(x, sweep.kernel, sweep.stride, pad, ceil_mode=ceil)
        assert sweep.count(cells) == mean.shape[-1]


@given(convolutions(), st.integers(1, 60))
def test_count_of_a_convolution_is_what_pytorch_gives(sweep, cells):
    assume(cells + sum(sweep.padding) >= sweep.extent)
    x = F.pad(torch.zeros(1, 1, cells), sweep.padding)
    weight = torch.zeros(1, 1, sweep.kernel)
    convolved = F.conv1d(x, weight, stride=sweep.stride, dilation=sweep.dilation)
    assert sweep.count(cells) == convolved.shape[-1]


# --- axes ---


@given(stacks, st.integers(0, 40))
def test_one_division_counts_the_cells_of_all_layers(sweeps, extra):
    least = smallest(sweeps)
    window = least + extra
    axis = Axis(window)
    for sweep in sweeps:
        axis = axis.swept(sweep)
    assert axis.size == chained(sweeps, window)
    for pixels in range(least, least + 90):
        assert axis.count(pixels) == chained(sweeps, pixels)


@given(stacks, st.integers(2, 4), st.integers(0, 3))
def test_receptive_field_by_perturbing_pixels(sweeps, cells, cell):
    """The pixels a cell depends on, found by differentiating a stack of sums."""
    sweeps = [Sweep(s.kernel, s.stride, s.padding, s.dilation) for s in sweeps]
    axis = Axis(1)
    for sweep in sweeps:
        axis = axis.swept(sweep)
    assume(axis.field < 400)
    cell = min(cell, cells - 1)
    # Far from the rim every pixel of the receptive field is in the image.
    shift = -(-max(0, -axis.start) // axis.stride)
    cell += shift
    first = axis.start + cell * axis.stride
    pixels = max(first + axis.field, smallest(sweeps)) + 30
    x = torch.zeros(1, 1, pixels, dtype=torch.float64, requires_grad=True)
    y = x
    for sweep in sweeps:
        weight = torch.ones(1, 1, sweep.kernel, dtype=torch.float64)
        y = F.conv1d(F.pad(y, sweep.padding), weight, stride=sweep.stride, dilation=sweep.dilation)
    assume(y.shape[-1] > cell)
    y[0, 0, cell].backward()
    seen = x.grad[0, 0].nonzero().flatten().tolist()
    # Zero padding in the middle of the stack hides what its neighbours saw, so within the field:
    assert first <= seen[0]
    assert seen[-1] < first + axis.field
    if not any(sweep.pads for sweep in sweeps):
        assert (seen[0], seen[-1] + 1) == (first, first + axis.field)


@given(stacks, stacks)
def test_joined_branches(left, right):
    """What either branch sees; as many cells as both have."""
    a = b = Axis(4000)
    for sweep in left:
        a = a.swept(sweep)
    for sweep in right:
        b = b.swept(sweep)
    assume(a.stride == b.stride)
    both = a.joined(b)
    assert (both.start, both.end) == (min(a.start, b.start), max(a.end, b.end))
    least = max(smallest(left), smallest(right))
    for pixels in range(least, least + 60):
        assert both.count(pixels) == min(a.count(pixels), b.count(pixels))


@given(stacks.filter(lambda sweeps: all(not s.ceil_mode for s in sweeps)), st.data())
def test_stride_turned_into_dilation(sweeps, data):
    """Keeping a part of the stride reads the same cells, further apart: an à-trous map."""
    kept = [
        data.draw(st.sampled_from([g for g in range(1, s.stride + 1) if s.stride % g == 0]))
        for s in sweeps
    ]
    axis = Axis(smallest(sweeps) + 25)
    plain = axis
    for sweep, keep in zip(sweeps, kept, strict=True):
        inner = axis.inner(sweep, keep=keep)
        assert inner.stride == keep
        assert inner.dilation == sweep.dilation * axis.dilation
        axis, plain = axis.swept(sweep, keep=keep), plain.swept(sweep)
        assert axis.size == plain.size
        assert axis.stride * axis.dilation == plain.stride
        assert (axis.start, axis.field) == (plain.start, plain.field)
    assert axis.span == (axis.size - 1) * axis.dilation + 1


def test_vgg16_by_the_book():
    """Receptive field of 404 px with the 7×7 of its first FC layer (Simonyan & Zisserman)."""
    axis = Axis(224)
    for convolutions_ in (2, 2, 3, 3, 3):
        for _ in range(convolutions_):
            axis = axis.swept(Sweep(3, padding=(1, 1)))
        axis = axis.swept(Sweep(2, 2))
    assert (axis.size, axis.stride, axis.field) == (7, 32, 212)
    head = axis.swept(Sweep(7), collapse=True)
    assert (head.field, head.collapsed, head.size) == (404, True, 1)
    assert [head.count(pixels) for pixels in (224, 255, 256, 384, 512)] == [1, 1, 2, 6, 10]


# --- windows and grids ---


@given(grids())
def test_grid_lists_every_whole_window(grid):
    by_hand = []
    for size, window, stride in zip(grid.size, grid.window, grid.stride, strict=True):
        by_hand.append([start for start in range(0, size, stride) if start + window <= size])
    assert grid.shape == tuple(len(starts) for starts in by_hand)
    assert len(grid) == len(list(grid))
    dims = len(grid.size)
    for cell in grid:
        box = grid.box(*cell)
        starts = tuple(starts[i] for starts, i in zip(by_hand, cell, strict=True))
        assert box[:dims] == starts
        assert box[dims:] == tuple(a + w for a, w in zip(starts, grid.window, strict=True))
        assert grid.cells(box) == (*cell, *(i + 1 for i in cell))
        middle = tuple(a + Fraction(w, 2) for a, w in zip(starts, grid.window, strict=True))
        assert grid.center(*cell) == middle


@given(grids(), st.data())
def test_cells_inside_a_box(grid, data):
    dims = len(grid.size)
    corners = [
        sorted(data.draw(st.tuples(st.integers(-5, size + 5), st.integers(-5, size + 5))))
        for size in grid.size
    ]
    box = (*(a for a, _ in corners), *(b for _, b in corners))
    inside = {
        cell
        for cell in grid
        if all(
            low <= a and b <= high
            for (low, high), a, b in zip(
                corners, grid.box(*cell)[:dims], grid.box(*cell)[dims:], strict=True
            )
        )
    }
    found = grid.cells(box)
    spans = list(zip(found[:dims], found[dims:], strict=True))
    assert all(first <= last for first, last in spans)
    assert inside == {
        cell
        for cell in grid
        if all(first <= i < last for i, (first, last) in zip(cell, spans, strict=True))
    }


def test_a_grid_by_example():
    grid = Grid((384, 512), (224, 224), (32, 32))
    assert grid.shape == (6, 10)
    assert grid.box(0, 0) == (0, 0, 224, 224)
    assert grid.box(5, 9) == (160, 288, 384, 512)
    assert grid.center(1, 0) == (144, 112)
    assert grid.cells((0, 0, 384, 512)) == (0, 0, 6, 10)
    assert grid.cells((1, 1, 300, 300)) == (1, 1, 3, 3)
    first, last = grid.cells((0, 0, 100, 512))[::2]
    assert first == last, "no window fits, so the range is empty"


@pytest.mark.parametrize("cell", [(6, 0), (0, 10), (-1, 0)])
def test_cells_outside_the_map(cell):
    with pytest.raises(IndexError, match=r"cell -?\d+ is outside a map of (6|10) cells"):
        Grid((384, 512), (224, 224), (32, 32)).box(*cell)
    assert Windows(3, 2, 4).span(3) == (6, 9)


def test_an_image_smaller_than_the_window():
    with pytest.raises(InputError) as error:
        Grid((224, 200), (224, 224), (32, 32))
    assert str(error.value) == (
        "the image is 224×200 px, smaller than the 224×224 window of the classifier.\n"
        "A score needs one whole window. Use a larger image, or enlarge this one to at least the "
        "window."
    )


def test_sizes_of_different_numbers_of_axes():
    with pytest.raises(UsageError, match="must name the same number of axes"):
        Grid((224, 224), (224,), (32, 32))
    with pytest.raises(UsageError, match=r"a box of 2 axes has 4 numbers, got 2\."):
        Grid((224, 224), (224, 224), (32, 32)).cells((0, 224))


def test_per_axis():
    assert per_axis(224, 2, "window") == (224, 224)
    assert per_axis([3, 4], 2, "window") == (3, 4)
    assert per_axis(torch.Size((3, 4)), 2, "window") == (3, 4)
    assert times((3, 4, 5)) == "3×4×5"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2, 3), r"window=\(1, 2, 3\) names 3 axes, but the network has 2\.\nPass one number"),
        (0, "window=0 must be made of positive whole numbers"),
        ((224, -1), r"window=\(224, -1\) must be made of positive whole numbers"),
        ((224, 2.5), r"window=\(224, 2\.5\) must be made of positive whole numbers"),
    ],
)
def test_per_axis_refuses(value, message):
    with pytest.raises(UsageError, match=message):
        per_axis(value, 2, "window")
