"""Every module that is in the table of the readers, used in a network."""

import re
from typing import Any

import pytest
import torch
from reader_examples import CELLS, C, Call, assert_equal, dims_of, network
from torch import nn

import fullconv
from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx.modules import MODULES

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
    "GroupNorm": [{"num_groups": 2, "num_channels": C}, {"num_groups": C, "num_channels": C, "affine": False}],
    **dict.fromkeys(
        (f"InstanceNorm{d}d" for d in (1, 2, 3)),
        [{"num_features": C}, {"num_features": C, "affine": True}],
    ),
    "LayerNorm": [{"normalized_shape": C}, {"normalized_shape": C, "bias": False},
                  {"normalized_shape": C, "elementwise_affine": False, "eps": 0.1}],
    "RMSNorm": [{"normalized_shape": C}, {"normalized_shape": C, "eps": 0.1}],
    "Upsample": [{"scale_factor": 2}, {"size": (CELLS, CELLS)}],
    "UpsamplingNearest2d": [{"scale_factor": 2}],
    "PixelUnshuffle": [{"downscale_factor": 2}],
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
}  # fmt: skip


def test_every_module_has_an_example():
    names = {kind.__name__ for kind in MODULES}
    assert names == set(ARGUMENTS) | set(REFUSED_MODULES)
    assert not set(ARGUMENTS) & set(REFUSED_MODULES)


PREPARE: dict[str, Call] = {
    "Linear": lambda x: x.flatten(1),
    **dict.fromkeys(("LayerNorm", "RMSNorm"), lambda x: x.movedim(1, -1)),
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d"), lambda x: nn.functional.avg_pool2d(x, 2)),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_module(name):
    kind = getattr(nn, name)
    dims = dims_of(name)
    for arguments in ARGUMENTS[name]:
        prepare = PREPARE.get(name, lambda x: x)
        model = network(
            lambda m, x, p=prepare: m.module((p(x) - 0.4) * 3), dims, module=kind(**arguments)
        )
        with torch.no_grad():
            for parameter in model.module.parameters():
                parameter.copy_(torch.randn_like(parameter))
        assert_equal(model, dims, everywhere=re.search("Pad|GroupNorm|InstanceNorm", name) is None)


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
