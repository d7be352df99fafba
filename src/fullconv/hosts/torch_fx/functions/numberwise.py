"""Functions of each number by itself, and of several tensors number by number."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F

from fullconv.blueprint import Combine, Elementwise, Identity, Refused
from fullconv.hosts.torch_fx.functions.operand import Operand, Read, Reader, operands
from fullconv.hosts.torch_fx.modules import RANDOM


def numberwise(name: str) -> Reader:
    """A reader of functions of each number by itself; of several tensors, number by number."""

    def read(*args: Any, **kwargs: Any) -> Read:
        inputs = operands((args, kwargs))
        return (Elementwise(name) if len(inputs) == 1 else Combine(name)), inputs

    return read


def _elementwise(name: str) -> Reader:
    return lambda input, *args, **kwargs: (Elementwise(name), (input,))


def _identity(name: str) -> Reader:
    return lambda input, *args, **kwargs: (Identity(name), (input,))


def _dropout(name: str, on: bool) -> Reader:
    def read(
        input: Operand, p: float = 0.5, training: bool = on, *args: Any, **kwargs: Any
    ) -> Read:
        drops = kwargs.get("train", training)
        return (Refused(name, RANDOM) if drops else Identity(name)), (input,)

    return read


def stochastic_depth(input: Operand, p: float, mode: str, training: bool = True) -> Read:
    """Leaves out whole branches while training."""
    return (
        Refused("stochastic_depth", RANDOM) if training else Identity("stochastic depth", True)
    ), (input,)


_NUMBERWISE = (
    "add", "sub", "mul", "div", "truediv", "true_divide", "multiply", "divide", "subtract", "neg",
    "pow", "square", "maximum", "minimum", "abs", "exp", "sqrt", "rsqrt", "clamp", "clip",
    "reciprocal", "log", "iadd", "isub", "imul", "itruediv", "pos", "addcmul", "addcdiv", "lerp",
    "where", "erf", "expm1", "log1p", "sign", "sin", "cos",
)  # fmt: skip
_ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish",
    "sigmoid", "tanh", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "logsigmoid",
    "softplus", "softshrink", "softsign", "tanhshrink", "threshold",
    "float", "half", "double", "to", "type", "type_as",
)  # fmt: skip
_DROPOUTS = (
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
)  # fmt: skip
_NOTHING = ("contiguous", "detach", "clone")


def _table() -> dict[Any, Reader]:
    table: dict[Any, Reader] = {}
    for name in _NUMBERWISE:
        reader = numberwise(name.strip("_"))
        for home in (torch, F, operator):
            if hasattr(home, name):
                table[getattr(home, name)] = reader
        table[name] = reader
        table[f"__{name}__"] = table[f"__r{name}__"] = table[f"{name}_"] = reader
    for name in _ACTIVATIONS:
        for home in (torch, F):
            for spelled in (name, f"{name}_"):
                if hasattr(home, spelled):
                    table[getattr(home, spelled)] = _elementwise(name)
        table[name] = table[f"{name}_"] = _elementwise(name)
    for name in _DROPOUTS:
        for home in (torch, F):
            if hasattr(home, name):
                table[getattr(home, name)] = _dropout(name, "alpha" not in name)
    for name in _NOTHING:
        for home in (torch, F):
            if hasattr(home, name):
                table[getattr(home, name)] = _identity(name)
        table[name] = _identity(name)
    return table


FUNCTIONS = _table()
