"""What the modules of `torch.nn` compute, in the words of the blueprint.

Modules are looked up by exact type: a subclass may pad or scale in its own `forward`, so it is
traced through instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from fullconv.blueprint import (
    AdaptivePool,
    Convolution,
    Elementwise,
    Enlarge,
    FeatureNorm,
    GroupNorm,
    Identity,
    Linear,
    Op,
    Pad,
    PerChannel,
    Pool,
    Refused,
    Reshape,
    Softmax,
    SpaceToDepth,
    Unknown,
)
from fullconv.geometry import Sweep
from fullconv.surgery.rules import ATTENTION

Shape = tuple[int, ...]
ModuleReader = Callable[[Any, Shape], Op]
"""Gets the module and the shape of its input."""


def spread(value: Any, dims: int) -> tuple[Any, ...]:
    """One entry per spatial axis of an argument that may be a single one for all."""
    return tuple(value) if isinstance(value, tuple | list) else (value,) * dims


def sweeps(
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    dims: int,
    *,
    ceil_mode: bool = False,
) -> tuple[Sweep, ...]:
    """The sweeps of a convolution or pool from PyTorch's arguments."""
    kernels, dilations = spread(kernel, dims), spread(dilation, dims)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernels, dilations, strict=True)]
        pads = tuple((total // 2, total - total // 2) for total in totals)
    else:
        plain = 0 if padding == "valid" else padding
        pads = tuple((p, p) for p in spread(plain, dims))
    # Pools accept an empty stride for "as the kernel".
    strides = spread(kernel if stride is None or stride == () else stride, dims)
    return tuple(
        Sweep(k, s, p, d, ceil_mode)
        for k, s, p, d in zip(kernels, strides, pads, dilations, strict=True)
    )


def adaptive(kind: Any, output: Any, shape: Shape) -> AdaptivePool:
    """An adaptive pool; a None in its output size keeps that axis."""
    sizes = shape[2:]
    wanted = spread(output, len(sizes))
    cells = tuple(size if k is None else k for k, size in zip(wanted, sizes, strict=True))
    return AdaptivePool(kind, cells)


def padded(amounts: Any, shape: Shape, mode: str) -> Pad:
    """Padding as `torch.nn.functional.pad` takes it: last axis first, before and after."""
    pairs = [(amounts[i], amounts[i + 1]) for i in range(0, len(amounts), 2)]
    leading = [(0, 0)] * (len(shape) - len(pairs))
    return Pad((*leading, *reversed(pairs)), mode)


def softmax_axis(axis: int | None, shape: Shape) -> int:
    """The axis softmax uses; without one, PyTorch's legacy choice."""
    if axis is None:
        return 0 if len(shape) in (0, 1, 3) else 1
    return axis % len(shape)


def _convolution(m: Any, shape: Shape) -> Op:
    grid = sweeps(m.kernel_size, m.stride, m.padding, m.dilation, len(shape) - 2)
    return Convolution(m.out_channels, grid, m.groups, m.padding_mode)


def _linear(m: Any, shape: Shape) -> Op:
    if m._parameters.get("weight") is None:
        return Refused("Linear with a weight that a hook computes", HOOKED)
    return Linear(m.in_features, m.out_features)


def _batch_norm(m: Any, shape: Shape) -> Op:
    if m.running_mean is None:
        return Refused(f"{type(m).__name__} without running statistics", BATCH_NORM)
    return PerChannel(type(m).__name__, m.num_features)


def _instance_norm(m: Any, shape: Shape) -> Op:
    if m.track_running_stats and m.running_mean is not None:
        return PerChannel(type(m).__name__, shape[1])
    return GroupNorm("instance norm", shape[1])


def _feature_norm(name: str) -> ModuleReader:
    def describe(m: Any, shape: Shape) -> Op:
        return FeatureNorm(name, len(m.normalized_shape), m.elementwise_affine)

    return describe


def _upsample(m: Any, shape: Shape) -> Op:
    return Enlarge(m.mode)


def _per_channel(m: Any, shape: Shape) -> Op:
    return PerChannel(type(m).__name__, shape[1])


def _max_pool(m: Any, shape: Shape) -> Op:
    if m.return_indices:
        return Unknown(f"{type(m).__name__} with return_indices")
    dims = len(shape) - 2
    grid = sweeps(m.kernel_size, m.stride, m.padding, m.dilation, dims, ceil_mode=m.ceil_mode)
    return Pool("max", grid)


def _average_pool(m: Any, shape: Shape) -> Op:
    dims = len(shape) - 2
    grid = sweeps(m.kernel_size, m.stride, m.padding, 1, dims, ceil_mode=m.ceil_mode)
    return Pool("average", grid, m.count_include_pad, getattr(m, "divisor_override", None))


def _pad(mode: str) -> ModuleReader:
    return lambda m, shape: padded(m.padding, shape, mode)


def _named(op: Callable[[str], Op]) -> ModuleReader:
    return lambda m, shape: op(type(m).__name__)


def _refused(why: str) -> ModuleReader:
    return lambda m, shape: Refused(type(m).__name__, why)


RECURRENT = (
    "A recurrent layer reads positions as a sequence and carries state from one to the next."
)
RANDOM = (
    "It is on at inference (training=True is its default), so every answer is drawn anew; pass "
    "training=self.training."
)
BATCH_NORM = (
    "It normalises with the statistics of its input, so every number depends on the whole image "
    "and on the other images of the batch."
)
HOOKED = (
    "A convolution cannot take over such a weight under its own name. Make it permanent first "
    "(torch.nn.utils.remove_weight_norm, remove_spectral_norm, prune.remove), or use "
    "torch.nn.utils.parametrizations."
)
LOOKUP = "It looks up entries by number; it does not work on images."

_elementwise = _named(Elementwise)
_identity = _named(Identity)

MODULES: dict[type, ModuleReader] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _average_pool),
    **dict.fromkeys(
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        lambda m, shape: adaptive("average", m.output_size, shape),
    ),
    **dict.fromkeys(
        (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        lambda m, shape: adaptive("max", m.output_size, shape),
    ),
    nn.Linear: _linear,
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        _batch_norm,
    ),
    **dict.fromkeys((nn.PReLU, nn.LocalResponseNorm), _per_channel),
    **dict.fromkeys((nn.Flatten, nn.Unflatten), _named(Reshape)),
    nn.Softmax: lambda m, shape: Softmax(softmax_axis(m.dim, shape)),
    nn.LogSoftmax: lambda m, shape: Softmax(softmax_axis(m.dim, shape), "log-softmax"),
    nn.Softmax2d: lambda m, shape: Softmax(1),
    **dict.fromkeys(
        (
            nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
            nn.FeatureAlphaDropout, nn.Identity,
        ),
        _identity,
    ),
    **dict.fromkeys(
        (
            nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU,
            nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish,
            nn.Hardshrink, nn.LogSigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanhshrink,
            nn.Threshold,
        ),
        _elementwise,
    ),
    **dict.fromkeys((nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d), _pad("constant")),
    **dict.fromkeys((nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d), _pad("constant")),
    **dict.fromkeys((nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d), _pad("reflect")),
    **dict.fromkeys(
        (nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d), _pad("replicate")
    ),
    **dict.fromkeys(
        (
            nn.MultiheadAttention, nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder,
            nn.TransformerEncoderLayer, nn.TransformerDecoderLayer,
        ),
        _refused(ATTENTION),
    ),
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU), _refused(RECURRENT)),
    **dict.fromkeys((nn.Embedding, nn.EmbeddingBag), _refused(LOOKUP)),
    nn.GroupNorm: lambda m, shape: GroupNorm("group norm", m.num_groups),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_norm),
    nn.LayerNorm: _feature_norm("layer norm"),
    nn.RMSNorm: _feature_norm("RMS norm"),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d), _upsample),
    nn.PixelUnshuffle: lambda m, shape: SpaceToDepth(m.downscale_factor),
}  # fmt: skip
"""Everything fullconv knows of `torch.nn`, on one screen."""

FOREIGN: dict[str, ModuleReader] = {
    "torchvision.ops.stochastic_depth.StochasticDepth": _identity,
    "timm.layers.drop.DropPath": _identity,
}
"""Modules of other packages that are not traced through, by name: they decide by their mode."""


def qualified(thing: Any) -> str:
    """The name of a type or a function with that of its module."""
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
