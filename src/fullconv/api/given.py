"""What is given to `extend`: checked at the door, and again when it answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fullconv.blueprint import Node, Op
from fullconv.errors import FullconvError, UsageError
from fullconv.hosts.torch_fx.functions import Operand
from fullconv.hosts.torch_fx.naming import spelled
from fullconv.surgery.edits import Edit
from fullconv.surgery.rules import Outcome
from fullconv.surgery.values import Fixed, Map

# --- at the door ---


def as_key(called: Any) -> Any:
    """The key of a function or a tensor method in the table. Raises UsageError."""
    if isinstance(called, str):
        if not callable(getattr(torch.Tensor, called, None)):
            raise UsageError(f"torch.Tensor has no method {called!r}.")
        return called
    if isinstance(called, nn.Module) or (
        isinstance(called, type) and issubclass(called, nn.Module)
    ):
        raise UsageError(
            f"{called!r} is a module, not a function.",
            hint="Pass the type of a module to extend.module or extend.elementwise.",
        )
    if not callable(called) or isinstance(called, type):
        raise UsageError(f"{called!r} is neither a function nor the name of a tensor method.")
    name: str = getattr(called, "__name__", "")
    if called is getattr(torch.Tensor, name, None):
        return name  # torch.Tensor.erfinv is recorded as the method
    return called


def check_function(given: Any, what: str) -> None:
    """Raise UsageError for what cannot be called."""
    if not callable(given) or isinstance(given, type):
        raise UsageError(f"the {what} must be a function, got {given!r}.")


def check_dataclass(base: type, kind: Any) -> None:
    """Raise UsageError for what is no frozen dataclass derived from `base`."""
    frozen = (
        isinstance(kind, type)
        and issubclass(kind, base)
        and kind is not base
        and "__dataclass_fields__" in vars(kind)
        and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    )
    if not frozen:
        name = kind.__name__ if isinstance(kind, type) else repr(kind)
        raise UsageError(
            f"{name} must be a frozen dataclass derived from {base.__module__}.{base.__name__}.",
            hint=f"Write @dataclass(frozen=True) over class {name}({base.__name__}).",
        )


# --- when it answers ---


def function_reader(key: Any, reader: Callable[..., Any]) -> Callable[..., Any]:
    """A reader of functions whose mistakes are told; arguments it cannot take it does not know."""
    takes = inspect.signature(reader)

    def read(*args: Any, **kwargs: Any) -> Any:
        try:
            takes.bind(*args, **kwargs)
        except TypeError:
            return None
        found = _asked(reader, f"the reader of {spelled(key)}", *args, **kwargs)
        pair = isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], tuple | list)
        fits = pair and isinstance(found[0], Op) and all(isinstance(x, Operand) for x in found[1])
        if found is None or (fits and found[1]):
            return found and (found[0], tuple(found[1]))
        raise UsageError(
            f"the reader of {spelled(key)} returned {found!r}.",
            hint="It returns (op, operands), or None for arguments it does not know.",
        )

    return read


def module_reader(kind: type[nn.Module], reader: Callable[[Any, Any], Op]) -> Callable[..., Any]:
    """A reader of modules whose mistakes are told."""

    def read(module: Any, shape: Any) -> Any:
        found = _asked(reader, f"the reader of {spelled(kind)}", module, shape)
        if isinstance(found, Op):
            return found
        raise UsageError(f"the reader of {spelled(kind)} returned {found!r}, which is no op.")

    return read


def checked_rule(rule: Callable[..., Outcome], op: type[Op]) -> Callable[..., Outcome]:
    """A rule whose mistakes are told."""

    def apply(given: Any, node: Node, inputs: Any, setting: Any) -> Outcome:
        who = f"the rule for {op.__name__}"
        found = _asked(rule, who, given, node, inputs, setting)
        fits = isinstance(found, Outcome) and isinstance(found.value, Map | Fixed)
        if not fits or not isinstance(found.edit, Edit | None):
            raise UsageError(
                f"{who} returned {found!r}.", where=node.where, hint="It returns an Outcome."
            )
        shape = found.value.shape
        told = shape if isinstance(found.value, Fixed) else (node.shape[:1] + shape)
        if told != node.shape and not found.meets:
            raise UsageError(
                f"{who} says {told}, the classifier computes {node.shape}.", where=node.where
            )
        outcome: Outcome = found
        return outcome

    return apply


def _asked(function: Callable[..., Any], who: str, *args: Any, **kwargs: Any) -> Any:
    """What a function of the user answers; its exceptions are told as its own."""
    try:
        return function(*args, **kwargs)
    except FullconvError:
        raise
    except Exception as error:
        raise UsageError(f"{who} failed with {type(error).__name__}: {error}.") from error
