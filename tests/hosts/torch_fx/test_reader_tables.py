"""Every function and method that is in a table of the readers, used in a network.

Nothing can be added to the tables without an example: the examples are looked up by name.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from reader_examples import CELLS, CONTEXT, EXAMPLES, Call, assert_equal, dims_of, network
from torch import nn

import fullconv
from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx.functions import FUNCTIONS
from networks import noise

REFUSED: dict[str, tuple[Callable[[Call, nn.Module, Any], Any], str]] = {
    "scaled_dot_product_attention": (
        lambda f, m, x: f(x, x, x), "scaled_dot_product_attention has no exact dense form"
    ),
    **dict.fromkeys(
        ("matmul", "bmm"),
        (lambda f, m, x: f(x.flatten(2), x.flatten(2).transpose(1, 2)), "matmul has no exact dense"),
    ),
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
        exact = name not in {*PADS, *CONTEXT} or example is EXAMPLES["pad"][2]
        if in_place:
            model = network(lambda m, x, e=example: e(call, m, x * 1), dims)
        assert_equal(model, dims, everywhere=exact)
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
        (lambda x: x[:, None, 1:3], "there is no rule for .*getitem"),
        (lambda x: F.normalize(x), "there is no rule for .*normalize"),
        (lambda x: x.norm(1, (2, 3)), "there is no rule for Tensor.norm"),
        (lambda x: x * x.norm(), "there is no rule for Tensor.norm"),
        (lambda x: x.movedim((1, 2), (2, 1)), "there is no rule for Tensor.movedim"),
        (lambda x: x.sum((2, 3), dtype=torch.float32).double(), "there is no rule for Tensor.sum"),
        (lambda x: x.var((2, 3), correction=3), "there is no rule for Tensor.var"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "resizes 4×4 cells to 8×8 by bi"),
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
        (lambda x: x.mean((1, 2)), "takes the average over channels and space of a 6×4×4 map"),
    ],
)  # fmt: skip
def test_calls_that_are_refused(use, message):
    with pytest.raises(RefusedError) as refusal:
        fullconv.plan(network(lambda m, x: use(x)), CELLS + 2)
    assert re.search(message, str(refusal.value), re.DOTALL), refusal.value
