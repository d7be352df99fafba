"""A small network around any op, and how every function that has a reader is called in one."""

import re
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import assert_at_window, assert_same, crop_map
from networks import Net, noise, ready

CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
C, CELLS = 6, 4

Call = Callable[..., Any]


def network(middle: Callable[[nn.Module, Any], Any], dims: int = 2, **members) -> nn.Module:
    """A convolution, positive numbers between 0 and 1 on a map of 6 channels, `middle`, an FC."""

    def forward(m, x):
        y = middle(m, torch.sigmoid(m.stem(x))).flatten(1)
        return F.linear(y, m.fc[:, : y.shape[1]])

    return ready(
        Net(
            forward,
            stem=CONV[dims - 1](2, C, 3),
            fc=nn.Parameter(torch.randn(3, 4 * C * 9**dims)),
            kernel=nn.Parameter(torch.randn(C, C, *(2,) * dims)),
            pair=nn.Parameter(torch.randn(C, 1, *(2,) * dims)),
            square=nn.Parameter(torch.randn(C, C)),
            each=nn.Parameter(torch.rand(C) + 0.5),
            one=nn.Parameter(torch.rand(1) + 0.5),
            map_each=nn.Parameter(torch.rand(1, C, *(1,) * dims) + 0.5),
            **members,
        )
    )


def assert_equal(model: nn.Module, dims: int, *, everywhere: bool = True) -> None:
    """Promise 1, and promise 2 unless something in it pads."""
    window = (CELLS + 2,) * dims
    fcn = fullconv.convert(model, window)
    assert_at_window(model, fcn, noise(2, 2, *window), noise(3, 2, *window))
    assert fcn.plan.exact_windows == everywhere
    if everywhere:
        image = noise(2, 2, *(size + extra for size, extra in zip(window, (3, 2, 1), strict=False)))
        with torch.no_grad():
            assert_same(fcn(image), crop_map(model, image, window, fcn.stride))


def dims_of(name: str) -> int:
    """`max_pool3d` works on three axes; most work on two."""
    found = re.search(r"([123])d$", name)
    return int(found[1]) if found else 2


_UNARY: list[Callable[[Call, nn.Module, Any], Any]] = [lambda f, m, x: f(x)]
_BINARY = [
    lambda f, m, x: f(x, 2.0),
    lambda f, m, x: f(x, x.exp()),
    lambda f, m, x: f(x, m.map_each),
    lambda f, m, x: f(x.mean((2, 3)), m.each),
    lambda f, m, x: f(x.mean((2, 3)), m.one),
]
# A plain 1 is exact in every precision.
_CASTS = [lambda f, m, x: f((x * 0).exp()).double() * x]
_DROPOUT = [
    lambda f, m, x: f(x, 0.5, False),
    lambda f, m, x: f(x.mean((2, 3)), 0.5, False),
]
_SOFTMAX = [
    lambda f, m, x: f(x, 1),
    lambda f, m, x: f(x.mean((2, 3)), -1),
    lambda f, m, x: f(x.flatten(2).mean(2), dim=1),
    lambda f, m, x: f(x.permute(0, 2, 3, 1), 3),
]
_MEAN = [
    lambda f, m, x: f(x, (2, 3)),
    lambda f, m, x: f(x, dim=[-2, -1], keepdim=True),
    lambda f, m, x: f(f(x, 3), 2),
    lambda f, m, x: f(x, 2),
    lambda f, m, x: f(x, axis=(2, 3), keepdims=True),
    lambda f, m, x: f(x.permute(0, 2, 3, 1), (1, 2)),
]
_AXES = [
    lambda f, m, x: f(x, 1, 2),
    lambda f, m, x: f(x, -1, -2),
    lambda f, m, x: f(f(x, 1, 3), 1, 2),
]
_CAT = [
    lambda f, m, x: f([x, x * 2], 1),
    lambda f, m, x: f((x, x * x, x), dim=-3),
    lambda f, m, x: f([x.mean((2, 3)), x.amax((2, 3))], dim=1),
    lambda f, m, x: f((x.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1) * 3), -1),
]
_POOLS = [
    lambda f, m, x: f(x, 2),
    lambda f, m, x: f(x, kernel_size=2, stride=1),
    lambda f, m, x: f(x, CELLS),
    lambda f, m, x: f(x, x.shape[2:]),
]
_ADAPTIVE = [lambda f, m, x: f(x, 1), lambda f, m, x: f(x, CELLS), lambda f, m, x: f(x, 2)]
_CONVOLUTIONS = [
    lambda f, m, x: f(x, m.kernel),
    lambda f, m, x: f(x, m.kernel, bias=m.each, stride=2),
    lambda f, m, x: f(x, m.kernel, m.each, 1, 0, 2),
    lambda f, m, x: f(x, m.pair, groups=C),
    lambda f, m, x: f(x, m.pair, None, 1, 0, 1, C),
]
_RESHAPES = [
    lambda f, m, x: f(x, (x.size(0), C, CELLS**2)),
    lambda f, m, x: f(x, (-1, C * CELLS**2)),
    lambda f, m, x: f(f(x, (x.size(0), C, -1)), (x.size(0), C, CELLS, CELLS)),
]

EXAMPLES: dict[str, list[Callable[[Call, nn.Module, Any], Any]]] = {
    **dict.fromkeys(
        ("neg", "square", "abs", "exp", "sqrt", "rsqrt", "reciprocal", "log", "pos", "relu",
         "relu6", "leaky_relu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "sigmoid",
         "tanh", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "logsigmoid", "softplus",
         "softshrink", "softsign", "tanhshrink", "contiguous", "detach", "clone"),
        _UNARY,
    ),
    **dict.fromkeys(
        ("add", "sub", "mul", "div", "truediv", "true_divide", "multiply", "divide", "subtract"),
        _BINARY,
    ),
    **dict.fromkeys(("iadd", "isub", "imul", "itruediv"), _BINARY),
    **dict.fromkeys(("maximum", "minimum"), _BINARY[1:]),
    **dict.fromkeys(("clamp", "clip"), [lambda f, m, x: f(x, 0.3, 0.7), lambda f, m, x: f(x, min=0.5)]),
    "pow": [*_BINARY[:3], lambda f, m, x: f(x, 3)],
    "threshold": [lambda f, m, x: f(x, 0.5, 0.1)],
    "prelu": [lambda f, m, x: f(x - 0.5, m.each), lambda f, m, x: f(x.mean((2, 3)) - 0.5, m.each),
              lambda f, m, x: f(x - 0.5, m.one)],
    "local_response_norm": [lambda f, m, x: f(x, 3, alpha=1.0)],
    **dict.fromkeys(("float", "half", "double"), _CASTS),
    "to": [lambda f, m, x: f(x, torch.float64), lambda f, m, x: f(x, x.device)],
    "type": [lambda f, m, x: f(x, torch.float64)],
    "type_as": [lambda f, m, x: f(x, m.each)],
    **dict.fromkeys(
        ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
         "feature_alpha_dropout"),
        _DROPOUT[:1],
    ),
    "flatten": [lambda f, m, x: f(x, 1), lambda f, m, x: f(x, 2), lambda f, m, x: f(x, 2, -1)],
    **dict.fromkeys(("view", "reshape"), _RESHAPES),
    "squeeze": [lambda f, m, x: f(x), lambda f, m, x: f(x.mean((2, 3), keepdim=True)),
                lambda f, m, x: f(x.mean(2, keepdim=True), 2)],
    "unsqueeze": [lambda f, m, x: f(x.mean((2, 3)), 2), lambda f, m, x: f(x, 1)],
    "unflatten": [lambda f, m, x: f(x.flatten(2), 2, (CELLS, CELLS)),
                  lambda f, m, x: f(x.flatten(1), 1, (C, CELLS, CELLS))],
    "ravel": [lambda f, m, x: x],  # merges the batch: see the refusals
    "view_as": [lambda f, m, x: f(x.flatten(1), x), lambda f, m, x: f(x, x.flatten(2))],
    "permute": [lambda f, m, x: f(x, (0, 2, 3, 1)), lambda f, m, x: f(x, [0, -1, 1, 2])],
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _AXES),
    "getitem": [lambda f, m, x: f(x, (slice(None), slice(1, 4))),
                lambda f, m, x: f(x, (Ellipsis, slice(None, None, 2), slice(None, None, 2))),
                lambda f, m, x: f(x, (slice(None), slice(None, None, 2))),
                lambda f, m, x: f(x, (slice(None), slice(None), slice(1, None))),
                lambda f, m, x: f(x, (slice(None), 2)),
                lambda f, m, x: f(x, (slice(None), None)),
                lambda f, m, x: f(x.mean((2, 3)), (Ellipsis, None, None)),
                lambda f, m, x: f(x.mean((2, 3)), (slice(None), slice(-4, -1)))],
    **dict.fromkeys(("cat", "concat", "concatenate"), _CAT),
    **dict.fromkeys(("mean", "amax", "amin", "sum"), _MEAN),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONVOLUTIONS),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _POOLS),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _POOLS),
    **dict.fromkeys(
        (f"adaptive_{kind}_pool{d}d" for kind in ("avg", "max") for d in (1, 2, 3)), _ADAPTIVE
    ),
    "pad": [lambda f, m, x: f(x, (1, 0, 2, 1)), lambda f, m, x: f(x, (1, 1), mode="reflect"),
            lambda f, m, x: f(x, (0, 0, 0, 0, 1, 2))],
    "linear": [lambda f, m, x: f(x.mean((2, 3)), m.square), lambda f, m, x: f(x.mean((2, 3)), m.square, m.each),
               lambda f, m, x: f(x.permute(0, 2, 3, 1), weight=m.square, bias=m.each)],
    "batch_norm": [lambda f, m, x: f(x, m.each * 0.1, m.each), lambda f, m, x: f(x.mean((2, 3)), m.each, m.each, m.each, m.each)],
    **dict.fromkeys(("softmax", "log_softmax"), _SOFTMAX),
}  # fmt: skip


MORE: dict[str, list[Callable[[Call, nn.Module, Any], Any]]] = {
    **dict.fromkeys(("erf", "expm1", "log1p", "sign", "sin", "cos"), _UNARY),
    "addcmul": [lambda f, m, x: f(x, x, x.exp(), value=0.5), lambda f, m, x: f(x, x, m.map_each)],
    "addcdiv": [lambda f, m, x: f(x, x, x.exp(), value=0.5)],
    "lerp": [lambda f, m, x: f(x, x.exp(), 0.3), lambda f, m, x: f(x, x.exp(), x)],
    "where": [lambda f, m, x: f((x - 0.5).sign(), (x - 0.5).sign() * 0 + x, x.exp()),
              lambda f, m, x: f(F.relu(x - 0.5).to(torch.bool), x, x.exp()),
              lambda f, m, x: f(x, F.relu(x - 0.5).to(torch.bool), x.exp())],
    "stack": [
        lambda f, m, x: f([x, x * 2], 1),
        lambda f, m, x: f((x.mean((2, 3)), x.amax((2, 3))), dim=1).sum(1),
        lambda f, m, x: f([x.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1) ** 2], 3).flatten(3),
    ],
    "narrow": [lambda f, m, x: f(x, 1, 1, 3), lambda f, m, x: f(x.mean((2, 3)), -1, -4, length=2)],
    **dict.fromkeys(
        ("movedim", "moveaxis"),
        [lambda f, m, x: f(x, 1, -1), lambda f, m, x: f(x, 3, 1).flatten(1),
         lambda f, m, x: f(f(x, 1, 3), -1, 1)],
    ),
    **dict.fromkeys(
        ("expand", "broadcast_to"),
        [lambda f, m, x: f(x.mean((2, 3), keepdim=True), (x.size(0), C, CELLS, CELLS)) * x],
    ),
    "expand_as": [lambda f, m, x: f(x.mean((2, 3), keepdim=True), x) * x],
    "norm": [lambda f, m, x: f(x, dim=(2, 3)), lambda f, m, x: f(x, 2, 1, True),
             lambda f, m, x: f(x, p="fro", dim=(-1, -2), keepdim=True)],
    "linalg_vector_norm": [lambda f, m, x: f(x, dim=(2, 3)), lambda f, m, x: f(x, 2, 1, True)],
    "var": [lambda f, m, x: f(x, (2, 3)), lambda f, m, x: f(x, (2, 3), False, True),
            lambda f, m, x: f(x, dim=1, correction=0), lambda f, m, x: f(x, 1, keepdim=True)],
    "layer_norm": [lambda f, m, x: f(x.permute(0, 2, 3, 1), (C,), m.each),
                   lambda f, m, x: f(x.mean((2, 3)), [C], eps=0.1),
                   lambda f, m, x: f(x.movedim(1, 3), (C,), weight=m.each, bias=m.each)],
    "rms_norm": [lambda f, m, x: f(x.permute(0, 2, 3, 1), (C,), m.each),
                 lambda f, m, x: f(x.mean((2, 3)), [C], eps=0.1)],
    "normalize": [lambda f, m, x: f(x.mean((2, 3))), lambda f, m, x: f(x.permute(0, 2, 3, 1), 1.0, -1)],
    "interpolate": [lambda f, m, x: f(F.max_pool2d(x, 2), scale_factor=2),
                    lambda f, m, x: f(F.avg_pool2d(x, (2, 1)), (CELLS, CELLS)),
                    lambda f, m, x: x + f(F.avg_pool2d(x, 2), size=x.shape[2:])],
    "upsample": [lambda f, m, x: f(F.max_pool2d(x, 2), scale_factor=2)],
    "pixel_unshuffle": [lambda f, m, x: f(x, 2)],
    "group_norm": [lambda f, m, x: f(x, 2), lambda f, m, x: f(x, 3, m.each, m.each, 0.1),
                   lambda f, m, x: f(x, C, eps=0.1, bias=m.each)],
    "instance_norm": [lambda f, m, x: f(x), lambda f, m, x: f(x, weight=m.each, bias=m.each, eps=0.1)],
}  # fmt: skip
"""Of functions that stand beside a context op, or that have rules of their own."""

EXAMPLES |= MORE
CONTEXT = {"group_norm", "instance_norm", "expand", "expand_as", "broadcast_to"}
"""What looks at all of the map: in a larger image its cells are no crops."""
