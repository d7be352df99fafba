"""What people call a function, a tensor method or a module of PyTorch."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import Any

_HOMES = (
    "torch", "torch.nn.functional", "torch.special", "torch.fft", "torch.linalg", "operator",
)  # fmt: skip
"""Where public functions live; the first home that has one names it."""


def spelled(target: Any) -> str:
    """`target` as it is written in Python: `torch.special.expit`, `"erfinv"` for a method."""
    if isinstance(target, str):
        return f'"{target}"'
    if id(target) in _public():
        return _public()[id(target)]
    if isinstance(target, type) and target.__module__.startswith("torch.nn.modules"):
        return f"torch.nn.{target.__qualname__}"
    if type(target).__module__ == "torch._ops":
        return f"torch.ops.{target}"
    home = getattr(target, "__module__", None)
    name = getattr(target, "__qualname__", None) or getattr(target, "__name__", str(target))
    if home in (None, "builtins", "__main__"):
        return str(name)
    return f"{home}.{name}"


@cache
def _public() -> dict[int, str]:
    """The spelling of every public function, by its id."""
    found: dict[int, str] = {}
    for home in _HOMES:
        module = sys.modules.get(home) or importlib.import_module(home)
        for name in dir(module):
            value = getattr(module, name)
            if callable(value) and not name.startswith("_"):
                found.setdefault(id(value), f"{home}.{name}")
    return found
