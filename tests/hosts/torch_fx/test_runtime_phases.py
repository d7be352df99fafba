"""Phases of a map: where they lie in the batch, and padding of each as of a map of its own."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from fullconv.hosts.torch_fx import runtime
from networks import noise

CASES = [
    ((8,), (2,)),
    ((7,), (3,)),
    ((6, 8), (2, 4)),
    ((7, 5), (2, 3)),
    ((7, 5), (1, 3)),
    ((4, 5, 6), (2, 2, 2)),
    ((4, 5, 7), (3, 1, 2)),
    ((2, 3), (3, 4)),
]


@pytest.mark.parametrize(("cells", "phases"), CASES)
def test_every_phase_is_a_map_of_its_own(cells, phases):
    """The phases of the first axis come slowest, the images last."""
    x = noise(2, 3, *cells)
    y = runtime.rephased(x, (1,) * len(cells), phases)
    sizes = [-(-n // p) for n, p in zip(cells, phases, strict=True)]
    assert list(y.shape[1:]) == [3, *sizes]
    for place, phase in enumerate(product(*map(range, phases))):
        part = x[(..., *(slice(first, None, p) for first, p in zip(phase, phases, strict=True)))]
        ours = y[2 * place : 2 * place + 2]
        there = tuple(slice(n) for n in part.shape[2:])
        assert torch.equal(ours[(..., *there)], part)
        missing = [s - n for s, n in zip(sizes, part.shape[2:], strict=True)]
        wide = F.pad(part, [n for gap in reversed(missing) for n in (0, gap)])
        assert torch.equal(ours, wide)  # what is missing is zero


@pytest.mark.parametrize(("cells", "phases"), CASES)
def test_there_and_back(cells, phases):
    x = noise(2, 3, *cells)
    one = (1,) * len(cells)
    again = runtime.rephased(runtime.rephased(x, one, phases), phases, one)
    assert torch.equal(again[(..., *(slice(n) for n in cells))], x)
    rest = again.abs().sum() - x.abs().sum()
    assert float(rest.abs()) < 1e-9


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 13))
def test_phases_of_phases(first, second, third, cells):
    """In two steps as in one, and back as far as before."""
    x = noise(2, 1, cells * 3, 5)
    half = runtime.rephased(x, (1, 1), (first, third))
    whole = runtime.rephased(half, (first, third), (first * second, third))
    straight = runtime.rephased(x, (1, 1), (first * second, third))
    size = straight.shape[2]
    assert torch.equal(whole[:, :, :size], straight)
    assert not whole[:, :, size:].any()
    again = runtime.rephased(whole, (first * second, third), (first, third))
    assert torch.equal(again[:, :, : half.shape[2]], half)


def test_one_axis_in_and_another_back():
    x = noise(2, 3, 8, 6)
    a = runtime.rephased(x, (1, 1), (2, 1))
    b = runtime.rephased(a, (2, 1), (1, 3))
    assert torch.equal(b, runtime.rephased(x, (1, 1), (1, 3)))


def test_nothing_to_move():
    x = noise(6, 3, 8, 6)
    assert torch.equal(runtime.rephased(x, (3, 1), (3, 1)), x)


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("amounts", [((1, 1), (2, 2)), ((2, 0), (0, 1)), ((0, 0), (1, 2))])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("cells", [(12, 12), (13, 17)])
def test_padding_of_every_phase(mode, amounts, dilation, cells):
    x = noise(2, 3, *cells)
    value = 0.7 if mode == "constant" else 0.0
    ours = runtime.pad_phases(x, amounts, (0, 0), mode, value, dilation)
    flat = [n for pair in reversed(amounts) for n in pair]
    for phase in product(*map(range, dilation)):
        spans = (..., *(slice(i, None, d) for i, d in zip(phase, dilation, strict=True)))
        keywords = {"value": value} if mode == "constant" else {}
        assert torch.equal(ours[spans], F.pad(x[spans], flat, mode, **keywords))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_of_channels(dims):
    x = noise(2, 3, *(4, 5, 6)[:dims])
    ours = runtime.pad_phases(x, ((0, 0),) * dims, (1, 2), "constant", 0.5, (2,) * dims)
    assert torch.equal(ours, F.pad(x, [0, 0] * dims + [1, 2], value=0.5))


def test_padding_with_constants_may_cut():
    x = noise(1, 2, 9)
    ours = runtime.pad_phases(x, ((-1, 1),), (0, 0), "constant", 0.0, (2,))
    for phase in (0, 1):
        # The trailing cells of the phases need not be as many.
        part = F.pad(x[..., phase::2], (-1, 1))
        assert torch.equal(ours[..., phase::2], part)


def test_repeated_cells():
    x = noise(2, 3, 4, 5)
    assert torch.equal(runtime.repeated(x, (2, 3)), F.interpolate(x, scale_factor=(2.0, 3.0)))
    assert torch.equal(runtime.repeated(x, (1, 1)), x)
    line = noise(2, 3, 4)
    assert torch.equal(runtime.repeated(line, (3,)), F.interpolate(line, scale_factor=3.0))
    block = noise(2, 3, 4, 2, 3)
    twice = F.interpolate(block, scale_factor=(1.0, 2.0, 2.0))
    assert torch.equal(runtime.repeated(block, (1, 2, 2)), twice)
