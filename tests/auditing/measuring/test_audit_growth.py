"""Growth: what is counted against closed forms, what is timed for having been timed."""

import copy
import json
import math

import pytest
import torch
from torch import nn

import fullconv
from audited import excited, lenet, quiet, small
from fullconv.auditing.costs.grown import WAYS, exponent
from fullconv.auditing.costs.growth import measure, sizes_of

MIB = 2**20


def test_sizes_are_whole_strides_above_the_window():
    fcn = fullconv.convert(lenet(), 28)
    assert sizes_of(fcn) == [(28, 28), (40, 40), (56, 56), (112, 112)]
    assert sizes_of(fcn, [(31, 45), (100, 28), (28, 28)]) == [(28, 28), (28, 44), (100, 28)]
    with pytest.raises(fullconv.InputError, match="27×40 px, smaller than the 28×28 window"):
        sizes_of(fcn, [(27, 40)])


def test_cells_of_a_size_that_was_cut_are_those_it_had():
    fcn = fullconv.convert(lenet(), 28)
    for side in range(28, 60):
        cut = sizes_of(fcn, [(side, side)])[-1]
        assert fcn.grid(cut).shape == fcn.grid((side, side)).shape


def lenet_macs(side: int) -> int:
    first, second = side - 4, (side - 4) // 2 - 4
    head = (256 * 120 + 120 * 84 + 84 * 10) * (second // 2 - 3) ** 2
    return 150 * first**2 + 2400 * second**2 + head


@pytest.fixture(scope="module")
def grown():
    """LeNet, with seconds enough for all of it."""
    model = lenet().train()
    before = copy.deepcopy(model.state_dict())
    fcn = fullconv.convert(model, 28)
    found = measure(model, fcn, seconds=300, say=quiet)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    return found


def test_macs_cells_and_ceilings(grown):
    for row, side in zip(grown.rows, (28, 40, 56, 112), strict=True):
        cells = ((side - 28) // 4 + 1) ** 2
        assert (row.size, row.cells, row.pixels, row.side) == ((side, side), cells, side**2, side)
        assert row.macs == lenet_macs(side)
        assert row.crop_macs == cells * lenet_macs(28)
        assert row.ceiling == pytest.approx(cells * lenet_macs(28) / lenet_macs(side))
    each = 150 + 2400 / 4 + (256 * 120 + 120 * 84 + 84 * 10) / 16
    assert grown.limit == pytest.approx(lenet_macs(28) / 16 / each)


def test_everything_was_timed(grown):
    for row in grown.rows:
        for way in WAYS:
            one = row.way(way)
            assert one.seconds is not None
            assert 0 < one.seconds.low <= one.seconds.median <= one.seconds.high
            assert (one.crops is None) == (one.speed_up is None) == (row.cells == 1)
            assert one.rounds >= 1
            assert one.seconds.count == one.rounds
            told = one.peak is not None and row.cells > 1  # where the system tells the one ...
            assert (one.crops_peak is not None) == told  # ... it tells the other
            assert one.foreseen is None
            assert 0 < one.counted < one.needed <= grown.allowed
    last = grown.rows[-1]
    # 484 crops, one by one or in batches, against a map that does a tenth of their MACs
    assert last.forward.speed_up.median > 1
    assert last.training.speed_up.median > 1
    assert last.training.seconds.median > last.forward.seconds.median
    assert set(grown.batches) == set(WAYS)
    assert all(1 <= batch <= 32 for batch in grown.batches.values())
    assert grown.gradients == 4 * 44_426
    json.dumps(grown.to_dict())
    assert grown.to_dict()["rows"][0]["ceiling"] == 1


def test_exponents_of_a_law_are_found():
    points = [(x, 3 * x**1.7) for x in (10, 15, 40)]
    assert exponent(points) == pytest.approx(1.7)
    assert exponent(points[:1]) is None
    assert exponent([points[0], points[0]]) is None
    assert exponent([(10, 2), (20, None), (40, 8)]) == pytest.approx(1)


def test_macs_grow_as_the_area_does_and_with_a_head_faster():
    """A network of convolutions alone; from a large window on, borders hardly count."""
    body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    fcn = fullconv.convert(model, 8)
    found = measure(model, fcn, sizes=[(16, 16), (32, 32)], seconds=2, say=quiet)
    assert found.exponents["macs"] == pytest.approx(2)
    lenet_ = fullconv.convert(lenet(), 28)
    small_ = measure(lenet(), lenet_, sizes=[(56, 56)], seconds=1, say=quiet)
    assert small_.exponents["macs"] > 2.5
    slope = math.log(lenet_macs(56) / lenet_macs(28)) / math.log(2)
    assert small_.exponents["macs"] == pytest.approx(slope)


def test_a_size_that_does_not_fit_is_counted_and_the_rest_goes_on():
    layers = [nn.Conv2d(3, 8, 1), *(nn.Conv2d(8, 8, 1) for _ in range(7))]
    deep = [part for layer in layers for part in (layer, nn.ReLU())]
    model = nn.Sequential(*deep, nn.Flatten(), nn.Linear(8 * 64, 5)).eval()
    fcn = fullconv.convert(model, 8)
    found = measure(
        model, fcn, sizes=[(32, 32), (480, 480), (2048, 2048)], max_memory=100 * MIB, seconds=300,
        say=quiet,
    )  # fmt: skip
    window, middle, large, huge = found.rows
    assert (found.allowed, found.given) == (100 * MIB, True)
    for row in (window, middle):
        assert row.forward.fits
        assert row.training.fits
        assert row.forward.seconds is not None
        assert row.training.seconds is not None
    assert (large.forward.fits, large.training.fits) == (True, False)
    assert large.forward.seconds is not None
    assert large.training.seconds is None
    assert large.training.needed > 100 * MIB
    assert (huge.forward.fits, huge.training.fits) == (False, False)
    assert huge.forward.needed > 100 * MIB
    assert huge.forward.seconds is huge.training.seconds is None
    assert huge.macs > 0
    assert huge.forward.counted > 2048 * 2048 * 4 * 8


def test_no_seconds_leave_what_takes_long():
    """A network whose pass takes more than there is: counted, with what it would take."""
    model = nn.Sequential(
        nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), nn.Conv2d(64, 64, 5, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3),
    ).eval()  # fmt: skip
    fcn = fullconv.convert(model, 16)
    found = measure(model, fcn, sizes=[(2048, 2048)], seconds=0.2, say=quiet)
    last = found.rows[-1]
    assert last.macs == 2048**2 * (64 * 75 + 64 * 64 * 25) + (2048 - 15) ** 2 * 64 * 3
    assert last.forward.seconds is last.training.seconds is None
    assert last.training.foreseen > 0.1


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims):
    model = small(dims)
    fcn = fullconv.convert(model, 8)
    found = measure(model, fcn, seconds=300, say=quiet)
    assert [row.size for row in found.rows] == [(side,) * dims for side in (8, 12, 16, 32)]
    assert [row.cells for row in found.rows] == [n**dims for n in (1, 2, 3, 7)]
    for row in found.rows:
        assert row.forward.seconds is not None
        assert row.training.seconds is not None
    # 3 → 6 channels at every px, 6 → 8 at half of them per axis, 8·2^dims → 5 for every cell
    side, half = 32, 16
    taps = 3**dims
    assert found.rows[-1].macs == (
        18 * taps * side**dims + 48 * taps * half**dims + 8 * 2**dims * 5 * 7**dims
    )


def test_context_ops_see_the_window():
    model = excited()
    fcn = fullconv.convert(model, 8)
    found = measure(model, fcn, seconds=300, say=quiet)
    assert all(row.training.seconds is not None for row in found.rows)
    # The classifier squeezes once; the FCN at each of its cells, which have windows of their own.
    conv, squeeze, fc = 4 * 27 * 16, 4 * 4, 64 * 5
    assert found.rows[0].ceiling == (conv + squeeze + fc) / (conv + 16 * squeeze + fc)


def test_an_oblong_size_has_the_side_of_its_area():
    model = small()
    found = measure(model, fullconv.convert(model, 8), sizes=[(16, 36)], seconds=2, say=quiet)
    assert found.rows[-1].side == pytest.approx(24)


def test_double_precision_stays():
    model = small().double()
    found = measure(model, fullconv.convert(model, 8), sizes=[(16, 16)], seconds=3, say=quiet)
    assert found.gradients == 8 * sum(p.numel() for p in model.parameters())
    assert found.rows[-1].forward.seconds is not None
