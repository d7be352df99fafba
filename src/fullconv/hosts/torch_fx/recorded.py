"""What a network's `forward` handles while it is traced: tensors that answer for their shapes."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Iterator
from contextlib import contextmanager
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

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})

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


_isinstance = builtins.isinstance


def _sees_tensors(thing: Any, kinds: Any) -> bool:
    """`isinstance`, to which a recorded tensor is a tensor."""
    if _isinstance(thing, kinds):
        return True
    known = thing.value if _isinstance(thing, Recorded) else None
    return _isinstance(known, torch.Tensor) and _isinstance(known, kinds)


@contextmanager
def tensors_seen() -> Iterator[None]:
    """While it holds, `isinstance(x, torch.Tensor)` is true of recorded tensors, in Python code.

    A `__class__` that says so would reach PyTorch's C++ too: it looks for the numbers of what it
    takes for a tensor, and `torch.pow(x, 2.0)` ends the process.
    """
    before = builtins.isinstance
    vars(builtins)["isinstance"] = _sees_tensors
    try:
        yield
    finally:
        vars(builtins)["isinstance"] = before
