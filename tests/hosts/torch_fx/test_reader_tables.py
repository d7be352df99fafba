"""Every function, method and module that is in a table of the readers, used in a network.

Nothing can be added to the tables without an example here: the examples are looked up by name.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import assert_at_window, assert_same, crop_map
from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx.functions import FUNCTIONS
from fullconv.hosts.torch_fx.modules import MODULES
from networks import Net, noise, ready

CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
C, CELLS = 6, 4

Call = Callable[..., Any]


def network(middle: Callable[[nn.Module, Any], Any], dims: int = 2, **members) -> nn.Module:
    """A convolution, positive numbers between 0 and 1 on a map of 6 channels, `middle`, an FC."""

    def forward(m, x):
        y = middle(m, torch.sigmoid(m.stem(x)))
        return F.linear(y.flatten(1), m.fc[:, : y[0].numel()])

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


# --- functions and methods ---

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
                lambda f, m, x: f(x.mean((2, 3)), (slice(None), slice(-4, -1)))],
    **dict.fromkeys(("cat", "concat", "concatenate"), _CAT),
    **dict.fromkeys(("mean", "amax"), _MEAN),
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

REFUSED: dict[str, tuple[Callable[[Call, nn.Module, Any], Any], str]] = {
    "scaled_dot_product_attention": (
        lambda f, m, x: f(x, x, x), "scaled_dot_product_attention has no exact dense form"
    ),
    **dict.fromkeys(
        ("matmul", "bmm"),
        (lambda f, m, x: f(x.flatten(2), x.flatten(2).transpose(1, 2)), "matmul has no exact dense"),
    ),
    "group_norm": (lambda f, m, x: f(x, 2), "group_norm has no exact dense form"),
    "instance_norm": (lambda f, m, x: f(x), "instance_norm has no exact dense form"),
}  # fmt: skip
"""Functions that are known and have no dense form, with what their refusal says."""

METHODS = set(dir(torch.Tensor)) - {"__div__", "__rdiv__"}  # Python 2's
PADS = {"pad"}


INNER = {"_threshold": "threshold", "log_sigmoid": "logsigmoid"}
"""Functions that call themselves otherwise than torch.nn.functional calls them."""


def plain(name: str) -> str:
    """`__radd__`, `add_`, `add` are spellings of `add`."""
    if name in INNER:
        return INNER[name]
    if name.startswith("__") and name.endswith("__"):
        inner = name.strip("_")
        return inner[1:] if inner[1:] in EXAMPLES and inner not in EXAMPLES else inner
    return name.rstrip("_")


def spellings() -> dict[str, tuple[str, Call]]:
    """Every key of the functions' table: label -> (name, how to call it)."""
    found: dict[str, tuple[str, Call]] = {}
    for key in FUNCTIONS:
        if isinstance(key, str):
            if key in METHODS:
                found[f"Tensor.{key}"] = (
                    plain(key),
                    lambda x, *args, key=key, **kwargs: getattr(x, key)(*args, **kwargs),
                )
        elif callable(key):
            home = getattr(key, "__module__", None) or "torch"
            found[f"{home}.{key.__name__}".replace("_operator", "operator")] = (
                plain(key.__name__),
                key,
            )
    return found


SPELLINGS = spellings()


def test_no_key_was_lost():
    callables = [key for key in FUNCTIONS if callable(key) or key in METHODS]
    assert len(SPELLINGS) == len(callables) > 200
    names = {name for name, _ in SPELLINGS.values()}
    assert names <= set(EXAMPLES) | set(REFUSED)
    assert set(EXAMPLES) | set(REFUSED) <= names, "examples of functions that are in no table"


def adapted(label: str, call: Call) -> Call:
    """Functions of one name with arguments in another order."""
    if label.startswith("torch.batch_norm") or label.endswith("torch.batch_norm"):

        def batch_norm(x, mean, var, weight=None, bias=None):
            return call(x, weight, bias, mean, var, False, 0.1, 1e-5, False)

        return batch_norm
    return call


@pytest.mark.parametrize("label", [k for k, (name, _) in SPELLINGS.items() if name in EXAMPLES])
def test_function(label):
    name, call = SPELLINGS[label]
    dims = dims_of(name)
    in_place = label.endswith("_") and not label.endswith("__")
    tried = 0
    for example in EXAMPLES[name]:
        model = network(lambda m, x, e=example: e(adapted(label, call), m, x), dims)
        try:
            with torch.no_grad():
                model(noise(2, 2, *(CELLS + 2,) * dims))
        except (TypeError, RuntimeError, ValueError):
            continue  # this spelling does not take these arguments
        tried += 1
        if in_place:
            model = network(lambda m, x, e=example: e(call, m, x * 1), dims)
        assert_equal(model, dims, everywhere=name not in PADS or example is EXAMPLES["pad"][2])
    assert tried, f"no example fits {label}"


@pytest.mark.parametrize("label", [k for k, (name, _) in SPELLINGS.items() if name in REFUSED])
def test_function_without_a_dense_form(label):
    name, call = SPELLINGS[label]
    example, message = REFUSED[name]
    with pytest.raises(RefusedError, match=message):
        fullconv.plan(network(lambda m, x: example(call, m, x)), CELLS + 2)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda x: x.ravel().view(x.size(0), -1),
         r"ravel .*makes 192 of 2 images.\nImages must stay independent"),
        (lambda x: F.dropout(x), r"dropout has no exact dense form.\nIt is on at inference"),
        (lambda x: F.dropout2d(x, 0.2), r"dropout2d has no exact dense form"),
        (lambda x: F.alpha_dropout(x, 0.2, True), r"alpha_dropout has no exact dense form"),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], "there is no rule for .*max_pool2d"),
        (lambda x: x.mean((2, 3), dtype=torch.float32).double(), "there is no rule for Tensor.mean"),
        (lambda x: x.softmax(1, torch.float32).double(), "there is no rule for Tensor.softmax"),
        (lambda x: x.view(torch.int64).view(torch.float64), "there is no rule for Tensor.view"),
        (lambda x: x[:, None], "there is no rule for .*getitem"),
        (lambda x: x[x > 0.5], "depends on the pixel values"),
        (lambda x: x * x.sum().item(), "depends on the pixel values"),
        (lambda x: x if x.sum() > 0 else -x, "depends on the pixel values"),
        (lambda x: F.batch_norm(x, None, None, training=True), "there is no rule for .*batch_norm"),
        (lambda x: x.softmax(0), "softmax over the batch"),
        (lambda x: torch.cat([x, x]), "concatenates along the batch"),
        (lambda x: x.mean(0), "reduces the batch"),
        (lambda x: x.transpose(0, 1), "moves the batch"),
        (lambda x: x[0:1], "indexes the batch"),
        (lambda x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 1)), "pads the batch"),
        (lambda x: x.mean(1), "takes the average over the channels of a 6×4×4 map"),
    ],
)  # fmt: skip
def test_calls_that_are_refused(use, message):
    with pytest.raises(RefusedError) as refusal:
        fullconv.plan(network(lambda m, x: use(x)), CELLS + 2)
    assert re.search(message, str(refusal.value), re.DOTALL), refusal.value


# --- modules ---

_POOL: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": CELLS},
    {"kernel_size": 3, "stride": 1},
]
_PAD = [{"padding": 1}]
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    **dict.fromkeys(
        ("ReLU", "ReLU6", "LeakyReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish",
         "Sigmoid", "Tanh", "Hardtanh", "Hardsigmoid", "Hardswish", "Hardshrink", "LogSigmoid",
         "Softplus", "Softshrink", "Softsign", "Tanhshrink", "Flatten", "Identity", "Dropout",
         "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout",
         "Softmax2d"),
        [{}],
    ),
    "Threshold": [{"threshold": 0.5, "value": 0.1}],
    "PReLU": [{}, {"num_parameters": C}],
    "LocalResponseNorm": [{"size": 3, "alpha": 1.0}],
    **dict.fromkeys(
        ("Conv1d", "Conv2d", "Conv3d"),
        [
            {"in_channels": C, "out_channels": 3, "kernel_size": 2},
            {"in_channels": C, "out_channels": 4, "kernel_size": 2, "stride": 2, "groups": 2},
            {"in_channels": C, "out_channels": 4, "kernel_size": 2, "dilation": 2, "bias": False},
            {"in_channels": C, "out_channels": 4, "kernel_size": CELLS},
        ],
    ),
    **dict.fromkeys(("MaxPool1d", "MaxPool2d", "MaxPool3d"),
                    [*_POOL, {"kernel_size": 2, "stride": 1, "dilation": 2}]),
    **dict.fromkeys(("AvgPool1d",), _POOL),
    **dict.fromkeys(("AvgPool2d", "AvgPool3d"), [*_POOL, {"kernel_size": 2, "divisor_override": 3}]),
    **dict.fromkeys(
        (f"AdaptiveAvgPool{d}d" for d in (1, 2, 3)),
        [{"output_size": n} for n in (1, 2, 3, CELLS)],
    ),
    **dict.fromkeys(
        (f"AdaptiveMaxPool{d}d" for d in (1, 2, 3)), [{"output_size": n} for n in (1, 2, CELLS)]
    ),
    **dict.fromkeys(
        ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"),
        [{"num_features": C}, {"num_features": C, "affine": False}],
    ),
    "Linear": [{"in_features": CELLS**2 * C, "out_features": 5},
               {"in_features": CELLS**2 * C, "out_features": 5, "bias": False}],
    "Softmax": [{"dim": 1}],
    "LogSoftmax": [{"dim": 1}],
    "Unflatten": [{"dim": 1, "unflattened_size": (C, 1)}],
    **dict.fromkeys(("ZeroPad1d", "ZeroPad2d", "ZeroPad3d"), _PAD),
    **dict.fromkeys((f"ConstantPad{d}d" for d in (1, 2, 3)), [{"padding": 1, "value": 0.3}]),
    **dict.fromkeys((f"ReflectionPad{d}d" for d in (1, 2, 3)), _PAD),
    **dict.fromkeys((f"ReplicationPad{d}d" for d in (1, 2, 3)), _PAD),
}  # fmt: skip
_MIXING = "Attention mixes all positions of the window"
_LAYER = {"d_model": C, "nhead": 2, "batch_first": True}
REFUSED_MODULES: dict[str, tuple[Call, Call, str]] = {
    "MultiheadAttention": (lambda: nn.MultiheadAttention(C, 2), lambda m, x: m(x, x, x)[0], _MIXING),
    "Transformer": (
        lambda: nn.Transformer(C, 2, 1, 1, 8, batch_first=True), lambda m, x: m(x, x), _MIXING
    ),
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(**_LAYER), 1),
        lambda m, x: m(x), _MIXING,
    ),
    "TransformerDecoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(**_LAYER), 1),
        lambda m, x: m(x, x), _MIXING,
    ),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(**_LAYER), lambda m, x: m(x), _MIXING
    ),
    "TransformerDecoderLayer": (
        lambda: nn.TransformerDecoderLayer(**_LAYER), lambda m, x: m(x, x), _MIXING
    ),
    **{
        kind.__name__: (
            lambda kind=kind: kind(C, C, batch_first=True), lambda m, x: m(x)[0],
            "A recurrent layer reads positions as a sequence",
        )
        for kind in (nn.RNN, nn.LSTM, nn.GRU)
    },
    "Embedding": (
        lambda: nn.Embedding(9, 4), lambda m, x: m((x > 0.5).int()), "looks up entries by number"
    ),
    "EmbeddingBag": (
        lambda: nn.EmbeddingBag(9, 4), lambda m, x: m((x > 0.5).int().flatten(1)),
        "looks up entries by number",
    ),
    "GroupNorm": (lambda: nn.GroupNorm(2, C), lambda m, x: m(x), "taken over the whole map"),
    **{
        kind.__name__: (
            lambda kind=kind: kind(C), lambda m, x: m(x), "taken over the whole map"
        )
        for kind in (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    },
}  # fmt: skip


def test_every_module_has_an_example():
    names = {kind.__name__ for kind in MODULES}
    assert names == set(ARGUMENTS) | set(REFUSED_MODULES)
    assert not set(ARGUMENTS) & set(REFUSED_MODULES)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_module(name):
    kind = getattr(nn, name)
    dims = dims_of(name)
    for arguments in ARGUMENTS[name]:
        prepare = (lambda x: x.flatten(1)) if name == "Linear" else (lambda x: x)
        model = network(
            lambda m, x, p=prepare: m.module((p(x) - 0.4) * 3), dims, module=kind(**arguments)
        )
        with torch.no_grad():
            for parameter in model.module.parameters():
                parameter.copy_(torch.randn_like(parameter))
        assert_equal(model, dims, everywhere="Pad" not in name)


@pytest.mark.parametrize(
    "name", ["PReLU", "BatchNorm1d", "Dropout", "Softmax", "LogSoftmax", "ReLU"]
)
def test_module_on_a_vector(name):
    arguments = {"PReLU": (C,), "BatchNorm1d": (C,), "Softmax": (-1,), "LogSoftmax": (1,)}
    module = getattr(nn, name)(*arguments.get(name, ()))
    model = network(lambda m, x: m.module(x.mean((2, 3)) - 0.5), module=module)
    assert_equal(model, 2)


@pytest.mark.parametrize("name", REFUSED_MODULES)
def test_module_without_a_dense_form(name):
    build, use, message = REFUSED_MODULES[name]
    dims = dims_of(name)
    flat = name.endswith("d") or name.startswith(("Group", "Embedding"))

    def middle(m, x):
        return use(m.module, x if flat else x.flatten(2).transpose(1, 2))

    with pytest.raises(RefusedError, match=message) as refusal:
        fullconv.plan(network(middle, dims, module=build()), CELLS + 2)
    assert f"module ({name})" in str(refusal.value)


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
def test_batch_norm_of_the_batch_is_refused(kind):
    dims = dims_of(kind.__name__)
    model = network(lambda m, x: m.module(x), dims, module=kind(C, track_running_stats=False))
    with pytest.raises(RefusedError) as refusal:
        fullconv.plan(model, CELLS + 2)
    assert str(refusal.value).startswith(
        f"module ({kind.__name__}): {kind.__name__} without running statistics has no exact dense "
        "form.\nIt normalises with the statistics of its input"
    )


@pytest.mark.parametrize(
    "use",
    [
        lambda m, x: m.prelu(x.flatten(1)),
        lambda m, x: m.prelu_each(x.permute(0, 2, 3, 1)),
        lambda m, x: m.response(x.permute(0, 2, 3, 1)),
        lambda m, x: m.norm(x.flatten(1)),
        lambda m, x: m.norm_cells(x.permute(0, 2, 3, 1)),
    ],
)
def test_what_works_along_axis_1_where_that_is_not_the_channels(use):
    model = network(
        use,
        prelu=nn.PReLU(C * CELLS**2),
        prelu_each=nn.PReLU(CELLS),
        response=nn.LocalResponseNorm(3),
        norm=nn.BatchNorm1d(C * CELLS**2),
        norm_cells=nn.BatchNorm2d(CELLS),
    )
    with pytest.raises(RefusedError, match="treats axis 1 of a 6×4×4 map as channels, which it is"):
        fullconv.plan(model, CELLS + 2)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "hook",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        lambda fc: nn.utils.prune.l1_unstructured(fc, "weight", 0.5),
    ],
    ids=["weight norm", "spectral norm", "pruning"],
)
def test_linear_layers_whose_weight_a_hook_computes_are_refused(hook):
    import torch.nn.utils.prune  # noqa: F401  (not imported by torch itself)

    model = network(lambda m, x: m.module(x.flatten(1)), module=hook(nn.Linear(96, 5)))
    with pytest.raises(
        RefusedError, match=r"Make it permanent first .*remove_weight_norm"
    ) as error:
        fullconv.plan(model, CELLS + 2)
    assert str(error.value).startswith("module (Linear): ")


@pytest.mark.parametrize(
    "parametrize",
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm],
)
def test_parametrized_weights_convert(parametrize):
    model = network(lambda m, x: m.module(x.flatten(1)), module=parametrize(nn.Linear(96, 5)))
    assert_equal(model, 2)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_convolution_with_weight_norm_converts():
    conv = nn.utils.weight_norm(nn.Conv2d(C, 4, 2))
    assert_equal(network(lambda m, x: m.module(x), module=conv), 2)
