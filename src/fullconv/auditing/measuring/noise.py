"""Random images: what is timed where it does not matter what is in them."""

from __future__ import annotations

import torch
from torch import Tensor


def drawn(shape: tuple[int, ...], like: Tensor | None = None, *, seed: int = 0) -> Tensor:
    """Numbers of mean 0 and standard deviation 1, of a shape `(N, C, *space)`.

    The same for a seed in every run, whatever else draws; of the type and at the place of `like`.
    """
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return numbers if like is None else numbers.to(like)
