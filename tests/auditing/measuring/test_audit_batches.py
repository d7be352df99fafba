"""Images of different sizes: passes and px counted, maps of padded ones against their own."""

import json
import math

import pytest
import torch
from torch import nn

import fullconv
from audited import excited, lenet, quiet, small
from fullconv.api.costs import macs
from fullconv.api.memory import Budget
from fullconv.auditing.costs.batches import drawn_sizes, measure
from fullconv.auditing.costs.calls import COUNTS
from networks import noise

MIB = 2**20


def test_sizes_are_drawn_between_one_window_and_two():
    for seed in range(20):
        sizes = drawn_sizes((224, 160), 16, seed)
        assert len(sizes) == 16
        assert sizes[0] == sizes[2]
        assert 1 < len(set(sizes)) <= 5
        assert all(224 <= rows <= 448 and 160 <= cols <= 320 for rows, cols in sizes)
    assert drawn_sizes((64,), 4) == drawn_sizes((64,), 16)[:4]


@pytest.fixture(scope="module")
def lenets():
    fcn = fullconv.convert(lenet(), 28)
    return fcn, measure(fcn, seconds=300, say=quiet)


def test_px_and_passes_are_counted(lenets):
    fcn, found = lenets
    assert found.noise
    assert len(found.sizes) == COUNTS[0]
    assert found.sizes == tuple(drawn_sizes((28, 28), COUNTS[0]))
    assert found.largest == (max(r for r, _ in found.sizes), max(c for _, c in found.sizes))
    assert found.pixels == sum(r * c for r, c in found.sizes)
    assert found.wasted == pytest.approx(
        1 - found.pixels / (len(found.sizes) * math.prod(found.largest))
    )
    single, bucketed, padded = found.ways
    assert [way.name for way in found.ways] == ["single", "bucketed", "padded"]
    assert (single.passes, bucketed.passes, padded.passes) == (16, len(set(found.sizes)), 1)
    assert single.macs == bucketed.macs == sum(macs(fcn, (1, 1, *size)) for size in found.sizes)
    assert padded.macs == 16 * macs(fcn, (1, 1, *found.largest))


def test_all_ways_were_timed(lenets):
    _, found = lenets
    for way in found.ways:
        assert way.seconds is not None
        assert 0 < way.seconds.low <= way.seconds.median
        assert (way.ratio is None) == (way.name == "single")
    written = found.to_dict()["ways"][0]
    assert written["images_per_second"] == pytest.approx(16 / found.ways[0].seconds.median)
    assert written["pixels_per_second"] == pytest.approx(
        found.pixels / found.ways[0].seconds.median
    )
    json.dumps(found.to_dict())


def test_padding_is_no_other_map_where_nothing_pads(lenets):
    fcn, found = lenets
    padding = found.padding
    assert padding.cells == sum(len(fcn.grid(size)) for size in found.sizes)
    assert padding.touched == 0
    assert padding.largest == padding.elsewhere < 1e-5


def test_padding_is_another_map_where_layers_pad():
    """In float64, against maps made here: cells that see the zeros differ, and no others."""
    fcn = fullconv.convert(small().double(), 8)
    images = [noise(1, 3, *size, seed=n) for n, size in enumerate([(24, 21), (32, 40), (24, 21)])]
    found = measure(fcn, images, seconds=300, say=quiet)
    assert not found.noise
    assert found.sizes == ((24, 21), (32, 40), (24, 21))
    assert found.largest == (32, 40)
    assert found.buckets == 2
    largest, touched, cells, other = 0.0, 0, 0, 0
    for image in images:
        whole = torch.zeros(1, 3, 32, 40, dtype=torch.float64)
        whole[:, :, : image.shape[2], : image.shape[3]] = image
        with torch.no_grad():
            own, cut = fcn(image)[0], fcn(whole)[0]
        cut = cut[:, : own.shape[1], : own.shape[2]]
        largest = max(largest, float((cut - own).abs().max() / own.abs().max()))
        differ = ((cut - own).abs() > 1e-12).any(0)
        # Window 8, stride 4, 3 px seen after it: a cell is touched if it ends beyond the image.
        for row in range(own.shape[1]):
            for col in range(own.shape[2]):
                ends = 4 * row + 11, 4 * col + 11
                beyond = ends[0] > image.shape[2] or ends[1] > image.shape[3]
                touched += beyond
                assert beyond or not differ[row, col]
        cells += own[0].numel()
        other += int((cut.argmax(0) != own.argmax(0)).sum())
    padding = found.padding
    assert padding.cells == cells
    assert padding.touched == pytest.approx(touched / cells)
    assert padding.largest == pytest.approx(largest, rel=1e-6)
    assert padding.largest > 1e-3
    assert padding.elsewhere < 1e-12
    assert padding.other == pytest.approx(other / cells)


def test_an_op_that_sees_the_whole_image_sees_the_zeros_from_everywhere():
    images = [noise(1, 3, 8, 12).float(), noise(1, 3, 16, 16).float()]
    whole = measure(fullconv.convert(excited(), 8, context="image"), images, seconds=300, say=quiet)
    assert whole.padding.touched == 1
    assert whole.padding.elsewhere is None
    assert whole.padding.largest > 1e-4
    local = measure(fullconv.convert(excited(), 8), images, seconds=300, say=quiet)
    assert local.padding.touched < 1


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims):
    fcn = fullconv.convert(small(dims), 8)
    found = measure(fcn, seconds=300, say=quiet)
    assert all(way.seconds is not None for way in found.ways)
    assert found.padding is not None
    assert 0 < found.padding.touched <= 1


@pytest.mark.parametrize("count", [0, 1])
def test_sizes_are_drawn_where_there_are_fewer_than_two_images(count):
    fcn = fullconv.convert(small(), 8)
    found = measure(fcn, [torch.zeros(1, 3, 9, 9)] * count, seconds=300, say=quiet)
    assert found.noise
    assert not found.problem


def test_batches_are_bounded_by_the_memory():
    fcn = fullconv.convert(small(), 8)
    images = [torch.zeros(1, 3, 160, 160)] * 6
    fast = fcn.optimize()
    needed = [Budget(fast, 1 << 40).needed((160, 160), n) for n in (1, 2, 3)]
    found = measure(fcn, images, max_memory=(needed[1] + needed[2]) // 2, seconds=300, say=quiet)
    assert [way.passes for way in found.ways] == [6, 3, 3]


def test_images_that_do_not_fit_are_left_out():
    fcn = fullconv.convert(small(), 8)
    images = [torch.zeros(1, 3, side, 32) for side in (16, 4000, 20)]
    limit = (sum(Budget(fcn.optimize(), 1 << 40).needed((side, 32)) for side in (20, 4000))) // 2
    found = measure(fcn, images, max_memory=limit, seconds=300, say=quiet)
    assert found.sizes == ((16, 32), (20, 32))
    assert found.problem == "1 of 3 do not fit the memory"


def test_not_even_one_image_fits():
    found = measure(fullconv.convert(small(), 8), max_memory=1, seconds=2, say=quiet)
    assert (found.sizes, found.ways, found.padding, found.wasted) == ((), (), None, 0.0)
    json.dumps(found.to_dict())


def test_images_that_take_too_long_give_way_to_small_ones():
    model = nn.Sequential(
        nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), nn.Conv2d(64, 64, 5, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3),
    ).eval()  # fmt: skip
    images = [torch.zeros(1, 3, 1500, 1500)] * 2
    found = measure(fullconv.convert(model, 16), images, seconds=1.0, say=quiet)
    assert found.noise
    assert found.problem == "they would take too long at their own size"
    assert max(found.largest) <= 32
