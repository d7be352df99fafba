import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.functions import FUNCTIONS
from fullconv.hosts.torch_fx.modules import MODULES
from fullconv.hosts.torch_fx.saved.listed import (
    FUNCTION_BY_NAME,
    KINDS,
    METHODS,
    NAME_OF_FUNCTION,
    path,
    settings_of,
    word,
)


def test_every_function_with_a_reader_has_a_name_that_leads_back_to_it():
    for function in FUNCTIONS:
        if callable(function):
            assert FUNCTION_BY_NAME[NAME_OF_FUNCTION[id(function)]] is function
    for name, function in FUNCTION_BY_NAME.items():
        assert id(function) in NAME_OF_FUNCTION, name


def test_names_are_public_where_there_is_a_public_one():
    assert NAME_OF_FUNCTION[id(operator.add)] == "operator.add"
    assert NAME_OF_FUNCTION[id(F.threshold)] in ("torch.threshold", "torch.nn.functional.threshold")
    assert NAME_OF_FUNCTION[id(runtime.common)] == "fullconv.common"
    private = [name for name in NAME_OF_FUNCTION.values() if name.rpartition(".")[2][0] == "_"]
    assert set(private) <= {"torch._weight_norm"}


def test_nothing_on_the_list_can_do_harm():
    words = ("load", "save", "open", "system", "exec", "eval", "import", "compile", "hub", "jit",
             "library", "ops", "getattr", "setattr", "call", "methodcaller", "attrgetter")  # fmt: skip
    for name in (*FUNCTION_BY_NAME, *METHODS, *KINDS):
        assert not any(part in words for part in name.lower().replace("_", ".").split(".")), name
    assert "__reduce__" not in METHODS
    assert "apply_" not in METHODS
    assert "map_" not in METHODS
    assert "register_hook" not in METHODS


def test_kinds_are_those_an_fcn_may_hold():
    assert KINDS["Conv2d"] is nn.Conv2d
    assert KINDS["FoldedConv"] is runtime.FoldedConv
    assert KINDS["StochasticDepth"] is runtime.StochasticDepth
    for kind in (nn.LSTM, nn.Transformer, nn.Embedding, nn.MultiheadAttention):
        assert kind in MODULES
        assert kind.__name__ not in KINDS


def test_settings_are_what_a_module_is_built_from():
    assert settings_of(nn.Softmax) == ("dim",)
    assert settings_of(nn.Identity) == ()
    assert set(settings_of(nn.Linear)) == {"in_features", "out_features", "bias"}
    assert {"stride", "padding", "groups", "bias"} < set(settings_of(nn.Conv2d))
    for kind in KINDS.values():
        assert not {"self", "device", "dtype", "args", "kwargs"} & set(settings_of(kind))


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_settings_are_kept_as_attributes(kind):
    """Or a saved module would silently get the default."""
    odd = {
        nn.Hardtanh: {"min_value", "max_value"},  # other names of min_val and max_val
        runtime.FoldedConv: set(),
    }
    samples = {
        "bias": True, "dim": 1, "kernel_size": 3, "padding": 1, "p": 0.25, "size": 3, "value": 2.0,
        "num_features": 4, "num_channels": 4, "num_groups": 2, "in_channels": 4, "out_channels": 4,
        "in_features": 4, "out_features": 4, "output_size": 2, "unflattened_size": (2, 2),
        "threshold": 0.5, "normalized_shape": 4, "downscale_factor": 2,
    }  # fmt: skip
    if kind is runtime.FoldedConv:
        weight = nn.Parameter(torch.ones(2, 1, 1, 1))
        made = kind(weight, None, (2, 2), (1, 1), (((0, 2),), ((0, 2),)))
    else:
        made = kind(**{k: v for k, v in samples.items() if k in settings_of(kind)})
    for name in set(settings_of(kind)) - odd.get(kind, set()):
        assert name == "bias" or hasattr(made, name), name


@pytest.mark.parametrize("name", ["x", "relu_1", "größe", "_", "torch"])
def test_words(name):
    assert word(name) == name


@pytest.mark.parametrize(
    "name", ["", "1x", "a.b", "a b", "a=1", "a)", "lambda", "None", "x\n", None, 3, ["x"], "x" * 0]
)
def test_what_is_no_word(name):
    with pytest.raises(RefusedError, match="where a name belongs"):
        word(name)


@pytest.mark.parametrize(
    "name", ["0", "features.0.weight", "my layer", "a-b", "ünï", "_constant_0"]
)
def test_places(name):
    assert path(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "a.", ".a", "a..b", "../a", 'a"b', "a'b", "a\\b", "a\nb", "a\x00", "class", "a.in",
     "__class__", "a.__dict__.b", "\ud800", None, 7, {"a": 1}, "a." * 200 + "a"],
)  # fmt: skip
def test_what_is_no_place(name):
    with pytest.raises(RefusedError, match="where the place of a layer belongs"):
        path(name)
