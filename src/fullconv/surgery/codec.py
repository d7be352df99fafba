"""Dataclasses to JSON and back: objects that carry the name of their type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def encode(value: Any) -> Any:
    """`value` made of dicts, lists, strings and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [encode(entry) for entry in value]
    return value


def decode(value: Any, types: Mapping[str, type]) -> Any:
    """The inverse of `encode`, for the given types and no others. Raises ValueError."""
    if isinstance(value, dict):
        kind = types.get(str(value.get("type")))
        if kind is None:
            raise ValueError(f"unexpected type {value.get('type')!r}")
        fields = {key: decode(entry, types) for key, entry in value.items() if key != "type"}
        try:
            return kind(**fields)
        except TypeError as error:
            raise ValueError(f"not a {kind.__name__}: {error}") from None
    if isinstance(value, list):
        return tuple(decode(entry, types) for entry in value)
    return value
