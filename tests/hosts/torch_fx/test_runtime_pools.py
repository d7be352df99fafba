"""Pools that pad unevenly or are dilated, and boxes, against plain loops."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from by_hand import assert_same
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.runtime.pools import padded, taps
from networks import noise

SIZES = (9, 8, 7)


def loops(x, kernel, stride, pairs, dilation, take):
    """`take(cells, inside)` of every window: what it sees, and which of that is image."""
    dims = len(kernel)
    size = x.shape[2:]
    counts = [
        (n + low + high - d * (k - 1) - 1) // s + 1
        for n, (low, high), k, s, d in zip(size, pairs, kernel, stride, dilation, strict=True)
    ]
    out = x.new_zeros(*x.shape[:2], *counts)
    for cell in product(*map(range, counts)):
        places = [
            [cell[a] * stride[a] - pairs[a][0] + tap * dilation[a] for tap in range(kernel[a])]
            for a in range(dims)
        ]
        seen = list(product(*places))
        inside = [at for at in seen if all(0 <= i < n for i, n in zip(at, size, strict=True))]
        out[(..., *cell)] = take([x[(..., *at)] for at in inside], seen)
    return out


SETTINGS = {
    "plain": {"kernel": 3, "stride": 2, "pairs": (0, 0), "dilation": 1},
    "padded": {"kernel": 3, "stride": 2, "pairs": (1, 1), "dilation": 1},
    "uneven": {"kernel": 3, "stride": 1, "pairs": (0, 1), "dilation": 1},
    "uneven before": {"kernel": 2, "stride": 2, "pairs": (1, 0), "dilation": 1},
    "dilated": {"kernel": 2, "stride": 1, "pairs": (0, 0), "dilation": 3},
    "dilated, padded": {"kernel": 3, "stride": 1, "pairs": (2, 2), "dilation": 2},
    "dilated, uneven, stepping": {"kernel": 3, "stride": 2, "pairs": (1, 3), "dilation": 2},
    "more than half a kernel": {"kernel": 4, "stride": 1, "pairs": (3, 2), "dilation": 1},
}


def spread(name: str, dims: int):
    """The arguments of a setting, every axis alike but the last, which is left plain."""
    one = SETTINGS[name]
    return tuple(
        (one[key],) * (dims - 1) + ((one if dims == 1 else SETTINGS["plain"])[key],)
        for key in ("kernel", "stride", "pairs", "dilation")
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_max_pool(name, dims):
    arguments = spread(name, dims)
    x = noise(2, 2, *SIZES[:dims]) - 3  # zeros would win
    by_hand = loops(x, *arguments, lambda cells, seen: torch.stack(cells).amax(0))
    assert_same(runtime.max_pool(x, *arguments), by_hand)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_average_pool_counts_what_it_is_told(name, dims):
    arguments = spread(name, dims)
    pairs = arguments[2]
    x = noise(2, 2, *SIZES[:dims])

    def inside_only(cells, seen):
        return sum(cells) / len(cells)

    def with_padding(cells, seen):
        return sum(cells) / len(seen)

    def divided(cells, seen):
        return sum(cells) / 5

    for counted, divisor, take in (
        ((), None, inside_only),
        (pairs, None, with_padding),
        (pairs, 5, divided),
        ((), 5, divided),
    ):
        ours = runtime.average_pool(x, *arguments, counted, divisor)
        assert_same(ours, loops(x, *arguments, take))


@pytest.mark.parametrize("counted", [(0, 0), (1, 0), (0, 1), (2, 1)])
def test_padding_of_which_some_counts(counted):
    """As a padding layer before the pool does, whose cells are cells."""
    x = noise(2, 3, 9)
    ours = runtime.average_pool(x, (3,), (1,), ((2, 1),), (1,), (counted,))
    low, high = counted
    wide = F.pad(x, (low, high))

    def take(cells, seen):
        there = [at for (at,) in seen if -low <= at < 9 + high]
        return sum(cells) / len(there)

    assert_same(ours, loops(x, (3,), (1,), ((2, 1),), (1,), take))
    rest = ((2 - low, 1 - high),)
    assert_same(ours, runtime.average_pool(wide, (3,), (1,), rest, (1,), ()))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("include", [True, False])
def test_average_pool_is_pytorchs_where_that_has_one(dims, include):
    x = noise(2, 3, *SIZES[:dims])
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
    pairs = ((1, 1),) * dims
    counted = pairs if include else ()
    ours = runtime.average_pool(x, (3,) * dims, (2,) * dims, pairs, (1,) * dims, counted)
    assert_same(ours, pool(x, 3, 2, 1, count_include_pad=include))


REDUCTIONS = {
    "average": lambda cells: cells.mean(0),
    "max": lambda cells: cells.amax(0),
    "min": lambda cells: cells.amin(0),
    "sum": lambda cells: cells.sum(0),
    "norm": lambda cells: cells.square().sum(0).sqrt(),
    "variance": lambda cells: cells.var(0, correction=0),
    "sample variance": lambda cells: cells.var(0),
}


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("kind", REDUCTIONS)
def test_boxes(kind, dims):
    x = noise(2, 2, *SIZES[:dims])
    for kernel, dilation in (((3, 2, 4), (1, 1, 1)), ((2, 3, 1), (3, 2, 2)), ((9, 8, 7), (1,) * 3)):
        sizes = kernel[:dims], (1,) * dims, ((0, 0),) * dims, dilation[:dims]
        by_hand = loops(x, *sizes, lambda cells, seen: REDUCTIONS[kind](torch.stack(cells)))
        assert_same(runtime.box(x, kind, kernel[:dims], dilation[:dims]), by_hand)


def test_variances_of_large_numbers_are_precise():
    """The variance is a difference of squares, which large numbers would drown."""
    x = noise(1, 2, 8, 8)
    ours = runtime.box(x + 1e6, "variance", (3, 3), (1, 1))
    theirs = runtime.box(x, "variance", (3, 3), (1, 1))
    assert float((ours - theirs).abs().max()) < 1e-8


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1))
def test_taps(kernel, stride, dilation, axis):
    x = noise(1, 2, 14, 13)
    seen = taps(x, axis + 2, kernel, stride, dilation)
    assert len(seen) == kernel
    wide = x if axis else x.transpose(2, 3)
    windows = wide.unfold(3, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    for tap, part in enumerate(seen):
        assert part.data_ptr() >= x.data_ptr()  # a view
        assert torch.equal(part if axis else part.transpose(2, 3), windows[..., tap])


def test_padding_may_be_negative():
    x = noise(1, 1, 5, 6)
    cut = padded(x, ((-1, 2), (0, -3)), 7.0)
    assert torch.equal(cut[:, :, :4], x[:, :, 1:, :3])
    assert bool((cut[:, :, 4:] == 7).all())
    assert cut.shape == (1, 1, 6, 3)
    assert padded(x, ((0, 0), (0, 0))) is x
