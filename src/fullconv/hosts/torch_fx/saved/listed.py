"""What a saved network may name: the functions, tensor methods and modules of an FCN.

Nothing else can be reached from a file, so that loading one never runs code that came with it.
"""

from __future__ import annotations

import inspect
import keyword
import operator
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.functions import FUNCTIONS
from fullconv.hosts.torch_fx.modules import MODULES
from fullconv.hosts.torch_fx.writers import WRITERS

_HOMES: dict[str, ModuleType] = {
    "fullconv": runtime,
    "torch": torch,
    "torch.linalg": torch.linalg,
    "torch.nn.functional": F,
    "operator": operator,
}
# What networks compute from their weights alone, where no rule is needed.
_OF_WEIGHTS = (
    torch.broadcast_to,
    torch.chunk,
    torch.dot,
    torch.einsum,
    torch.mv,
    torch.norm,
    torch.norm_except_dim,
    torch.rsub,
    torch.split,
    torch.stack,
    torch.std_mean,
    torch.sum,
    torch.tile,
    torch.var_mean,
    torch.vdot,
    torch._weight_norm,
    F.normalize,
    operator.floordiv,
    operator.mod,
)
_METHODS_OF_WEIGHTS = (
    "chunk", "expand", "expand_as", "norm", "repeat", "reshape_as", "size", "split", "std", "sum",
    "t", "var",
)  # fmt: skip
# They have readers, which say why such a network is refused; no FCN holds one.
_REFUSED = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.Transformer,
    nn.TransformerDecoder,
    nn.TransformerDecoderLayer,
    nn.TransformerEncoder,
    nn.TransformerEncoderLayer,
)
_NOT_SETTINGS = ("self", "device", "dtype")


def _functions() -> dict[str, Any]:
    known = {id(f): f for f in (*FUNCTIONS, *runtime.CALLS, *_OF_WEIGHTS) if callable(f)}
    return {
        f"{home}.{name}": getattr(module, name)
        for home, module in _HOMES.items()
        for name in dir(module)
        if id(getattr(module, name)) in known
    }


FUNCTION_BY_NAME = _functions()
"""Every function a saved network may call; some have several names."""

# Of several names the plainest: `torch.add` before `operator.add`, `operator.add` before `__add__`.
NAME_OF_FUNCTION = {
    id(function): name
    for name, function in sorted(
        FUNCTION_BY_NAME.items(),
        key=lambda item: (item[0].rpartition(".")[2].startswith("_"), item[0]),
        reverse=True,
    )
}
"""The name under which a function is saved, by its id."""

METHODS = frozenset({f for f in FUNCTIONS if isinstance(f, str)} | set(_METHODS_OF_WEIGHTS))
"""Every tensor method a saved network may call."""

KINDS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (*MODULES, runtime.FoldedConv, runtime.StochasticDepth)
    if issubclass(kind, nn.Module) and not issubclass(kind, _REFUSED)
}
"""Every module a saved network may hold."""


EDITS = frozenset(WRITERS)
"""Every edit the plan of a saved network may hold, phases around one aside."""


def settings_of(kind: type[nn.Module]) -> tuple[str, ...]:
    """The arguments that a module of this kind is built from, numbers aside."""
    if kind is runtime.FoldedConv:
        return ("kernel", "dilation", "bins", "bias")
    parameters = inspect.signature(kind).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(
        parameter.name
        for parameter in parameters
        if parameter.kind not in variable and parameter.name not in _NOT_SETTINGS
    )


def word(name: Any) -> str:
    """`name` if it can stand in generated code as a variable or an argument.

    Raises RefusedError: what cannot may be code.
    """
    if isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name):
        return name
    raise RefusedError(
        f"holds {str(name)[:60]!r} where a name belongs.",
        why="It would become part of a program.",
    )


def path(name: Any) -> str:
    """`name` if it can stand in generated code as the place of a module or a tensor.

    Raises RefusedError: what cannot may be code.
    """
    parts = name.split(".") if isinstance(name, str) else [""]
    plain = all(
        part.isprintable()
        and not set(part) & set("\"'\\")
        and not keyword.iskeyword(part)
        and not part.startswith("__")
        and part
        for part in parts
    )
    if plain and len(parts) <= 100:
        return str(name)
    raise RefusedError(
        f"holds {str(name)[:60]!r} where the place of a layer belongs.",
        why="It would become part of a program.",
    )
