from fractions import Fraction

import numpy as np
import pytest
from fused_by_hand import by_hand
from hypothesis import given, settings
from hypothesis import strategies as st

from fullconv.evaluate.lattice import Lattice, Layer, fused, lattices, per_pixel, place_of
from fullconv.geometry import Grid, Windows

RNG = np.random.default_rng(3)


@st.composite
def grids(draw):
    window = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    stride = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    extra = draw(st.tuples(st.integers(0, 15), st.integers(0, 15)))
    return Grid((window[0] + extra[0], window[1] + extra[1]), window, stride)


sizes = st.tuples(st.integers(1, 25), st.integers(1, 25))


@settings(max_examples=100)
@given(grid=grids(), size=sizes, seed=st.integers(0, 2**32 - 1))
def test_values_are_interpolated_between_the_centres_of_their_windows(grid, size, seed):
    values = np.random.default_rng(seed).normal(size=grid.shape)
    rows, cols = lattices(grid, size)
    seen = per_pixel(values, rows, cols, 0, size[0])
    expected = by_hand(values, grid, size)
    inside = np.isfinite(expected)
    np.testing.assert_allclose(seen[inside], expected[inside], atol=1e-12)
    covered = np.logical_and.outer(rows.covered(0, size[0]), cols.covered(0, size[1]))
    np.testing.assert_array_equal(covered, inside)


@settings(max_examples=60)
@given(several=st.lists(grids(), min_size=1, max_size=3), size=sizes, seed=st.integers(0, 999))
def test_scales_are_averaged_where_a_window_of_theirs_lies(several, size, seed):
    rng = np.random.default_rng(seed)
    layers = [Layer(rng.normal(size=grid.shape), grid, grid.size) for grid in several]
    maps = np.array([by_hand(layer.values, layer.grid, size) for layer in layers])
    count = np.isfinite(maps).sum(0)
    expected = np.where(count > 0, np.nansum(maps, 0) / np.maximum(count, 1), np.nan)
    np.testing.assert_allclose(fused(layers, size, 0, size[0]), expected, atol=1e-12)


@settings(max_examples=100)
@given(grid=grids())
def test_at_its_own_size_covered_pixels_are_those_in_a_window(grid):
    expected = np.zeros(grid.size, bool)
    for cell in np.ndindex(*grid.shape):
        top, left, bottom, right = grid.box(*cell)
        expected[top:bottom, left:right] = True
    rows, cols = (axis.covered(0, axis.size) for axis in lattices(grid, grid.size))
    np.testing.assert_array_equal(rows[:, None] & cols, expected)


@pytest.mark.parametrize(
    ("window", "stride"), [((224, 224), (32, 32)), ((227, 224), (8, 32)), ((64, 65), (4, 1))]
)
def test_an_affine_map_is_exact_up_to_the_far_corner(window, stride):
    """With strides that are powers of two every step is exact, so the results must be equal."""
    grid = Grid((5000, 3001), window, stride)
    rows, cols = grid.shape
    scores = 3.0 * np.arange(rows)[:, None] - 5.0 * np.arange(cols) + 11.0
    for start, stop in ((112, 120), (2500, 2504), (5000 - stride[0] - window[0] // 2, 5000)):
        values = per_pixel(scores, *lattices(grid, grid.size), start, stop)
        down = (np.arange(start, stop) + 0.5 - window[0] / 2) / stride[0]
        over = (np.arange(3001) + 0.5 - window[1] / 2) / stride[1]
        down, over = np.clip(down, 0, rows - 1), np.clip(over, 0, cols - 1)
        np.testing.assert_array_equal(values, 3.0 * down[:, None] - 5.0 * over + 11.0)


@pytest.mark.parametrize("scaled", [(1000, 1500), (2000, 3001), (333, 501), (4001, 6007)])
@pytest.mark.parametrize("stride", [32, 8])
def test_a_ramp_is_the_same_at_every_scale(scaled, stride):
    """A value that grows with the place in the image, sampled at window centres, comes back."""
    size, grid = (2000, 3000), Grid(scaled, (224, 224), (stride, stride))
    rows, cols = grid.shape

    def place(cells: int, axis: int) -> np.ndarray:  # of the windows' centres, px of the image
        return (np.arange(cells) * stride + 112.0) * size[axis] / scaled[axis]

    values = place(rows, 0)[:, None] + 7 * place(cols, 1)
    last = place(rows, 0)[-1]
    for start in (round(size[0] / 2), int(last) - 5):
        seen = fused([Layer(values, grid, scaled)], size, start, start + 5)
        expected = np.arange(start, start + 5)[:, None] + 0.5 + 7 * (np.arange(size[1]) + 0.5)
        inner = slice(int(place(cols, 1)[0]) + 1, int(place(cols, 1)[-1]) - 1)
        np.testing.assert_allclose(seen[:, inner], expected[:, inner], rtol=1e-12)


@pytest.mark.parametrize("size", [(4000, 4000), (3999, 5003)])
@pytest.mark.parametrize("scaled", [(1000, 1000), (1337, 999), (4000, 4000)])
def test_one_cell_peaks_where_its_window_is_centred(size, scaled):
    grid = Grid(scaled, (224, 224), (32, 32))
    for cell in ((1, 2), tuple(n - 2 for n in grid.shape)):
        values = np.zeros(grid.shape)
        values[cell] = 1
        for axis in (0, 1):
            middle = (cell[axis] * 32 + 112) * size[axis] / scaled[axis]
            lower, upper, weight = lattices(grid, size)[axis].neighbours(0, size[axis])
            share = np.where(lower == cell[axis], 1 - weight, (upper == cell[axis]) * weight)
            assert abs(share.argmax() + 0.5 - middle) <= 0.5
            mass = (share * (np.arange(size[axis]) + 0.5)).sum() / share.sum()
            # No half pixel and no half cell off: the centre of the mass is that of the window.
            assert abs(mass - middle) < 0.01


def test_a_pixel_at_the_centre_of_a_window_has_its_score():
    grid = Grid((5000, 41), (7, 5), (3, 2))
    scores = RNG.normal(size=grid.shape)
    for row in (0, 1, grid.shape[0] - 1):
        middle = row * 3 + 3  # of seven pixels
        values = per_pixel(scores, *lattices(grid, grid.size), middle, middle + 1)[0]
        np.testing.assert_array_equal(values[2:40:2][: grid.shape[1]], scores[row])


def test_rows_do_not_depend_on_the_block_they_are_asked_in():
    grid, size = Grid((61, 40), (9, 8), (5, 3)), (99, 50)
    layers = [Layer(RNG.normal(size=grid.shape).astype(np.float32), grid, grid.size)]
    whole = fused(layers, size, 0, 99)
    parts = [fused(layers, size, start, min(start + 7, 99)) for start in range(0, 99, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_gaps_between_windows_are_not_covered():
    covered = Lattice(Windows(2, 3, 3), 10, 10).covered(0, 10)
    np.testing.assert_array_equal(covered, [1, 1, 0, 1, 1, 0, 1, 1, 0, 0])


@settings(max_examples=60)
@given(grid=grids(), size=sizes)
def test_the_place_of_a_window_is_the_pixels_it_touches(grid, size):
    for cell in grid:
        box, place = grid.box(*cell), place_of(grid, cell, size)
        for axis in (0, 1):
            touched = [
                pixel
                for pixel in range(size[axis])
                if Fraction(pixel * grid.size[axis], size[axis]) < box[axis + 2]
                and Fraction((pixel + 1) * grid.size[axis], size[axis]) > box[axis]
            ]
            assert (place[axis], place[axis + 2]) == (touched[0], touched[-1] + 1)
