"""Descriptions: JSON files that people can read, and that tell when they were changed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fullconv.errors import InputError

WIDTH = 140
SEAL = "sha256"


def to_text(value: Any, *, width: int = WIDTH) -> str:
    """`value` as JSON, each part on one line if it fits, else with one entry per line.

    Numbers that JSON does not have (NaN, infinity) raise ValueError.
    """

    def lines(value: Any, indent: int, before: int) -> str:
        flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
        nested = isinstance(value, Mapping | list | tuple) and len(value) > 0
        if not nested or before + len(flat) < width:
            return flat
        inner = indent + 1
        if isinstance(value, Mapping):
            names = [json.dumps(str(key), ensure_ascii=False) + ": " for key in value]
            entries, ends = list(value.values()), "{}"
        else:
            names, entries, ends = [""] * len(value), list(value), "[]"
        parts = [
            " " * inner + name + lines(entry, inner, inner + len(name))
            for name, entry in zip(names, entries, strict=True)
        ]
        return f"{ends[0]}\n" + ",\n".join(parts) + f"\n{' ' * indent}{ends[1]}"

    return lines(value, 0, 0) + "\n"


def finite(value: Any) -> Any:
    """`value` with null in place of NaN and infinity, which JSON lacks."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_description(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as text that people can read, in UTF-8."""
    # What UTF-8 cannot write, halves of a surrogate pair in a file's name, JSON writes as \udcff.
    path.write_bytes(to_text(value).encode("utf-8", "backslashreplace"))


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with a checksum of all of it, under "sha256"."""
    return {**value, SEAL: _digest(value)}


def is_sealed(value: Mapping[str, Any]) -> bool:
    """Whether a description is as it was when it was sealed; how it is laid out does not count."""
    return value.get(SEAL) == _digest({key: v for key, v in value.items() if key != SEAL})


def _digest(value: Mapping[str, Any]) -> str:
    plain = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()


def read_description(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises InputError if there is none to read, or it is damaged."""
    try:
        value = json.loads(path.read_bytes().decode("utf-8"), parse_constant=_no_constant)
    except FileNotFoundError as error:
        raise InputError("is missing.", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}.", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON: {error}.", where=str(path)) from error
    if not isinstance(value, dict):
        raise InputError("is no JSON object.", where=str(path))
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
