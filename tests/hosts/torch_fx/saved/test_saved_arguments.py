import json
import math

import pytest
import torch
from torch import fx

from fullconv.hosts.torch_fx.saved.arguments import decode, dtype_of, encode


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -7, 10**20, 1.5, -0.0, 1e-300, "text", 'q"\\\n', (), (1, (2, 3)), [],
        [1, (2, [3])], {}, {"a": 1, "node": [(2,), {"b": None}]}, slice(None), slice(1, None, 2), torch.float32, torch.int64,
        torch.channels_last, Ellipsis, (slice(None), Ellipsis, None), float("inf"), float("-inf"),
    ],
    ids=repr,
)  # fmt: skip
def test_there_and_back(value):
    again = decode(json.loads(json.dumps(encode(value), allow_nan=False)), {})
    assert again == value
    assert type(again) is type(value)


def test_nan():
    assert math.isnan(decode(encode(float("nan")), {}))


def test_a_size_becomes_a_tuple():
    assert decode(encode(torch.Size([1, 2])), {}) == (1, 2)


def test_nodes_go_by_their_names():
    node = fx.Graph().placeholder("x")
    assert encode([node, 1]) == {"list": [{"node": "x"}, 1]}
    assert decode({"list": [{"node": "x"}, 1]}, {"x": node}) == [node, 1]


@pytest.mark.parametrize("value", [object(), {1, 2}, {1: "a"}, 1j, torch.device("cpu"), len])
def test_what_has_no_form(value):
    with pytest.raises(TypeError, match="^a "):
        encode((1, value))


@pytest.mark.parametrize(
    "value",
    [
        {}, {"a": 1}, {"node": 1, "list": []}, {"node": "missing"}, {"node": []}, {"list": 3},
        {"slice": [1]}, {"slice": 7}, {"dtype": "load"}, {"dtype": None}, {"dtype": "float33"},
        {"memory_format": "float32"}, {"float": "1.5"}, {"float": []}, {"eval": "1"},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_argument(value):
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode([1, value], {})


def test_dtypes_by_name():
    assert dtype_of("bfloat16") is torch.bfloat16
    with pytest.raises(ValueError, match="unknown dtype 'nn'"):
        dtype_of("nn")
