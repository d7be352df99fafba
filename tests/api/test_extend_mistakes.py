"""Descriptions that are wrong are told so; what was described is not saved."""

import pytest
import torch
from torch import nn

import fullconv
from described import Gate, Mirror, check, mirroring, network, read_flip
from fullconv.api import extend
from fullconv.blueprint import Convolution, Elementwise
from fullconv.errors import FullconvError, RefusedError, UsageError
from fullconv.geometry import Sweep
from fullconv.surgery.rules import Outcome

pytestmark = pytest.mark.usefixtures("tables")


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (lambda x, dims: Mirror(), "the reader of torch.flip returned Mirror()."),
        (lambda x, dims: (Mirror(), (3,)), "the reader of torch.flip returned (Mirror(), (3,))."),
        (
            lambda x, dims: x.shapes,
            "the reader of torch.flip failed with AttributeError: 'Operand'",
        ),
    ],
)
def test_a_reader_that_is_wrong(reader, message):
    extend.function(torch.flip, reader)
    with pytest.raises(UsageError) as error:
        fullconv.plan(mirroring(), 9)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("reader", [lambda x: (Mirror(), (x,)), lambda x, dims: None])
def test_a_reader_that_does_not_know_the_arguments(reader):
    extend.function(torch.flip, reader)
    with pytest.raises(RefusedError, match=r"no rule for torch\.flip with these arguments\."):
        fullconv.plan(mirroring(), 9)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda op, *rest: None, "flip in inner (Net): the rule for Mirror returned None."),
        (lambda op: None, "the rule for Mirror failed with TypeError: "),
        (
            lambda op, node, inputs, setting: Outcome(inputs[0].plain(7, inputs[0].axes)),
            "flip in inner (Net): the rule for Mirror says (2, 7, 4, 4), the classifier computes",
        ),
    ],
)
def test_a_rule_that_is_wrong(rule, message):
    extend.function(torch.flip, read_flip)
    extend.rule(Mirror, rule)
    with pytest.raises(UsageError) as error:
        fullconv.plan(mirroring(), 9)
    assert str(error.value).startswith(message)


def test_a_module_that_is_no_op():
    extend.module(Gate, lambda m, shape: "elementwise")
    with pytest.raises(UsageError, match=r"Gate returned 'elementwise', which is no op\."):
        fullconv.plan(network(lambda m, x: m.gate(x), gate=Gate()), 9)


class Wrapped(nn.Module):
    """A convolution whose stride is not its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(4, 4, 3, stride=2)

    def forward(self, x):
        return self.inner(x)


def test_settings_that_are_not_known_are_not_changed():
    extend.module(Wrapped, lambda m, shape: Convolution(4, (Sweep(3, 2), Sweep(3, 2))))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Wrapped(), nn.Flatten(), nn.Linear(36, 5)).double()
    check(model)
    with pytest.raises(UsageError) as error:
        fullconv.convert(model, 9, stride=1)
    assert str(error.value) == (
        "1 (Wrapped): is read as Convolution and would have to change (the same, stride 1×1, "
        "dilation 1×1).\nfullconv knows the settings of PyTorch's own layers only. Give it an op, a "
        "rule and an edit of its own: docs/extending.md."
    )


# --- saving ---


@pytest.mark.parametrize(
    ("use", "kinds", "message"),
    [
        (
            torch.special.erfcx,
            (torch.special.erfcx,),
            "special_erfcx: calls torch.special.erfcx, which is not on the list",
        ),
        (lambda x: x.sinh(), ("sinh",), 'sinh: calls "sinh", which is not on the list'),
        (Gate(), (Gate,), "use: is a Gate, which is not on the list"),
    ],
)
def test_what_was_added_is_not_saved(use, kinds, message, tmp_path):
    members = {"use": use} if isinstance(use, nn.Module) else {}
    model = network(lambda m, x: m.use(x) if members else use(x), **members)
    extend.elementwise(*kinds)
    fcn = check(model)
    with pytest.raises(FullconvError) as error:
        fullconv.save(fcn, tmp_path / "net.safetensors")
    assert str(error.value).startswith(message)
    assert str(error.value).endswith("with the same additions and call load_state_dict.")
    again = fullconv.convert(model, 9)
    again.load_state_dict(fcn.state_dict())


def test_an_elementwise_of_a_module_is_named_after_it():
    extend.elementwise(Gate)
    assert extend.MODULES[Gate](Gate(), (2, 3)) == Elementwise("Gate")
