"""Parts of a map, and how one is put together of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fullconv.hosts.torch_fx.optimized.network import FORMATS
from fullconv.streams.places import Span


@dataclass(slots=True)
class Part:
    """Rows of a map that are there: `tensor` is `(N, C, rows, *cells)`, its first row `row`."""

    row: int
    tensor: Tensor

    @property
    def end(self) -> int:
        """The row after the last."""
        return self.row + int(self.tensor.shape[2])


def gathered(
    parts: Sequence[Part],
    firsts: Sequence[int],
    spans: Sequence[Span],
    cells: Sequence[int],
    fill: float | None,
    like: Tensor,
) -> Tensor:
    """A map over `spans`, `(N, C, *lengths)`, taken from rows that are there.

    Args:
        parts: rows without a gap between them, over the same cells of the other axes.
        firsts: where they begin along every axis but the first.
        spans: what is wanted along every axis, padding included.
        cells: of the whole map; beyond them is padding.
        fill: the number that padding is made of.
        like: a tensor of the same channels, dtype, device and order in memory.

    A view where nothing must be moved.
    """
    low = [min(max(0, start), stop) for start, stop in spans]
    high = [max(min(stop, n), first) for (_, stop), n, first in zip(spans, cells, low, strict=True)]
    others = [
        slice(first - begin, stop - begin)
        for first, stop, begin in zip(low[1:], high[1:], firsts, strict=True)
    ]
    found = []
    for part in parts:
        first, last = max(part.row, low[0]), min(part.end, high[0])
        if first < last:
            rows = slice(first - part.row, last - part.row)
            found.append((first, part.tensor[(slice(None), slice(None), rows, *others)]))
    pads = [
        (first - start, stop - last)
        for (start, stop), first, last in zip(spans, low, high, strict=True)
    ]
    if len(found) == 1 and not any(map(any, pads)):
        return found[0][1]
    lengths = [stop - start for start, stop in spans]
    whole = _empty(found[0][1] if found else like, lengths)
    inner = [
        slice(first - start, last - start)
        for (start, _), first, last in zip(spans, low, high, strict=True)
    ]
    if any(map(any, pads)):
        _fill(whole, pads, fill)
    for first, tensor in found:
        row = first - spans[0][0]
        place = (slice(row, row + tensor.shape[2]), *inner[1:])
        whole[(slice(None), slice(None), *place)] = tensor
    return whole


def _empty(like: Tensor, lengths: Sequence[int]) -> Tensor:
    """A tensor of these cells that lies in memory as `like` does."""
    shape = (*like.shape[:2], *lengths)
    layout = layout_of(like)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)


def layout_of(tensor: Tensor) -> torch.memory_format:
    """Channels last, if the channels of a cell lie side by side; else contiguous."""
    last = FORMATS.get(tensor.ndim - 2)
    side_by_side = tensor.stride(1) == 1 < tensor.shape[1]
    return last if last is not None and side_by_side else torch.contiguous_format


def _fill(whole: Tensor, pads: Sequence[Span], fill: float | None) -> None:
    """Padding on all sides."""
    assert fill is not None
    for axis, (before, after) in enumerate(pads, 2):
        if before:
            whole.narrow(axis, 0, before).fill_(fill)
        if after:
            whole.narrow(axis, whole.shape[axis] - after, after).fill_(fill)
