"""Context ops: the nearest box of every cell, pools and norms over it, by brute force."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from by_hand import assert_same
from fullconv.hosts.torch_fx import runtime
from fullconv.streams.reach import boxes
from networks import noise

KINDS = {
    "average": lambda part, dims: part.mean(dims, keepdim=True),
    "max": lambda part, dims: part.amax(dims, keepdim=True),
    "min": lambda part, dims: part.amin(dims, keepdim=True),
    "sum": lambda part, dims: part.sum(dims, keepdim=True),
    "norm": lambda part, dims: part.square().sum(dims, keepdim=True).sqrt(),
    "variance": lambda part, dims: part.var(dims, correction=0, keepdim=True),
    "sample variance": lambda part, dims: part.var(dims, keepdim=True),
}


def first_cell(cell: int, cells: int, kernel: int, dilation: int) -> int:
    """Where the box of a cell begins: of all boxes of its phase the one nearest to centred."""
    phase = list(range(cell % dilation, cells, dilation))
    starts = range(len(phase) - kernel + 1)
    wanted = cell // dilation - (kernel - 1) // 2
    return phase[min(starts, key=lambda start: abs(start - wanted))]


@given(st.integers(1, 8), st.integers(1, 3), st.integers(0, 12))
def test_the_boxes(kernel, dilation, extra):
    cells = dilation * (kernel - 1) + 1 + extra
    found = boxes(cells, kernel, dilation)
    assert len(found) == cells
    assert all(0 <= start <= extra for start in found)
    for cell, start in enumerate(found):
        if len(range(cell % dilation, cells, dilation)) >= kernel:
            assert start == first_cell(cell, cells, kernel, dilation)
            assert start % dilation == cell % dilation
    if extra == 0:
        assert found == (0,) * cells


def test_boxes_of_an_even_kernel_lean_to_the_end():
    assert boxes(7, 4, 1) == (0, 0, 1, 2, 3, 3, 3)
    assert boxes(7, 3, 1) == (0, 0, 1, 2, 3, 4, 4)
    assert boxes(8, 2, 2) == (0, 1, 2, 3, 4, 5, 4, 5)


def boxed(x, kernel, dilation, take):
    """`take(box, place)` for every cell; `place` is the cell's own one in its box."""
    out = torch.empty_like(x)
    for cell in product(*map(range, x.shape[2:])):
        spans, place = [], []
        for i, n, k, d in zip(cell, x.shape[2:], kernel, dilation, strict=True):
            start = first_cell(i, n, k, d) if k > 1 else i
            spans.append(slice(start, start + d * (k - 1) + 1, d))
            place.append((i - start) // d)
        out[(..., *cell)] = take(x[(..., *spans)], place)
    return out


SHAPES = [
    ((11,), (4,), (1,)),
    ((11,), (3,), (2,)),
    ((9, 8), (4, 3), (1, 1)),
    ((9, 8), (3, 2), (2, 3)),
    ((7, 8), (3, 1), (2, 1)),
    ((5, 6, 7), (2, 3, 4), (2, 1, 1)),
    ((6, 6), (6, 6), (1, 1)),
]


@pytest.mark.parametrize(("cells", "kernel", "dilation"), SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_local_pools(kind, cells, kernel, dilation):
    x = noise(2, 2, *cells)
    dims = tuple(range(2, x.ndim))
    axes = tuple(axis for axis, k in enumerate(kernel, 1) if k > 1)
    by_hand = boxed(x, kernel, dilation, lambda box, place: KINDS[kind](box, dims).flatten(1))
    assert_same(runtime.pool_context(x, kind, kernel, dilation, True, axes), by_hand)


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_pools_over_the_whole_map(kind, axes):
    x = noise(2, 3, 5, 6, 4)
    kernel = tuple(3 if axis in axes else 1 for axis in (1, 2, 3))
    dims = tuple(axis + 1 for axis in axes)
    ours = runtime.pool_context(x, kind, kernel, (1, 1, 1), False, axes)
    assert_same(ours, KINDS[kind](x, dims))
    # A dilation along axes that are kept changes nothing.
    apart = tuple(1 if axis in axes else 2 for axis in (1, 2, 3))
    assert_same(runtime.pool_context(x, kind, kernel, apart, False, axes), ours)


@pytest.mark.parametrize("dilation", [(2, 1), (2, 3), (5, 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_phase_of_a_dilated_map_is_pooled_by_itself(kind, dilation):
    x = noise(2, 3, 10, 11)
    ours = runtime.pool_context(x, kind, (3, 3), dilation, False, (1, 2))
    assert ours.shape == x.shape
    for i, j in product(*map(range, dilation)):
        cells = (..., slice(i, None, dilation[0]), slice(j, None, dilation[1]))
        assert_same(ours[cells], KINDS[kind](x[cells], (2, 3)).expand_as(ours[cells]))


@pytest.mark.parametrize(("cells", "kernel", "dilation"), SHAPES)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_local_norm_is_group_norm_of_the_box(groups, cells, kernel, dilation):
    x = noise(2, 6, *cells) * 3 + 1
    weight, bias = noise(6, seed=1), noise(6, seed=2)
    for settings in ((weight, bias), (weight, None), (None, None)):

        def take(box, place, settings=settings):
            return F.group_norm(box, groups, *settings, 0.01)[(..., *place)]

        ours = runtime.norm_context(x, *settings, 0.01, groups, kernel, dilation, True)
        assert_same(ours, boxed(x, kernel, dilation, take))


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_norm_over_the_whole_map(groups, dilation):
    x = noise(2, 6, 9, 10) * 3 + 1
    weight, bias = noise(6, seed=1), noise(6, seed=2)
    ours = runtime.norm_context(x, weight, bias, 0.01, groups, (4, 4), dilation, False)
    for i, j in product(*map(range, dilation)):
        cells = (..., slice(i, None, dilation[0]), slice(j, None, dilation[1]))
        assert_same(ours[cells], F.group_norm(x[cells], groups, weight, bias, 0.01))


def test_a_norm_of_single_cells():
    x = noise(2, 6, 3, 4)
    ours = runtime.norm_context(x, None, None, 1e-5, 2, (1, 1), (1, 1), True)
    each = x.permute(0, 2, 3, 1).reshape(-1, 6)
    by_hand = F.group_norm(each, 2).reshape(2, 3, 4, 6).permute(0, 3, 1, 2)
    assert_same(ours, by_hand)


def test_a_norm_of_large_numbers_is_precise():
    x = noise(1, 4, 9, 9)
    ours = runtime.norm_context(x + 1e5, None, None, 1e-5, 2, (4, 4), (1, 1), True)
    theirs = runtime.norm_context(x, None, None, 1e-5, 2, (4, 4), (1, 1), True)
    assert float((ours - theirs).abs().max()) < 1e-8
