"""Teach fullconv an op of your own, for this process; docs/extending.md shows how.

    extend.elementwise(torch.special.erf)         # it works on each number by itself: no more to do

    extend.function(torch.cumsum, reader)         # what a function, or a method "cumsum", computes
    extend.module(Gate, reader)                   # what a module computes; it is not traced through
    extend.rule(MyOp, rule)                       # what an op of your own does to a map
    extend.edit(MyEdit, writer)                   # how an edit of your own is carried out

Every call returns what it added: `.undo()` takes it back, and so does the end of a `with` block.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any

import torch
from torch import nn

from fullconv.api.given import (
    as_key,
    check_dataclass,
    check_function,
    checked_rule,
    function_reader,
    module_reader,
)
from fullconv.blueprint import Constant, Elementwise, Input, Op, Refused, Unknown
from fullconv.errors import UsageError
from fullconv.hosts.torch_fx.functions import FUNCTIONS
from fullconv.hosts.torch_fx.functions.numberwise import numberwise
from fullconv.hosts.torch_fx.modules import MODULES
from fullconv.hosts.torch_fx.naming import spelled

# Files may name what fullconv itself knows, whatever a program adds: this makes those lists from
# the tables before anything is added to them.
from fullconv.hosts.torch_fx.saved import listed  # noqa: F401
from fullconv.hosts.torch_fx.writers import WRITERS
from fullconv.surgery.edits import Edit, Phases
from fullconv.surgery.plan import TYPES
from fullconv.surgery.rules import LOOKS_AROUND, RULES, Outcome

Table = MutableMapping[Any, Any]
_MISSING = object()


class Added:
    """Entries that were added to tables; `undo`, or the end of a `with` block, removes them."""

    def __init__(self, *entries: tuple[Table, Any, Any]) -> None:
        """Add `(table, key, value)` entries; what they replace comes back with `undo`."""
        self._entries = [
            (table, key, value, table.get(key, _MISSING)) for table, key, value in entries
        ]
        for table, key, value in entries:
            table[key] = value

    def undo(self) -> None:
        """Remove what was added, once. Raises UsageError if it was replaced since."""
        for table, key, value, _ in self._entries:
            if table.get(key) is not value:
                raise UsageError(
                    f"{_words(key)} was replaced since.", hint="Undo what was added last first."
                )
        for table, key, _, before in reversed(self._entries):
            if before is _MISSING:
                del table[key]
            else:
                table[key] = before
        self._entries = []

    def __enter__(self) -> Added:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.undo()


def elementwise(*kinds: Any, replace: bool = False) -> Added:
    """Say that functions, tensor methods or modules work on each number by itself.

    Of several tensors they may work on the numbers at the same place, with broadcasting.

    Args:
        kinds: functions of PyTorch (`torch.special.erf`), names of tensor methods (`"erfinv"`),
            subclasses of `nn.Module`.
        replace: replace what is known of them already.

    Raises UsageError for anything else, and for what is known already.
    """
    if not kinds:
        raise UsageError("name at least one function, tensor method or module.")
    entries: list[tuple[Table, Any, Any]] = []
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, nn.Module):
            op = Elementwise(kind.__name__)
            entries.append((MODULES, kind, _always(op)))
        else:
            key = as_key(kind)
            entries.append((FUNCTIONS, key, numberwise(_words(key))))
    return _add(*entries, replace=replace)


def function(called: Any, reader: Callable[..., Any], *, replace: bool = False) -> Added:
    """Say what a function or a tensor method computes.

    Args:
        called: the function, or the name of the tensor method.
        reader: gets the arguments of the call, tensors as `Operand(name, shape)`; returns the op
            and the operands it reads, `(op, operands)`, or None for arguments it does not know.
        replace: replace what is known of it already.

    Raises UsageError for anything else, and for what is known already.
    """
    key = as_key(called)
    check_function(reader, "reader")
    return _add((FUNCTIONS, key, function_reader(key, reader)), replace=replace)


def module(
    kind: type[nn.Module], reader: Callable[[Any, Any], Op], *, replace: bool = False
) -> Added:
    """Say what a module computes; it is then recorded whole, not through its `forward`.

    Only modules of exactly this type are meant: a subclass may have another `forward`.

    Args:
        kind: a subclass of `nn.Module` that takes one tensor and returns one.
        reader: gets the module and the shape of its input, batch first; returns the op.
        replace: replace what is known of it already.

    Raises UsageError for anything else, and for what is known already.
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        hint = f"Pass its type, {type(kind).__name__}." if isinstance(kind, nn.Module) else ""
        raise UsageError(f"{kind!r} is no subclass of torch.nn.Module.", hint=hint)
    check_function(reader, "reader")
    return _add((MODULES, kind, module_reader(kind, reader)), replace=replace)


def rule(
    op: type[Op], rule: Callable[..., Outcome], *, looks_around: bool = False, replace: bool = False
) -> Added:
    """Say what an op does to what is known of its inputs.

    Args:
        op: a frozen dataclass derived from `fullconv.blueprint.Op`.
        rule: a pure function `(op, node, inputs, setting) -> Outcome`.
        looks_around: whether a cell of the result is computed from neighbouring cells.
        replace: replace the rule that the op has already.

    Raises UsageError for anything else, and for an op that has a rule.
    """
    check_dataclass(Op, op)
    if op in (Input, Constant, Unknown, Refused):
        raise UsageError(f"{op.__name__} is never asked for a rule.")
    check_function(rule, "rule")
    entries: list[tuple[Table, Any, Any]] = [(RULES, op, checked_rule(rule, op))]
    if looks_around:
        entries.append((LOOKS_AROUND, op, True))
    return _add(*entries, replace=replace)


def edit(kind: type[Edit], writer: Callable[..., None], *, replace: bool = False) -> Added:
    """Say how an edit is carried out.

    Args:
        kind: a frozen dataclass derived from `fullconv.surgery.edits.Edit`; its text says what
            becomes of the node.
        writer: changes the graph, `(work, node, edit) -> None`; see `Work` in
            `fullconv.hosts.torch_fx.work`.
        replace: replace the writer that the edit has already.

    Raises UsageError for anything else, and for an edit that has a writer.
    """
    check_dataclass(Edit, kind)
    other = TYPES.get(kind.__name__, kind)
    own = other.__module__.partition(".")[0] == "fullconv"
    if kind is Phases or (other is not kind and (own or not replace)):
        raise UsageError(
            f"a plan calls something else {kind.__name__} already.", hint="Give it another name."
        )
    check_function(writer, "writer")
    return _add((WRITERS, kind, writer), (TYPES, kind.__name__, kind), replace=replace)


# --- at the door ---


def _add(*entries: tuple[Table, Any, Any], replace: bool) -> Added:
    known = [_words(key) for table, key, _ in entries if key in table and table is not TYPES]
    if known and not replace:
        raise UsageError(
            f"fullconv knows {', '.join(known)} already.", hint="Pass replace=True to replace it."
        )
    return Added(*entries)


def _always(op: Op) -> Callable[[Any, Any], Op]:
    return lambda module, shape: op


def _words(key: Any) -> str:
    if isinstance(key, type) and not issubclass(key, nn.Module):
        return key.__name__
    return f"Tensor.{key}" if isinstance(key, str) and hasattr(torch.Tensor, key) else spelled(key)
