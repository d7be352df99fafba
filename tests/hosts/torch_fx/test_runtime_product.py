"""A head on a small map as a matrix product: the sums of a convolution, written out."""

from itertools import product as pairs

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import assert_same, crop_map
from fullconv.hosts.torch_fx.runtime import ProductConv
from fullconv.hosts.torch_fx.runtime import product as module
from networks import noise, ready


def by_hand(x, weight, bias, dilation):
    """Every cell: the sum of all taps, one by one."""
    out, _, *taps = weight.shape
    cells = [n - d * (k - 1) for n, k, d in zip(x.shape[2:], taps, dilation, strict=True)]
    y = x.new_zeros(len(x), out, *cells)
    for cell in pairs(*map(range, cells)):
        total = torch.zeros(out, dtype=x.dtype) if bias is None else bias
        total = total.expand(len(x), out).clone()
        for tap in pairs(*map(range, taps)):
            at = tuple(i + d * t for i, d, t in zip(cell, dilation, tap, strict=True))
            total += x[(slice(None), slice(None), *at)] @ weight[(slice(None), slice(None), *tap)].T
        y[(slice(None), slice(None), *cell)] = total
    return y


@pytest.fixture
def convolutions(monkeypatch) -> list:
    """Which convolutions are called."""
    called = []
    for name in ("conv2d", "conv3d"):
        function = getattr(F, name)
        monkeypatch.setattr(
            module.F, name, lambda *a, f=function, **k: called.append(f) or f(*a, **k)
        )
    return called


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("last", [True, False], ids=["channels last", "contiguous"])
def test_a_small_map_is_one_product(dims, bias, last, convolutions):
    taps, dilation, space = (3, 2, 1)[:dims], (2, 1, 2)[:dims], (7, 5, 2)[:dims]
    kind = (nn.Conv2d, nn.Conv3d)[dims - 2]
    conv = kind(4, 5, taps, dilation=dilation, bias=bias).double()
    x = noise(2, 4, *space)
    if last:
        form = (torch.channels_last, torch.channels_last_3d)[dims - 2]
        conv, x = conv.to(memory_format=form), x.to(memory_format=form)
    with torch.no_grad():
        assert_same(ProductConv(conv)(x), by_hand(x, conv.weight, conv.bias, dilation))
    assert convolutions == []


@pytest.mark.parametrize(
    ("shape", "convolved"),
    [
        ((1, 2, 18, 18), False),  # 256 cells
        ((1, 2, 19, 18), True),
        ((1, 2, 3, 3), False),
        ((4, 2, 3, 3), True),  # windows, one cell each
        ((4, 2, 4, 3), False),
    ],
)
def test_large_maps_and_batches_of_windows_stay_convolutions(shape, convolved, convolutions):
    conv = ProductConv(nn.Conv2d(2, 3, 3).double())
    x = noise(*shape)
    with torch.no_grad():
        found = conv(x)
        assert bool(convolutions) is convolved
        assert_same(found, by_hand(x, conv.weight, conv.bias, (1, 1)))


def test_vectors_of_a_batch_are_a_product(convolutions):
    conv = ProductConv(nn.Conv2d(2, 3, 1).double())
    x = noise(4, 2, 1, 1)
    with torch.no_grad():
        assert_same(conv(x), by_hand(x, conv.weight, conv.bias, (1, 1)))
    assert convolutions == []


def head() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(4 * 3 * 3, 6), nn.ReLU(), nn.Linear(6, 5),
    )  # fmt: skip


@pytest.mark.parametrize(("stride", "size"), [(2, (7, 7)), (1, (20, 15)), (1, (30, 31))])
def test_an_optimized_head_is_the_classifier_on_every_crop(stride, size):
    model, image = ready(head()), noise(1, 3, *size)
    fast = fullconv.convert(model, 7, stride=stride).optimize()
    assert fast.optimization.products == 2
    assert_same(fast(image), crop_map(model, image, (7, 7), (stride,) * 2))


def test_what_has_hooks_and_what_was_no_fully_connected_layer_stays():
    fcn = fullconv.convert(ready(head()), 7)
    fcn.get_submodule("5").register_forward_hook(lambda module, given, out: out)
    fast = fcn.optimize()
    assert fast.optimization.products == 1
    kinds = [type(fast.get_submodule(name)) for name in ("0", "3", "5")]
    assert kinds == [nn.Conv2d, ProductConv, nn.Conv2d]
    assert type(fcn.get_submodule("3")) is nn.Conv2d
