"""What a network's `forward` handles while it is traced: tensors that answer for their shapes."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import fx

BATCH = 2
"""Batch size while tracing: with 1, `squeeze()` would swallow the batch."""


class Recorded(fx.Proxy):
    """A tensor (or a number derived from the batch) on its way through `forward`.

    `node.meta["value"]` holds its fake value. Everything known about the value is answered at once
    instead of being recorded: dtype, sizes, number of axes.
    """

    @property
    def value(self) -> Any:
        """The fake tensor, or the number."""
        return self.node.meta["value"]

    # Networks ask `isinstance(x, torch.Tensor)`.
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return torch.Tensor if isinstance(self.value, torch.Tensor) else type(self)

    def __getattr__(self, name: str) -> Any:
        if not isinstance(self.value, torch.Tensor):
            return super().__getattr__(name)
        known = getattr(self.value, name)
        if callable(known):
            return super().__getattr__(name)
        if isinstance(known, torch.Tensor):
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        return known

    @property
    def shape(self) -> Any:
        """Sizes at the window; the batch stays symbolic."""
        sizes = tuple(self.value.shape)
        if not self.node.meta["of_image"] or not sizes or sizes[0] != BATCH:
            return self.value.shape
        tracer: Any = self.tracer
        return Sizes((tracer.batch(), *sizes[1:]))

    def size(self, dim: int | None = None) -> Any:
        """As `torch.Tensor.size`."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> Any:
        """As `torch.Tensor.numel`."""
        return self.shape.numel()

    def __len__(self) -> Any:
        return self.value.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (operator.getitem(self, index) for index in range(len(self)))


class Sizes(tuple[Any, ...]):
    """The sizes of a tensor whose first entry is the symbolic batch; as `torch.Size`."""

    def __getitem__(self, index: Any) -> Any:
        taken = super().__getitem__(index)
        if isinstance(taken, tuple):
            plain = all(isinstance(size, int) for size in taken)
            return torch.Size(taken) if plain else Sizes(taken)
        return taken

    def numel(self) -> Any:
        """The product of all sizes."""
        return self[0] * prod(self[1:])
