"""Finer maps: which strides there are, what they cost, and what a cell sees."""

import json

import pytest
import torch
from torch import nn

import fullconv
from audited import excited, lenet, quiet, small, strided
from fullconv.api.costs import macs
from fullconv.auditing.costs import strides as strides_
from fullconv.auditing.costs.strides import finer, measure, outside
from fullconv.auditing.measuring.timing import Deadline
from networks import Net

MIB = 2**20


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ((32,), [(32,), (16,), (8,), (4,), (2,), (1,)]),
        ((12, 12), [(12, 12), (6, 6), (3, 3), (1, 1)]),
        ((9, 4), [(9, 4), (3, 2), (1, 1)]),
        ((5, 1), [(5, 1), (1, 1)]),
        ((35,), [(35,), (7,), (1,)]),
        ((1, 1), [(1, 1)]),
    ],
)
def test_strides_are_divided_by_their_smallest_divisors(native, expected):
    assert finer(native) == expected


@pytest.fixture(scope="module")
def strides():
    model = lenet()
    return measure(model, fullconv.convert(model, 28), seconds=300, say=quiet)


def dilated_lenet_macs(side: int, stride: int) -> int:
    """Every layer by itself: a pool that no longer steps spreads what follows."""
    total, dilation, step = 0, 1, 1
    cells = side - 4
    total += 150 * cells**2
    for kernel, work in ((5, 2400), (4, 256 * 120)):
        step *= 2  # the pool before it: its steps up to `stride` stay, others become dilation
        cells -= dilation  # its kernel of two cells
        if step <= stride:
            cells = cells // 2 + 1
        else:
            dilation *= 2
        cells -= (kernel - 1) * dilation
        total += work * cells**2
    return total + (120 * 84 + 84 * 10) * cells**2


def test_every_stride_is_counted(strides):
    assert [row.stride for row in strides.rows] == [(4, 4), (2, 2), (1, 1)]
    assert strides.size == (56, 56)
    window = dilated_lenet_macs(28, 4)
    assert window == 281_640
    for row in strides.rows:
        stride = row.stride[0]
        assert row.cells == (28 // stride + 1) ** 2
        assert row.macs == dilated_lenet_macs(56, stride)
        assert row.ceiling == pytest.approx(row.cells * window / row.macs)
        assert row.limit > row.ceiling
        assert row.bytes < row.needed <= strides.allowed
    assert strides.field == (28, 28)
    assert strides.outside == 0
    json.dumps(strides.to_dict())


def test_every_stride_of_a_small_network_is_timed(strides):
    native, *others = strides.rows
    assert native.seconds is not None
    assert native.slower is None
    for row in others:
        assert row.seconds is not None
        assert row.slower is not None
        assert row.slower.median > 0
    assert others[-1].slower.median > 1  # six times the MACs
    assert strides.rounds >= 1


def test_strides_that_are_no_powers_of_two():
    model = strided(3, 2, 2)
    found = measure(model, fullconv.convert(model, 24), seconds=300, say=quiet)
    assert [row.stride[0] for row in found.rows] == [12, 6, 3, 1]
    assert [row.cells for row in found.rows] == [
        (24 // stride + 1) ** 2 for stride in (12, 6, 3, 1)
    ]
    for row in found.rows:
        fcn = fullconv.convert(model, 24, stride=row.stride)
        assert row.macs == macs(fcn, (1, 3, 48, 48))


def test_a_network_without_strides_has_one_row():
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 2)).eval()
    found = measure(model, fullconv.convert(model, 8), seconds=2, say=quiet)
    assert [row.stride for row in found.rows] == [(1, 1)]
    assert found.rows[0].seconds is not None


def test_what_a_cell_sees_outside_its_window():
    """Window 8; 3×3 at every px, then at every other px: 1 px and 2 px more on either side."""
    fcn = fullconv.convert(small(), 8)
    assert fcn.receptive_field == (14, 14)
    assert outside(fcn.plan) == pytest.approx(1 - 8 * 8 / 14**2)
    assert outside(fullconv.convert(small(1), 8).plan) == pytest.approx(1 - 8 / 14)
    assert outside(fullconv.convert(strided(2, 2), 8).plan) == 0


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims):
    model = small(dims)
    found = measure(model, fullconv.convert(model, 8), seconds=300, say=quiet)
    assert [row.stride for row in found.rows] == [(n,) * dims for n in (4, 2, 1)]
    assert [row.cells for row in found.rows] == [n**dims for n in (3, 5, 9)]


def test_context_ops_keep_what_they_see():
    model = excited()
    for context in ("window", "image"):
        fcn = fullconv.convert(model, 8, context=context)
        found = measure(model, fcn, seconds=3, say=quiet)
        assert [row.stride for row in found.rows] == [(2, 2), (1, 1)]
        finer_ = fullconv.convert(model, 8, stride=1, context=context)
        assert found.rows[1].macs == macs(finer_, (1, 3, 16, 16))


def test_what_does_not_fit_is_counted_only():
    model = small()
    found = measure(model, fullconv.convert(model, 8), max_memory=1, seconds=3, say=quiet)
    assert (found.allowed, found.given) == (1, True)
    assert all(row.seconds is None for row in found.rows)
    assert [row.cells for row in found.rows] == [9, 25, 81]


def test_a_stride_that_is_refused_is_told():
    """A map that was enlarged has its stride back, and cannot have a finer one."""
    model = Net(
        lambda m, x: m.fc(m.up(m.pool(m.conv(x))).flatten(1)),
        conv=nn.Conv2d(3, 2, 3, padding=1), pool=nn.MaxPool2d(4), up=nn.Upsample(scale_factor=2),
        fc=nn.Linear(2 * 16, 2),
    ).eval()  # fmt: skip
    fcn = fullconv.convert(model, 8)
    reasons = []
    for stride in finer(fcn.plan.native_stride)[1:]:
        try:
            fullconv.convert(model, 8, stride=stride)
        except fullconv.RefusedError as error:
            reasons.append(str(error).replace("\n", " "))
    found = measure(model, fcn, seconds=3, say=quiet)
    assert reasons
    assert len(found.refused) == len(reasons)
    assert all(reason in said for reason, said in zip(reasons, found.refused, strict=True))
    assert found.rows[0].stride == fcn.stride
    assert torch.is_tensor(fcn(torch.zeros(1, 3, 16, 16)))


def test_the_first_strides_are_timed_before_finer_ones_are_counted():
    model, said = strided(2, 2, 2), []
    measure(model, fullconv.convert(model, 16), seconds=300, say=said.append)
    first = next(place for place, line in enumerate(said) if line.startswith("stride: "))
    counted = [place for place, line in enumerate(said) if line.endswith(": counting")]
    assert [said[place] for place in counted] == [f"stride {n}×{n}: counting" for n in (8, 4, 2, 1)]
    assert counted[2] < first < counted[3]


def test_what_takes_little_is_timed_however_late_it_is(monkeypatch):
    """Counting alone may take all the seconds."""
    model = lenet()
    fcn = fullconv.convert(model, 28)
    monkeypatch.setattr(strides_, "Deadline", lambda seconds: Deadline(0))
    found = measure(model, fcn, seconds=100, say=quiet)
    assert all(row.seconds is not None and row.foreseen is None for row in found.rows)
    assert all(row.slower is not None for row in found.rows[1:])


def test_finer_strides_are_compared_with_the_native_one_of_their_own_rounds():
    model = strided(2, 2, 2)
    found = measure(model, fullconv.convert(model, 16), seconds=300, say=quiet)
    assert [row.stride[0] for row in found.rows] == [8, 4, 2, 1]
    assert all(row.slower is not None for row in found.rows[1:])
    assert all(row.slower.count == row.seconds.count for row in found.rows[1:])
