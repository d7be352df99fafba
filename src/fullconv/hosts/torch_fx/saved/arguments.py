"""Arguments of calls and settings of modules, as JSON and back.

JSON's own values stand for themselves, an array for a tuple; anything else is an object with one
key, such as `{"node": "relu_1"}`, `{"list": [1, 2]}` or `{"dtype": "float32"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

_NOT_FINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def encode(value: Any) -> Any:
    """`value` as JSON. Raises TypeError for what has no such form."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else {"float": str(value)}
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, tuple):
        return [encode(entry) for entry in value]
    if isinstance(value, list):
        return {"list": [encode(entry) for entry in value]}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("a dict whose keys are no strings")
        return {"dict": {key: encode(entry) for key, entry in value.items()}}
    if isinstance(value, slice):
        return {"slice": [encode(entry) for entry in (value.start, value.stop, value.step)]}
    if isinstance(value, torch.dtype | torch.memory_format):
        kind = "dtype" if isinstance(value, torch.dtype) else "memory_format"
        return {kind: str(value).removeprefix("torch.")}
    if value is Ellipsis:
        return {"ellipsis": True}
    raise TypeError(f"a {type(value).__name__}")


def decode(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    """The inverse of `encode`, given the nodes that came before.

    Raises ValueError, KeyError or TypeError for what is no argument.
    """
    if isinstance(value, list):
        return tuple(decode(entry, nodes) for entry in value)
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "node":
        return nodes[inner]
    if kind == "list":
        return [decode(entry, nodes) for entry in inner]
    if kind == "dict":
        return {key: decode(entry, nodes) for key, entry in inner.items()}
    if kind == "slice":
        start, stop, step = (decode(entry, nodes) for entry in inner)
        return slice(start, stop, step)
    if kind == "dtype":
        return dtype_of(inner)
    if kind == "memory_format":
        found = getattr(torch, str(inner), None)
        if isinstance(found, torch.memory_format):
            return found
    if kind == "float" and inner in _NOT_FINITE:
        return _NOT_FINITE[inner]
    if kind == "ellipsis":
        return Ellipsis
    raise ValueError(f"{kind!r}: {inner!r} is no argument")


def dtype_of(name: Any) -> torch.dtype:
    """`float32` as PyTorch knows it. Raises ValueError."""
    found = getattr(torch, str(name), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"unknown dtype {name!r}")
    return found
