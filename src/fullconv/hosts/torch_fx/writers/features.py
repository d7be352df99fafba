"""Linear layers, and what works along the features of a cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from fullconv.blueprint import FeatureNorm, PerChannel, Softmax
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.weights import Weights
from fullconv.hosts.torch_fx.work import Work, argument, called
from fullconv.surgery.edits import AlongChannels, ConvAlongChannels, LinearToConv

CONVS: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS: tuple[Any, ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _linear(work: Work, node: fx.Node, edit: LinearToConv) -> None:
    linear = work.module(node)
    known = linear is None or str(node.target) in work.replaced or work.weights.in_one_shape(linear)
    if known and work.swap(node, lambda module: _convolution(module, edit, work.weights)):
        return
    weight, bias = work.settings(node, "weight", "bias")
    work.call(
        node,
        runtime.linear_as_conv,
        work.input(node),
        weight,
        bias,
        edit.channels,
        edit.kernel,
        edit.dilation,
        edit.order,
        edit.taps,
        edit.bins,
    )


def _convolution(linear: nn.Module, edit: LinearToConv, weights: Weights) -> nn.Module:
    """The convolution over the numbers of a linear layer."""
    assert isinstance(linear, nn.Linear)
    weight = weights.reshaped(linear, edit)
    if edit.bins:
        return runtime.FoldedConv(weight, linear.bias, edit.kernel, edit.dilation, edit.bins)
    with torch.device("meta"):  # its own numbers are never made
        conv: nn.Module = CONVS[len(edit.kernel) - 1](
            edit.channels,
            edit.out_channels,
            edit.kernel,
            dilation=edit.dilation,
            bias=linear.bias is not None,
        )
    conv.weight, conv.bias = weight, linear.bias
    return conv


def _along_channels(work: Work, node: fx.Node, edit: AlongChannels) -> None:
    module, name = work.module(node), called(node)
    kind = type(module) if module is not None else name
    for known, write in _ALONG:
        if kind in known:
            write(work, node, edit)
            return
    if "softmax" in name and module is None:
        _softmax(work, node, edit)
        return
    op = work.blueprint.by_name[work.before[node]].op
    if isinstance(op, PerChannel | FeatureNorm | Softmax) and not work.is_of_torch(node):
        _vector_by_vector(work, node, op)
        return
    for source in node.all_input_nodes:
        if not source.meta.get("of_image", True) and source.meta["value"].numel() > 1:
            with work.graph.inserting_before(node):
                new = work.graph.call_function(runtime.per_channel, (source, edit.axes))
            node.replace_input_with(source, new)


def _batch_norm(work: Work, node: fx.Node, edit: AlongChannels) -> None:
    def build(norm: nn.Module) -> nn.Module:
        twin = share(norm)
        twin.__class__ = BATCH_NORMS[edit.axes - 1]
        return twin

    module: Any = work.module(node)
    if not work.swap(node, build):
        names = ("running_mean", "running_var", "weight", "bias")
        tensors = [work.attribute(node, name) for name in names]
        settings = {"momentum": module.momentum, "eps": module.eps}
        work.call(node, F.batch_norm, work.input(node), *tensors, **settings)


def _softmax(work: Work, node: fx.Node, edit: AlongChannels) -> None:
    module = work.module(node)
    log = isinstance(module, nn.LogSoftmax) or "log" in called(node)
    kind = nn.LogSoftmax if log else nn.Softmax
    if not work.swap(node, lambda m: kind(dim=1)):
        work.call(node, torch.log_softmax if log else torch.softmax, work.input(node), dim=1)


def _layer_norm(work: Work, node: fx.Node, edit: AlongChannels) -> None:
    module: Any = work.module(node)
    if module is not None:
        shape, eps = module.normalized_shape, module.eps
        weight, bias = work.attribute(node, "weight"), work.attribute(node, "bias")
    else:
        shape = argument(node, 1, "normalized_shape")
        weight, bias = argument(node, 2, "weight"), argument(node, 3, "bias")
        eps = argument(node, 4, "eps", 1e-5)
    work.call(node, runtime.layer_norm, work.input(node), tuple(shape), weight, bias, eps)


def _rms_norm(work: Work, node: fx.Node, edit: AlongChannels) -> None:
    module: Any = work.module(node)
    if module is not None:
        shape, eps, weight = module.normalized_shape, module.eps, work.attribute(node, "weight")
    else:
        shape = argument(node, 1, "normalized_shape")
        weight, eps = argument(node, 2, "weight"), argument(node, 3, "eps")
    work.call(node, runtime.rms_norm, work.input(node), tuple(shape), weight, eps)


def _normalize(work: Work, node: fx.Node, edit: AlongChannels) -> None:
    p, eps = argument(node, 1, "p", 2.0), argument(node, 3, "eps", 1e-12)
    work.call(node, F.normalize, work.input(node), p, 1, eps)


def _vector_by_vector(work: Work, node: fx.Node, op: PerChannel | FeatureNorm | Softmax) -> None:
    """What somebody has added gets the vectors of all cells as a batch: it sees what it knows."""
    dims = len(work.blueprint.by_name[work.before[node]].shape)
    axis = {PerChannel: 1, FeatureNorm: dims - 1}.get(type(op)) or getattr(op, "axis", 1)
    source = work.input(node)
    with work.graph.inserting_before(node):
        rows = work.graph.call_function(runtime.vectors, (source, axis, dims))
    node.replace_input_with(source, rows)
    work.after(node, runtime.from_vectors, source)


def _concat(work: Work, node: fx.Node, edit: AlongChannels) -> None:
    work.call(node, torch.cat, argument(node, 0, "tensors"), dim=1)


def _as_it_is(work: Work, node: fx.Node, edit: AlongChannels) -> None:
    """The function itself takes any number of axes."""


_ALONG: tuple[tuple[frozenset[Any], Callable[[Work, fx.Node, AlongChannels], None]], ...] = (
    (frozenset(BATCH_NORMS), _batch_norm),
    (frozenset({nn.Softmax, nn.LogSoftmax}), _softmax),
    (frozenset({nn.LayerNorm, "layer_norm"}), _layer_norm),
    (frozenset({nn.RMSNorm, "rms_norm"}), _rms_norm),
    (frozenset({"normalize"}), _normalize),
    (frozenset({"batch_norm", "prelu"}), _as_it_is),
    (frozenset({"cat", "concat", "concatenate"}), _concat),
)


def _conv_along_channels(work: Work, node: fx.Node, edit: ConvAlongChannels) -> None:
    weight, bias = work.settings(node, "weight", "bias")
    work.call(
        node,
        runtime.conv_channels,
        work.input(node),
        weight,
        bias,
        edit.stride,
        edit.padding,
        edit.dilation,
    )


WRITERS: dict[type, Any] = {
    LinearToConv: _linear,
    AlongChannels: _along_channels,
    ConvAlongChannels: _conv_along_channels,
}
