"""What functions and tensor methods compute, in the words of the blueprint.

A reader has the parameters of the function it stands for, so that positional and keyword arguments
sort themselves out; tensors come as `Operand`s. It returns the op and the operands it reads.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from fullconv.blueprint import (
    AdaptivePool,
    Combine,
    Concat,
    Convolution,
    Elementwise,
    Identity,
    Linear,
    Op,
    PerChannel,
    Permute,
    Pool,
    Reduce,
    Refused,
    Reshape,
    Slice,
    Softmax,
)
from fullconv.hosts.torch_fx.modules import (
    ATTENTION,
    RANDOM,
    SPATIAL_NORM,
    adaptive,
    padded,
    softmax_axis,
    sweeps,
)


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


# --- number by number ---


def _numberwise(name: str) -> Reader:
    """One tensor: elementwise. Several: combined."""

    def read(*args: Any, **kwargs: Any) -> Read:
        inputs = operands((args, kwargs))
        return (Elementwise(name) if len(inputs) == 1 else Combine(name)), inputs

    return read


def _elementwise(name: str) -> Reader:
    return lambda input, *args, **kwargs: (Elementwise(name), (input,))


def _prelu(input: Operand, weight: Operand) -> Read:
    return PerChannel("prelu", input.shape[1]), (input, weight)


def _response_norm(input: Operand, *args: Any, **kwargs: Any) -> Read:
    return PerChannel("local_response_norm", input.shape[1]), (input,)


def _identity(name: str) -> Reader:
    return lambda input, *args, **kwargs: (Identity(name), (input,))


def _dropout(name: str, on: bool) -> Reader:
    def read(
        input: Operand, p: float = 0.5, training: bool = on, *args: Any, **kwargs: Any
    ) -> Read:
        drops = kwargs.get("train", training)
        return (Refused(name, RANDOM) if drops else Identity(name)), (input,)

    return read


def _refused(name: str, why: str) -> Reader:
    return lambda *args, **kwargs: (Refused(name, why), operands((args, kwargs)))


# --- shapes ---


def _reshape(name: str) -> Reader:
    def read(input: Operand, *args: Any, **kwargs: Any) -> Read | None:
        if any(isinstance(argument, torch.dtype) for argument in args):
            return None
        return Reshape(name), (input,)

    return read


def _permute(input: Operand, *dims: Any) -> Read:
    order = dims[0] if len(dims) == 1 and isinstance(dims[0], Sequence) else dims
    return Permute(tuple(input.axis(axis) for axis in order)), (input,)


def _transpose(input: Operand, dim0: int, dim1: int) -> Read:
    order = list(range(len(input.shape)))
    a, b = input.axis(dim0), input.axis(dim1)
    order[a], order[b] = order[b], order[a]
    return Permute(tuple(order)), (input,)


def _index(input: Any, index: Any) -> Read | None:
    if not isinstance(input, Operand):
        return None
    entries = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in [entry for entry in entries if not isinstance(entry, Operand)]:
        where = entries.index(Ellipsis)
        missing = len(input.shape) - len(entries) + 1
        entries[where : where + 1] = [slice(None)] * missing
    ranges: list[tuple[int, int | None, int]] = []
    dropped: list[int] = []
    for axis, entry in enumerate(entries):
        size = input.shape[axis] if axis < len(input.shape) else 0
        if isinstance(entry, slice):
            stop = entry.stop
            if stop is not None:
                stop = max(0, stop + size) if stop < 0 else min(stop, size)
            start = entry.start or 0
            ranges.append((max(0, start + size) if start < 0 else start, stop, entry.step or 1))
        elif isinstance(entry, int) and not isinstance(entry, bool):
            ranges.append((entry % size, entry % size + 1, 1))
            dropped.append(axis)
        else:
            return None
    full: tuple[int, int | None, int] = (0, None, 1)
    ranges += [full] * (len(input.shape) - len(ranges))
    return Slice(tuple(ranges), tuple(dropped)), (input,)


def _concat(tensors: Any, dim: int = 0, *, axis: int | None = None) -> Read:
    inputs = operands(tensors)
    return Concat(inputs[0].axis(dim if axis is None else axis)), inputs


# --- over space ---


def _reduce(kind: Any) -> Reader:
    def read(
        input: Operand,
        dim: Any = None,
        keepdim: bool = False,
        *,
        axis: Any = None,
        keepdims: bool = False,
        dtype: Any = None,
    ) -> Read | None:
        if dtype is not None:
            return None
        dim, keepdim = axis if dim is None else dim, keepdim or keepdims
        every = tuple(range(len(input.shape)))
        axes = every if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
        return Reduce(kind, tuple(input.axis(axis) for axis in axes), keepdim), (input,)

    return read


def _convolution(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Read:
    dims = len(weight.shape) - 2
    grid = sweeps(weight.shape[2:], stride, padding, dilation, dims)
    return Convolution(weight.shape[0], grid, groups), operands((input, weight, bias))


def _max_pool(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Read | None:
    if return_indices:
        return None
    dims = len(input.shape) - 2
    grid = sweeps(kernel_size, stride, padding, dilation, dims, ceil_mode=ceil_mode)
    return Pool("max", grid), (input,)


def _average_pool(
    input: Operand,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Read:
    dims = len(input.shape) - 2
    grid = sweeps(kernel_size, stride, padding, 1, dims, ceil_mode=ceil_mode)
    return Pool("average", grid, count_include_pad, divisor_override), (input,)


def _adaptive(kind: Any) -> Reader:
    def read(input: Operand, output_size: Any, return_indices: bool = False) -> Read | None:
        if return_indices:
            return None
        op: AdaptivePool = adaptive(kind, output_size, input.shape)
        return op, (input,)

    return read


def _pad(input: Operand, pad: Any, mode: str = "constant", value: float | None = None) -> Read:
    return padded(pad, input.shape, mode), (input,)


# --- along features ---


def _linear(input: Operand, weight: Operand, bias: Operand | None = None) -> Read:
    out_features, in_features = weight.shape
    return Linear(in_features, out_features), operands((input, weight, bias))


def _batch_norm(
    input: Operand,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Read | None:
    # With the statistics of the batch every number depends on all images.
    if training:
        return None
    read = operands((input, running_mean, running_var, weight, bias))
    return PerChannel("batch_norm", input.shape[1]), read


def _torch_batch_norm(
    input: Operand, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any
) -> Read | None:
    return _batch_norm(input, mean, var, weight, bias, training)


def _softmax(name: str) -> Reader:
    def read(
        input: Operand, dim: int | None = None, *rest: Any, axis: int | None = None, **more: Any
    ) -> Read | None:
        if any(isinstance(argument, torch.dtype) for argument in (*rest, *more.values())):
            return None
        return Softmax(softmax_axis(axis if dim is None else dim, input.shape), name), (input,)

    return read


def _table() -> dict[Any, Reader]:
    table: dict[Any, Reader] = {}
    for name in _NUMBERWISE:
        reader = _numberwise(name.strip("_"))
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
    for name in _RESHAPES:
        if hasattr(torch, name):
            table[getattr(torch, name)] = _reshape(name)
        table[name] = _reshape(name)
    return table


_NUMBERWISE = (
    "add", "sub", "mul", "div", "truediv", "true_divide", "multiply", "divide", "subtract", "neg",
    "pow", "square", "maximum", "minimum", "abs", "exp", "sqrt", "rsqrt", "clamp", "clip",
    "reciprocal", "log", "iadd", "isub", "imul", "itruediv", "pos",
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
_RESHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten", "ravel", "view_as")

FUNCTIONS: dict[Any, Reader] = {
    **_table(),
    torch.permute: _permute,
    "permute": _permute,
    **dict.fromkeys((torch.transpose, torch.swapaxes, torch.swapdims), _transpose),
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    operator.getitem: _index,
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _concat),
    **dict.fromkeys((torch.mean, "mean"), _reduce("average")),
    **dict.fromkeys((torch.amax, "amax"), _reduce("max")),
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _convolution),
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _convolution),
    **dict.fromkeys((F.max_pool1d, F.max_pool2d, F.max_pool3d), _max_pool),
    **dict.fromkeys((torch.max_pool1d, torch.max_pool2d, torch.max_pool3d), _max_pool),
    **dict.fromkeys((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d), _average_pool),
    **dict.fromkeys(
        (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
        _adaptive("average"),
    ),
    torch.adaptive_avg_pool1d: _adaptive("average"),
    **dict.fromkeys(
        (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d), _adaptive("max")
    ),
    **dict.fromkeys((F.prelu, torch.prelu), _prelu),
    F.local_response_norm: _response_norm,
    F.pad: _pad,
    F.linear: _linear,
    F.batch_norm: _batch_norm,
    torch.batch_norm: _torch_batch_norm,
    **dict.fromkeys((F.softmax, torch.softmax, "softmax"), _softmax("softmax")),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, "log_softmax"), _softmax("log-softmax")),
    F.scaled_dot_product_attention: _refused("scaled_dot_product_attention", ATTENTION),
    **dict.fromkeys((torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm", "__matmul__"),
                    _refused("matmul", ATTENTION)),
    F.group_norm: _refused("group_norm", SPATIAL_NORM),
    F.instance_norm: _refused("instance_norm", SPATIAL_NORM),
}  # fmt: skip
"""Everything fullconv knows of functions; tensor methods stand under their names."""
