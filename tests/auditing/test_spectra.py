"""Singular values against those of PyTorch, and those of random numbers."""

from __future__ import annotations

import pytest
import torch

from fullconv.auditing.weights import spectra
from fullconv.auditing.weights.spectra import random_rank, spectrum
from networks import noise


def falling(out: int, into: int, power: float = 1.0) -> torch.Tensor:
    """A weight whose singular values are 1, 1/2, 1/3 … to a power."""
    short = min(out, into)
    left = torch.linalg.qr(noise(out, short)).Q
    right = torch.linalg.qr(noise(into, short, seed=1)).Q
    return left * torch.arange(1.0, short + 1).double() ** -power @ right.T


@pytest.mark.parametrize(("out", "into"), [(20, 50), (50, 20), (30, 30), (1, 7)])
def test_all_of_a_small_weight(out, into):
    weight = noise(out, into)
    found = spectrum(weight, 60)
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    assert found.is_exact
    assert found.of_inputs == (out > into)
    assert torch.allclose(found.squares, values**2, rtol=1e-10)
    assert found.total == pytest.approx(float((values**2).sum()), rel=1e-12)
    theirs = right.T if found.of_inputs else left
    assert torch.allclose((theirs.T @ found.vectors).abs(), torch.eye(min(out, into)).double())
    for kept in (0.5, 0.9, 0.99):
        shares = (values**2).cumsum(0) / (values**2).sum()
        least = next(rank for rank, share in enumerate(shares, 1) if share >= kept)
        assert found.rank(kept) == least
        assert found.share(least) == pytest.approx(float(shares[least - 1]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_weight_of_known_rank(dtype):
    weight = (noise(40, 5) @ noise(5, 60, seed=1)).to(dtype)
    found = spectrum(weight, 60)
    rounding = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-4}[dtype]
    assert 1 - found.share(5) <= rounding
    assert found.share(4) < 0.99
    assert found.rank(0.999) == 5
    assert found.rank(1.0) is not None


@pytest.fixture
def few(monkeypatch):
    """Large weights are those of more than 50 rows."""
    monkeypatch.setattr(spectra, "LARGEST", 40)
    monkeypatch.setattr(spectra, "BESIDE", 10)


@pytest.mark.parametrize(("out", "into"), [(120, 200), (200, 120)])
def test_the_largest_of_a_large_weight(out, into, few):
    weight = falling(out, into)
    found = spectrum(weight, 60)
    values = torch.linalg.svdvals(weight)
    assert not found.is_exact
    assert found.vectors.shape == (120, 40)
    assert torch.allclose(found.squares[:20], values[:20] ** 2, rtol=1e-4)
    assert torch.allclose(found.squares, values[:40] ** 2, rtol=0.1)
    assert (found.squares <= values[:40] ** 2 * (1 + 1e-10)).all()  # never overrated
    assert found.total == pytest.approx(float((values**2).sum()), rel=1e-12)
    assert torch.allclose(found.vectors.T @ found.vectors, torch.eye(40).double(), atol=1e-10)
    shares = (values**2).cumsum(0) / (values**2).sum()
    assert found.rank(0.9) == int((shares < 0.9).sum()) + 1


def test_what_a_rank_keeps_is_what_its_directions_keep(few):
    weight = noise(120, 200)
    found = spectrum(weight, 60)
    for rank in (1, 17, 40):
        kept = (found.vectors[:, :rank].T @ weight).square().sum() / weight.square().sum()
        assert found.share(rank) == pytest.approx(float(kept), rel=1e-9)


def test_a_rank_beyond_what_was_found(few):
    found = spectrum(noise(120, 200), 60)
    assert found.share(40) < 0.9
    assert found.rank(0.9) is None


def test_the_same_every_time(few):
    weight = noise(120, 200)
    assert torch.equal(spectrum(weight, 60).squares, spectrum(weight, 60).squares)


def test_too_little_time(monkeypatch):
    monkeypatch.setattr(spectra, "BLOCK", 10)
    found = spectrum(noise(40, 60), 1e-9)
    assert isinstance(found, float)
    assert found > 1e-9


@pytest.mark.parametrize(("short", "long"), [(300, 700), (300, 300), (100, 5000)])
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
def test_the_rank_of_random_numbers(short, long, kept):
    shares = torch.linalg.svdvals(noise(short, long)).square().cumsum(0)
    measured = int((shares < kept * shares[-1]).sum()) + 1
    assert abs(random_rank(short, long, kept) - measured) <= 0.015 * short
