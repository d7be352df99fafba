"""Functions that sweep over space or reduce it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from fullconv.blueprint import AdaptivePool, Convolution, Enlarge, Pool, Reduce
from fullconv.hosts.torch_fx.functions.operand import Operand, Read, Reader, operands
from fullconv.hosts.torch_fx.modules import adaptive, padded, sweeps


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


def _norm(
    input: Operand, p: Any = "fro", dim: Any = None, keepdim: bool = False, **kwargs: Any
) -> Read | None:
    if p not in ("fro", 2, 2.0, None) or kwargs.get("dtype") is not None or dim is None:
        return None
    return _reduce("norm")(input, dim, keepdim)


def _vector_norm(
    input: Operand, ord: Any = 2, dim: Any = None, keepdim: bool = False, **kwargs: Any
) -> Read | None:
    return _norm(input, ord, dim, keepdim, **kwargs)


def _variance(
    input: Operand,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Read | None:
    taken = correction if correction is not None else int(unbiased is not False)
    if dim is None or isinstance(dim, bool) or taken not in (0, 1):
        return None
    return _reduce("sample variance" if taken else "variance")(input, dim, keepdim)


def _interpolate(
    input: Operand,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    *args: Any,
    **kwargs: Any,
) -> Read:
    return Enlarge(mode), (input,)


FUNCTIONS: dict[Any, Reader] = {
    **dict.fromkeys((torch.mean, "mean"), _reduce("average")),
    **dict.fromkeys((torch.amax, "amax"), _reduce("max")),
    **dict.fromkeys((torch.amin, "amin"), _reduce("min")),
    **dict.fromkeys((torch.sum, "sum"), _reduce("sum")),
    **dict.fromkeys((torch.norm, "norm"), _norm),
    torch.linalg.vector_norm: _vector_norm,
    **dict.fromkeys((torch.var, "var"), _variance),
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
    F.pad: _pad,
    **dict.fromkeys((F.interpolate, F.upsample), _interpolate),
}
