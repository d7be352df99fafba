"""What an FCN calls at run time beyond PyTorch's own functions; every map is `(N, C, *cells)`."""

from fullconv.hosts.torch_fx.runtime.channels import (
    conv_channels,
    from_vectors,
    layer_norm,
    reduce_part,
    rms_norm,
    shuffle_channels,
    softmax_part,
    space_to_depth,
    vectors,
)
from fullconv.hosts.torch_fx.runtime.context import attend, norm_context, pool_context
from fullconv.hosts.torch_fx.runtime.depth import StochasticDepth
from fullconv.hosts.torch_fx.runtime.frame import check_image, common, whole_windows
from fullconv.hosts.torch_fx.runtime.linear import (
    CONV,
    FoldedConv,
    conv_weight,
    folded,
    linear_as_conv,
    linear_weight,
    per_channel,
)
from fullconv.hosts.torch_fx.runtime.phases import pad_phases, repeated, rephased, together
from fullconv.hosts.torch_fx.runtime.pools import (
    AVERAGE_POOL,
    MAX_POOL,
    average_pool,
    box,
    max_pool,
)
from fullconv.hosts.torch_fx.runtime.product import ProductConv

CALLS = (
    attend,
    average_pool,
    box,
    check_image,
    common,
    conv_channels,
    from_vectors,
    layer_norm,
    linear_as_conv,
    max_pool,
    norm_context,
    pad_phases,
    per_channel,
    pool_context,
    reduce_part,
    repeated,
    rephased,
    rms_norm,
    shuffle_channels,
    softmax_part,
    space_to_depth,
    together,
    vectors,
    whole_windows,
)
"""Every function that an FCN's graph may call here."""

__all__ = [
    "AVERAGE_POOL",
    "CALLS",
    "CONV",
    "MAX_POOL",
    "FoldedConv",
    "ProductConv",
    "StochasticDepth",
    "attend",
    "average_pool",
    "box",
    "check_image",
    "common",
    "conv_channels",
    "conv_weight",
    "folded",
    "from_vectors",
    "layer_norm",
    "linear_as_conv",
    "linear_weight",
    "max_pool",
    "norm_context",
    "pad_phases",
    "per_channel",
    "pool_context",
    "reduce_part",
    "repeated",
    "rephased",
    "rms_norm",
    "shuffle_channels",
    "softmax_part",
    "space_to_depth",
    "together",
    "vectors",
    "whole_windows",
]
