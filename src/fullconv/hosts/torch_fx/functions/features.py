"""Functions along the features of a cell: linear layers, norms, softmax, attention."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F

from fullconv.blueprint import FeatureNorm, GroupNorm, Linear, MatMul, PerChannel, Softmax
from fullconv.hosts.torch_fx.functions.operand import Operand, Read, Reader, operands, refused
from fullconv.hosts.torch_fx.modules import softmax_axis
from fullconv.surgery.rules import ATTENTION


def _prelu(input: Operand, weight: Operand) -> Read:
    return PerChannel("prelu", input.shape[1]), (input, weight)


def _response_norm(input: Operand, *args: Any, **kwargs: Any) -> Read:
    return PerChannel("local_response_norm", input.shape[1]), (input,)


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


def _layer_norm(
    input: Operand,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Read:
    read = operands((input, weight, bias))
    return FeatureNorm("layer norm", len(normalized_shape), len(read) > 1), read


def _rms_norm(
    input: Operand, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Read:
    read = operands((input, weight))
    return FeatureNorm("RMS norm", len(normalized_shape), len(read) > 1), read


def _normalize(
    input: Operand, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Read | None:
    if input.axis(dim) != len(input.shape) - 1:
        return None
    return FeatureNorm("normalize", 1, False), (input,)


def _group_norm(
    input: Operand, num_groups: int, weight: Any = None, bias: Any = None, *args: Any, **kwargs: Any
) -> Read:
    return GroupNorm("group norm", num_groups), operands((input, weight, bias))


def _instance_norm(
    input: Operand,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    *args: Any,
    **kwargs: Any,
) -> Read:
    if not use_input_stats:
        read = operands((input, running_mean, running_var, weight, bias))
        return PerChannel("instance_norm", input.shape[1]), read
    return GroupNorm("instance norm", input.shape[1]), operands((input, weight, bias))


def _matmul(input: Operand, mat2: Any = None, other: Any = None) -> Read:
    second = other if mat2 is None else mat2
    return MatMul("matmul"), operands((input, second))


FUNCTIONS: dict[Any, Reader] = {
    **dict.fromkeys((F.prelu, torch.prelu), _prelu),
    F.local_response_norm: _response_norm,
    F.linear: _linear,
    F.batch_norm: _batch_norm,
    torch.batch_norm: _torch_batch_norm,
    **dict.fromkeys((F.layer_norm, torch.layer_norm), _layer_norm),
    **dict.fromkeys((F.rms_norm, torch.rms_norm), _rms_norm),
    F.normalize: _normalize,
    F.group_norm: _group_norm,
    F.instance_norm: _instance_norm,
    **dict.fromkeys((F.softmax, torch.softmax, "softmax"), _softmax("softmax")),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, "log_softmax"), _softmax("log-softmax")),
    F.scaled_dot_product_attention: refused("scaled_dot_product_attention", ATTENTION),
    **dict.fromkeys((torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm", "__matmul__"),
                    _matmul),
}  # fmt: skip
