"""The tensors of an FCN as a file holds them: a table of what they are, and each number once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fullconv.errors import FullconvError
from fullconv.hosts.torch_fx.saved.arguments import dtype_of
from fullconv.hosts.torch_fx.saved.listed import path

Entry = dict[str, Any]
"""What is written of one tensor: name, kind, dtype and shape; strides where they are not the usual
ones, `same_as` where the numbers are those of an earlier tensor."""

KINDS = ("parameter", "buffer", "constant")
"""A constant is a buffer that the state dict leaves out."""

ALIGNMENT = 64
"""Bytes. PyTorch puts tensors at multiples of it, a file does not, and some sums then differ."""


def pack(module: nn.Module) -> tuple[list[Entry], dict[str, Tensor]]:
    """The table, in the order of the state dict, and the numbers on the CPU, by name.

    Numbers that two tensors share are given once; how a tensor lies in memory is noted, because
    convolutions round differently for another order. Raises FullconvError for a tensor without
    numbers (on the meta device).
    """
    entries: list[Entry] = []
    numbers: dict[str, Tensor] = {}
    first: dict[Any, str] = {}
    storages: set[int] = set()
    for name, kind, tensor in _named(module):
        if tensor.is_meta:
            raise FullconvError("has no numbers: it is on the meta device.", where=name)
        dtype = str(tensor.dtype).removeprefix("torch.")
        entry: Entry = {"name": name, "kind": kind, "dtype": dtype, "shape": list(tensor.shape)}
        if list(tensor.stride()) != _plain_strides(tensor.shape) and _dense(
            tensor.shape, tensor.stride()
        ):
            entry["strides"] = list(tensor.stride())
        place = (kind, tensor.device, tensor.data_ptr(), tensor.stride(), tensor.shape, dtype)
        if tensor.numel() and first.setdefault(place, name) != name:
            entry["same_as"] = first[place]
        else:
            plain = tensor.detach().cpu().contiguous()
            if plain.untyped_storage().data_ptr() in storages:
                plain = plain.clone()  # safetensors takes no two views of one memory
            storages.add(plain.untyped_storage().data_ptr())
            numbers[name] = plain
        entries.append(entry)
    return entries, numbers


def unpack(entries: list[Entry], numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a table by name, laid out in memory as they were; parameters are parameters.

    Raises ValueError where table and numbers do not belong together.
    """
    made: dict[str, Tensor] = {}
    left = set(numbers)
    for entry in entries:
        name = entry["name"]
        if "same_as" in entry:
            made[name] = made[entry["same_as"]]
            continue
        tensor = numbers[name]
        left.discard(name)
        if (tensor.dtype, list(tensor.shape)) != (dtype_of(entry["dtype"]), entry["shape"]):
            raise ValueError(f"{name} is {tensor.dtype}, {list(tensor.shape)} in the weights")
        if "strides" in entry or tensor.data_ptr() % ALIGNMENT:
            tensor = empty(entry, tensor.device).copy_(tensor)
        if entry["kind"] == "parameter":
            tensor = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
        made[name] = tensor
    if left:
        raise ValueError(f"nothing is said of {sorted(left)[0]}")
    return made


def empty(entry: Entry, device: torch.device | str) -> Tensor:
    """A tensor of an entry's size, without numbers. Raises ValueError for one that cannot be."""
    shape = entry["shape"]
    strides = entry.get("strides", _plain_strides(shape))
    if not _dense(shape, strides):
        raise ValueError(f"{entry['name']} of shape {shape} cannot have the strides {strides}")
    return torch.empty_strided(shape, strides, dtype=dtype_of(entry["dtype"]), device=device)


def checked(entries: Any) -> list[Entry]:
    """A table as it came from a file. Raises ValueError, or RefusedError for a name that is none.

    Entries are known to be complete afterwards, and `same_as` to lead to an earlier one.
    """
    seen: dict[str, Entry] = {}
    for entry in entries:
        name = path(entry["name"])
        if name in seen or entry["kind"] not in KINDS:
            raise ValueError(f"{name} is listed twice, or is no {' or '.join(KINDS)}")
        if not all(type(size) is int and size >= 0 for size in entry["shape"]):
            raise ValueError(f"{name} has the shape {entry['shape']}")
        if "same_as" in entry:
            other = seen.get(entry["same_as"], {})
            if any(other.get(key) != entry[key] for key in ("kind", "dtype", "shape")):
                raise ValueError(f"{name} cannot be the same as {entry['same_as']}")
        seen[name] = entry
    return list(entries)


def _named(module: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """Name, kind and tensor of everything a network holds, in the order of its state dict."""
    for prefix, owner in module.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        for name, parameter in owner._parameters.items():
            if parameter is not None:
                yield dot + name, "parameter", parameter
        for name, buffer in owner._buffers.items():
            if buffer is not None:
                lasting = name not in owner._non_persistent_buffers_set
                yield dot + name, "buffer" if lasting else "constant", buffer


def _plain_strides(shape: Any) -> list[int]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return strides[::-1]


def _dense(shape: Any, strides: Any) -> bool:
    """Whether every place of the memory between the first and the last number holds one of them."""
    if len(shape) != len(strides) or not all(type(s) is int and s >= 0 for s in strides):
        return False
    if 0 in shape:
        return list(strides) == _plain_strides(shape)
    reach = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1:
            if stride != reach:
                return False
            reach *= size
    return True
