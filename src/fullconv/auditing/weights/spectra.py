"""The singular values of a weight: how few directions hold most of it.

The best approximation of rank r keeps the r largest singular values, and what it keeps of the sum
of their squares is what it keeps of the weight (Eckart & Young 1936).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LARGEST = 1024
"""How many singular values are found of a weight that has more: a quarter of those of fc6."""

BESIDE = 64
"""Directions followed beside those, which make them more exact."""

ITERATIONS = 2
"""Products with the weight that sharpen the directions (Halko, Martinsson & Tropp 2011)."""

BLOCK = 512
"""Rows multiplied at a time."""

REST = 10
"""Work behind the products of rows with rows: so many products with the directions looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Squared singular values of a weight `(out, in)`, and the directions that belong to them.

    Attributes:
        squares: the largest ones, in float64, falling.
        vectors: singular vectors of the shorter side as columns, in the same order.
        total: the sum of all squares.
        of_inputs: whether that side is the inputs.
        is_exact: whether all were found; else the largest ones, by random projection.
    """

    squares: Tensor
    vectors: Tensor
    total: float
    of_inputs: bool
    is_exact: bool

    def rank(self, kept: float) -> int | None:
        """The least rank that keeps this share; None where more were needed than were found."""
        sums = self.squares.cumsum(0) / self.total
        reached = int((sums < kept).sum()) + 1
        # Of all of them a rounded sum may stay below 1.
        return min(reached, len(sums)) if reached <= len(sums) or self.is_exact else None

    def share(self, rank: int) -> float:
        """What a rank keeps."""
        return min(1.0, float(self.squares[:rank].sum()) / self.total)


def spectrum(weight: Tensor, seconds: float) -> Spectrum | float:
    """The singular values of `(out, in)`: all of a small weight, the largest of a large one.

    They are the roots of the eigenvalues of `W Wᵀ`, or `Wᵀ W` where that is smaller. Where it would
    take longer than it may, the seconds that it would take.
    """
    numbers = weight if weight.dtype == torch.float64 else weight.float()
    of_inputs = weight.shape[0] > weight.shape[1]
    rows = numbers.T if of_inputs else numbers  # (short, long)
    products = _products(rows, seconds)
    if isinstance(products, float):
        return products
    total = float(products.diagonal().double().sum())
    is_exact = len(rows) <= LARGEST + BESIDE
    if is_exact:
        values, vectors = torch.linalg.eigh(products)
    else:
        values, vectors = _largest(products)
    squares = values.double().clamp(min=0).flip(0)
    return Spectrum(squares, vectors.flip(1), total, of_inputs, is_exact)


def _products(rows: Tensor, seconds: float) -> Tensor | float:
    """`rows @ rows.T`, block by block; or the seconds that all would take, where those are more.

    All are the products and what is made of them.
    """
    count, length = rows.shape
    found = rows.new_empty(count, count)
    whole = 1 + REST * min(count, LARGEST + BESIDE) / length
    began = time.perf_counter()
    for first in range(0, count, BLOCK):
        found[first : first + BLOCK] = rows[first : first + BLOCK] @ rows.T
        done = min(count, first + BLOCK) / count
        foreseen = whole * (time.perf_counter() - began) / done
        if foreseen > seconds and done < 1:
            return foreseen
    return found


def _largest(products: Tensor) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues of a symmetric matrix and their vectors, rising, from random ones."""
    draw = torch.Generator().manual_seed(0)
    count = len(products)
    basis = torch.randn(count, LARGEST + BESIDE, generator=draw).to(products)
    for _ in range(ITERATIONS + 1):
        basis = torch.linalg.qr(products @ basis).Q
    values, turns = torch.linalg.eigh(basis.T @ products @ basis)
    return values[BESIDE:], basis @ turns[:, BESIDE:]


def random_rank(short: int, long: int, kept: float) -> int:
    """The rank that a matrix of independent random numbers needs (Marchenko & Pastur 1967)."""
    root = (short / long) ** 0.5
    edges = np.linspace(0, np.pi, 20001)
    angles = (edges[1:] + edges[:-1]) / 2
    # By angle, so that the density has no spikes at its ends; largest values first.
    values = 1 + root**2 + 2 * root * np.cos(angles)
    density = np.sin(angles) ** 2 / values
    counts, sums = np.cumsum(density), np.cumsum(values * density)
    return max(1, round(short * float(np.interp(kept, sums / sums[-1], counts / counts[-1]))))
