"""What a reader of functions gets and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fullconv.blueprint import Op, Refused


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor argument: the node it comes from and its shape at the window."""

    name: str
    shape: tuple[int, ...]

    def axis(self, index: int) -> int:
        """`index` counted from the front."""
        return index % len(self.shape)


Read = tuple[Op, tuple[Operand, ...]]
Reader = Callable[..., Read | None]
"""Returns None for arguments it does not know; the op is then unknown."""


def operands(arguments: Any) -> tuple[Operand, ...]:
    """All operands in nested arguments, in order."""
    if isinstance(arguments, Operand):
        return (arguments,)
    if isinstance(arguments, dict):
        arguments = arguments.values()
    if isinstance(arguments, tuple | list | type({}.values())):
        return tuple(found for argument in arguments for found in operands(argument))
    return ()


def refused(name: str, why: str) -> Reader:
    """A reader of what is known to have no dense form."""
    return lambda *args, **kwargs: (Refused(name, why), operands((args, kwargs)))
