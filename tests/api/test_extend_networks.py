"""Networks whose ops were described from outside: they convert, are equal, or are refused."""

import pytest
import torch
from torch import nn

import fullconv
from described import (
    Gate,
    Mirror,
    MirrorChannels,
    Scale,
    check,
    mirror,
    mirrored,
    mirroring,
    network,
    read_flip,
)
from fullconv.api import extend
from fullconv.blueprint import FeatureNorm, PerChannel, Softmax
from fullconv.errors import FullconvError, RefusedError, UsageError
from fullconv.surgery.plan import Plan
from fullconv.surgery.rules import Outcome

pytestmark = pytest.mark.usefixtures("tables")


# --- what converts ---


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"stride": 1, "method": "fragments"}])
def test_a_module_is_recorded_whole(options):
    model = network(lambda m, x: m.gate(x), gate=Gate())
    with pytest.raises(RefusedError, match="could not be traced"):
        fullconv.plan(model, 9)
    extend.elementwise(Gate)
    fcn = check(model, **options)
    assert type(fcn.gate) is Gate


def test_a_module_of_two_tensors():
    model = network(lambda m, x: m.gate(x, x[:, :1]), gate=Gate())
    with extend.elementwise(Gate):
        check(model)
    with (
        extend.module(Gate, lambda m, shape: PerChannel("gate", 4)),
        pytest.raises(RefusedError, match=r"no rule for .*Gate with several tensors\."),
    ):
        fullconv.plan(model, 9)


def test_a_function_of_two_tensors_and_of_a_weight():
    model = network(
        lambda m, x: torch.hypot(torch.hypot(x, x * 2), m.weight),
        weight=nn.Parameter(torch.randn(4, 1, 1)),
    )
    extend.elementwise(torch.hypot)
    check(model)


def test_a_function_of_a_library_of_ones_own():
    @torch.library.custom_op("fullconv_tests::soft", mutates_args=())
    def soft(x: torch.Tensor) -> torch.Tensor:
        return x.tanh()

    soft.register_fake(torch.empty_like)
    model = network(lambda m, x: torch.ops.fullconv_tests.soft(x))
    with pytest.raises(RefusedError) as refusal:
        fullconv.plan(model, 9)
    line = str(refusal.value).splitlines()[-1].strip()
    assert line.startswith("fullconv.api.extend.elementwise(torch.ops.fullconv_tests.soft")
    exec(line, {"fullconv": fullconv, "torch": torch})
    check(model)


@pytest.mark.parametrize(
    "op", [PerChannel("scale", 5), FeatureNorm("scale", 1, True), Softmax(1, "scale")]
)
@pytest.mark.parametrize("stride", [2, 1])
def test_a_module_that_knows_vectors_gets_vectors(op, stride):
    model = network(lambda m, x: x)
    model = nn.Sequential(model, Scale(), nn.Linear(5, 3)).double()
    extend.module(Scale, lambda m, shape: op)
    check(model, stride=stride)


def test_a_module_called_softmax_is_not_taken_for_one():
    model = nn.Sequential(network(lambda m, x: x)).double()
    model.add_module("softmax", nn.PReLU(5))
    check(model.double())


# --- an op, a rule and an edit ---


def test_an_op_with_its_rule_and_edit(tmp_path):
    extend.function(torch.flip, read_flip)
    extend.rule(Mirror, mirrored)
    with pytest.raises(UsageError) as error:
        fullconv.convert(mirroring(), 9)
    assert str(error.value) == (
        "flip in Net: is to become mirrored channels, an edit that has no writer.\n"
        "Add it with fullconv.api.extend.edit(MirrorChannels, writer)."
    )
    extend.edit(MirrorChannels, mirror)
    fcn = check(mirroring(), streams=False)
    check(mirroring(), streams=False, stride=1, method="fragments")
    assert Plan.from_dict(fcn.plan.to_dict()) == fcn.plan
    with pytest.raises(FullconvError) as error:
        fullconv.save(fcn, tmp_path / "net.safetensors")
    assert str(error.value) == (
        "flip in Net: became mirrored channels, an edit (MirrorChannels) that was added to "
        "fullconv.\nA file holds no code, and reading one runs nothing but what fullconv itself "
        "knows. Save fcn.state_dict() instead; to load it, convert the classifier again with the "
        "same additions and call load_state_dict."
    )


def test_an_op_without_a_rule():
    extend.function(torch.flip, read_flip)
    with pytest.raises(UsageError) as error:
        fullconv.plan(mirroring(), 9)
    assert str(error.value) == (
        "flip in inner (Net): is read as Mirror, an op that has no rule.\n"
        "Add it with fullconv.api.extend.rule(Mirror, rule)."
    )


def test_a_pool_before_an_op_that_looks_around_belongs_to_the_body():
    """A global pool stops stepping only where nothing looks at its neighbours."""

    def forward(m, x):
        return torch.flip(nn.functional.avg_pool2d(x, 4), (1,)).repeat(1, 16, 1, 1)

    extend.function(torch.flip, read_flip)
    extend.function("repeat", lambda input, *counts: (Mirror(), (input,)))
    extend.rule(Mirror, repeated)
    assert fullconv.plan(network(forward), 9).stride == (2, 2)
    extend.rule(Mirror, repeated, looks_around=True, replace=True)
    assert fullconv.plan(network(forward), 9).stride == (8, 8)


def repeated(op, node, inputs, setting):
    (x,) = inputs
    return Outcome(type(x).plain(node.shape[1], x.axes))
