"""Functions that give numbers another shape, take some of them, or put tensors side by side."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from fullconv.blueprint import Concat, Expand, Permute, Reshape, Slice, SpaceToDepth, Stack
from fullconv.hosts.torch_fx.functions.operand import Operand, Read, Reader, operands


def _reshape(name: str) -> Reader:
    def read(input: Operand, *args: Any, **kwargs: Any) -> Read | None:
        if any(isinstance(argument, torch.dtype) for argument in args):
            return None
        return Reshape(name), (input,)

    return read


def _permute(input: Operand, *dims: Any) -> Read:
    order = dims[0] if len(dims) == 1 and isinstance(dims[0], Sequence) else dims
    return Permute(tuple(input.axis(axis) for axis in order)), (input,)


def _transpose(input: Operand, dim0: int, dim1: int) -> Read:
    order = list(range(len(input.shape)))
    a, b = input.axis(dim0), input.axis(dim1)
    order[a], order[b] = order[b], order[a]
    return Permute(tuple(order)), (input,)


def _movedim(input: Operand, source: int, destination: int) -> Read | None:
    if not isinstance(source, int) or not isinstance(destination, int):
        return None
    order = [axis for axis in range(len(input.shape)) if axis != input.axis(source)]
    order.insert(input.axis(destination), input.axis(source))
    return Permute(tuple(order)), (input,)


def _narrow(input: Operand, dim: int, start: int, length: int) -> Read:
    axis = input.axis(dim)
    return piece(input, axis, start % input.shape[axis], length, False)


def _index(input: Any, index: Any) -> Read | None:
    if not isinstance(input, Operand):
        return None
    entries = list(index) if isinstance(index, tuple) else [index]
    if None in entries:  # axes of length 1 and nothing else
        plain = (None, Ellipsis, slice(None))
        return (Reshape("index"), (input,)) if all(e in plain for e in entries) else None
    if Ellipsis in [entry for entry in entries if not isinstance(entry, Operand)]:
        where = entries.index(Ellipsis)
        missing = len(input.shape) - len(entries) + 1
        entries[where : where + 1] = [slice(None)] * missing
    ranges: list[tuple[int, int | None, int]] = []
    dropped: list[int] = []
    for axis, entry in enumerate(entries):
        size = input.shape[axis] if axis < len(input.shape) else 0
        if isinstance(entry, slice):
            stop = entry.stop
            if stop is not None:
                stop = max(0, stop + size) if stop < 0 else min(stop, size)
            start = entry.start or 0
            ranges.append((max(0, start + size) if start < 0 else start, stop, entry.step or 1))
        elif isinstance(entry, int) and not isinstance(entry, bool):
            ranges.append((entry % size, entry % size + 1, 1))
            dropped.append(axis)
        else:
            return None
    full: tuple[int, int | None, int] = (0, None, 1)
    ranges += [full] * (len(input.shape) - len(ranges))
    return Slice(tuple(ranges), tuple(dropped)), (input,)


def _concat(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Read:
    inputs = operands(tensors)
    return Concat(inputs[0].axis(dim if axis is None else axis)), inputs


def _stack(tensors: Any, dim: int = 0) -> Read:
    inputs = operands(tensors)
    return Stack(dim % (len(inputs[0].shape) + 1)), inputs


def _expand(name: str) -> Reader:
    return lambda input, *args, **kwargs: (Expand(name), (input,))


def _pixel_unshuffle(input: Operand, downscale_factor: int) -> Read:
    return SpaceToDepth(downscale_factor), (input,)


_RESHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten", "ravel", "view_as")


def _reshapes() -> dict[Any, Reader]:
    table: dict[Any, Reader] = {}
    for name in _RESHAPES:
        if hasattr(torch, name):
            table[getattr(torch, name)] = _reshape(name)
        table[name] = _reshape(name)
    return table


# --- tensors that come in several pieces ---


def _unbind_axis(input: Any, dim: int = 0) -> int:
    return dim


def _split_axis(input: Any, sections: Any = None, dim: int = 0, **kwargs: Any) -> int:
    return dim


SPLITS: dict[Any, tuple[Any, bool]] = {
    **dict.fromkeys((torch.chunk, torch.split, torch.tensor_split), (_split_axis, False)),
    **dict.fromkeys(("chunk", "split", "tensor_split", "split_with_sizes"), (_split_axis, False)),
    torch.functional.split: (_split_axis, False),
    torch.unbind: (_unbind_axis, True),
    "unbind": (_unbind_axis, True),
}
"""Functions that cut a tensor into pieces: how to find the axis, and whether it goes away."""


def piece(input: Operand, axis: int, start: int, length: int, dropped: bool) -> Read:
    """One of the pieces that a tensor is cut into along an axis."""
    full: tuple[int, int | None, int] = (0, None, 1)
    ranges = [full] * len(input.shape)
    ranges[axis] = (start, start + length, 1)
    return Slice(tuple(ranges), (axis,) if dropped else ()), (input,)


FUNCTIONS: dict[Any, Reader] = {
    **_reshapes(),
    torch.permute: _permute,
    "permute": _permute,
    **dict.fromkeys((torch.transpose, torch.swapaxes, torch.swapdims), _transpose),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    **dict.fromkeys((torch.movedim, torch.moveaxis, "movedim", "moveaxis"), _movedim),
    operator.getitem: _index,
    **dict.fromkeys((torch.narrow, "narrow"), _narrow),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _concat),
    torch.stack: _stack,
    **dict.fromkeys(("expand", torch.broadcast_to, "broadcast_to"), _expand("expand")),
    "expand_as": _expand("expand_as"),
    F.pixel_unshuffle: _pixel_unshuffle,
}
