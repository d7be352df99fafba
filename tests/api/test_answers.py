"""Classifiers with several answers: their FCN returns as many maps, in the same structure."""

import copy
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import fullconv
from by_hand import assert_same, crop_map, head_map
from fullconv.hosts.torch_fx.fcn import tensors_of
from networks import Net, noise, padded_body, ready, unpadded_body

Pair = namedtuple("Pair", "main aux")


@dataclass
class Answers:
    main: Any
    aux: Any = None


class Output(OrderedDict):
    """As some libraries return their answers: a mapping whose entries are attributes too."""

    def __getattr__(self, name):
        return self[name]


# How the two answers are wrapped, and what of the FCN's they are: paths to a (main) and b (aux).
WRAPS = {
    "tuple": (lambda a, b: (a, b), lambda y: [(y[0], 0), (y[1], 1)]),
    "list": (lambda a, b: [b, a], lambda y: [(y[0], 1), (y[1], 0)]),
    "list of one": (lambda a, b: [a], lambda y: [(y[0], 0)]),
    "dict": (lambda a, b: {"out": a, "aux": b}, lambda y: [(y["out"], 0), (y["aux"], 1)]),
    "nested": (
        lambda a, b: {"x": [a, (b, {"y": a})]},
        lambda y: [(y["x"][0], 0), (y["x"][1][0], 1), (y["x"][1][1]["y"], 0)],
    ),
    "None between": (lambda a, b: (a, None, b), lambda y: [(y[0], 0), (y[2], 1)]),
    "None in a dict": (lambda a, b: {"aux": None, "out": a}, lambda y: [(y["out"], 0)]),
    "the same twice": (lambda a, b: (a, a, b), lambda y: [(y[0], 0), (y[1], 0), (y[2], 1)]),
    "named tuple": (lambda a, b: Pair(a, b), lambda y: [(y[0], 0), (y[1], 1)]),
    "ordered dict": (
        lambda a, b: OrderedDict(out=a, aux=b),
        lambda y: [(y["out"], 0), (y["aux"], 1)],
    ),
    "mapping of a library": (
        lambda a, b: Output(main=a, aux=b),
        lambda y: [(y["main"], 0), (y["aux"], 1)],
    ),
    "dataclass": (lambda a, b: Answers(a, b), lambda y: [(y["main"], 0), (y["aux"], 1)]),
    "dataclass, one left out": (lambda a, b: Answers(b), lambda y: [(y["main"], 1)]),
}
KINDS = {
    **dict.fromkeys(("list", "list of one"), list),
    **dict.fromkeys(("tuple", "named tuple", "None between", "the same twice"), tuple),
}
"""What the FCN returns; else a dict."""


def two(wrap, body=unpadded_body) -> nn.Module:
    """4 and 3 scores."""
    return ready(
        Net(
            lambda m, x: wrap(*answers(m, m.body(x))),
            body=body(),
            fc=nn.Linear(180, 4),
            vector=nn.Linear(5, 3),
        )
    )


def answers(m, y):
    return m.fc(y.flatten(1)), m.vector(y.mean((2, 3)))


def structure(answer):
    """The answer with its tensors left out."""
    if isinstance(answer, dict):
        return {key: structure(entry) for key, entry in answer.items()}
    if isinstance(answer, list | tuple):
        return type(answer)(structure(entry) for entry in answer)
    return type(answer)


@pytest.mark.parametrize("name", WRAPS)
def test_every_answer_is_right_at_every_window(name, tmp_path):
    wrap, found = WRAPS[name]
    model = two(wrap)
    fcn = fullconv.convert(model, 18)
    image = noise(2, 3, 23, 21)
    crops = [
        crop_map(lambda x, i=i: answers(model, model.body(x))[i], image, (18, 18), (2, 2))
        for i in range(2)
    ]
    with torch.no_grad():
        maps = fcn(image)
        for scores, which in found(maps):
            assert_same(scores, crops[which])
    assert len(tensors_of(maps)) == len(found(maps)) == len(fcn.plan.answers)
    assert type(maps) is KINDS.get(name, dict)
    certificate = fullconv.verify(model, fcn)
    assert certificate.ok
    assert certificate.exact
    fullconv.save(fcn, tmp_path / "net.safetensors")
    again = fullconv.load(tmp_path / "net.safetensors")
    assert again.plan == fcn.plan
    with torch.no_grad():
        other = again(image)
    assert structure(other) == structure(maps)
    assert all(torch.equal(a, b) for a, b in zip(tensors_of(other), tensors_of(maps), strict=True))


def test_answers_have_names_in_the_plan():
    plan = fullconv.plan(two(lambda a, b: {"out": a, "more": [b, a]}), 18)
    told = [(answer.name, answer.outputs, answer.step) for answer in plan.answers]
    assert told == [("out", 4, (1, 1)), ("more.0", 3, (1, 1)), ("more.1", 4, (1, 1))]
    assert plan.outputs == 4
    assert "answers          out: 4, more.0: 3, more.1: 4" in str(plan)
    assert fullconv.Plan.from_dict(plan.to_dict()) == plan


@pytest.mark.parametrize("method", ["dilate", "fragments"])
def test_several_answers_at_a_finer_stride(method):
    model = two(lambda a, b: [a, b, a])
    fcn = fullconv.convert(model, 18, stride=1, method=method)
    image = noise(2, 3, 21, 20)
    with torch.no_grad():
        maps = fcn(image)
        for scores, which in zip(maps, (0, 1, 0), strict=True):
            crops = crop_map(lambda x, i=which: model(x)[i], image, (18, 18), (1, 1))
            assert_same(scores, crops)
    assert fullconv.verify(model, fcn).ok


def test_several_answers_over_a_padded_body():
    model = two(lambda a, b: {"a": a, "b": b}, padded_body)
    fcn = fullconv.convert(model, 12)
    image = noise(1, 3, 17, 15)
    with torch.no_grad():
        y = model.body(image)
        maps = fcn(image)
    for name, which in (("a", 0), ("b", 1)):
        by_hand = head_map(lambda x, i=which: answers(model, x)[i], y, (6, 6), (3, 2))
        assert_same(maps[name], by_hand)


class Auxiliary(nn.Module):
    """A second head on a finer map, as GoogLeNet's: cells 2 px apart, the main ones 4 px."""

    def __init__(self, aux_first: bool = False):
        super().__init__()
        self.body, self.pool = unpadded_body(), nn.MaxPool2d(2)
        self.fc, self.aux, self.aux_first = nn.Linear(45, 4), nn.Linear(5, 3), aux_first

    def forward(self, x):
        y = self.body(x)
        main = self.fc(self.pool(y).flatten(1))
        aux = self.aux(y.mean((2, 3)))
        return {"aux": aux, "out": main} if self.aux_first else {"out": main, "aux": aux}


@pytest.mark.parametrize("aux_first", [False, True])
@pytest.mark.parametrize("size", [(18, 18), (25, 31), (30, 22)])
def test_answers_of_different_strides_are_brought_to_the_coarsest(size, aux_first, tmp_path):
    model = ready(Auxiliary(aux_first))
    fcn = fullconv.convert(model, 18)
    assert fcn.stride == (4, 4)
    assert {a.name: a.step for a in fcn.plan.answers} == {"out": (1, 1), "aux": (2, 2)}
    image = noise(2, 3, *size)
    with torch.no_grad():
        maps = fcn(image)
    for name in ("out", "aux"):
        assert maps[name].shape[2:] == fcn.grid(size).shape
        assert_same(maps[name], crop_map(lambda x, n=name: model(x)[n], image, (18, 18), (4, 4)))
    assert fullconv.verify(model, fcn).ok
    fullconv.save(fcn, tmp_path / "net.safetensors")
    with torch.no_grad():
        again = fullconv.load(tmp_path / "net.safetensors")(image)
    assert all(torch.equal(again[name], maps[name]) for name in maps)


@pytest.mark.parametrize("stride", [2, 1])
def test_answers_of_different_strides_at_a_finer_one(stride):
    model = ready(Auxiliary())
    fcn = fullconv.convert(model, 18, stride=stride)
    image = noise(1, 3, 25, 23)
    with torch.no_grad():
        maps = fcn(image)
    for name in ("out", "aux"):
        crops = crop_map(lambda x, n=name: model(x)[n], image, (18, 18), (stride, stride))
        assert_same(maps[name], crops)
    assert fullconv.verify(model, fcn).ok


@pytest.mark.parametrize("name", ["fc.bias", "vector.bias"])
def test_a_changed_weight_of_any_answer_is_noticed(name):
    model = two(lambda a, b: (a, b))
    fcn = copy.deepcopy(fullconv.convert(model, 18))
    with torch.no_grad():
        fcn.get_parameter(name)[0] += 0.01
    assert not fullconv.verify(model, fcn).ok


def test_a_small_answer_is_not_lost_beside_a_large_one():
    model = two(lambda a, b: (a * 1e12, b))
    fcn = copy.deepcopy(fullconv.convert(model, 18))
    assert fullconv.verify(model, fcn).ok
    with torch.no_grad():
        fcn.get_parameter("vector.bias")[0] += 0.01
    assert not fullconv.verify(model, fcn).ok


def test_a_model_with_fewer_answers_does_not_belong():
    fcn = fullconv.convert(two(lambda a, b: (a, b)), 18)
    with pytest.raises(
        fullconv.InputError, match="gives 2 answers, the model 1: they do not belong"
    ):
        fullconv.verify(two(lambda a, b: a), fcn)


def test_keys_that_are_no_strings_are_not_saved(tmp_path):
    fcn = fullconv.convert(two(lambda a, b: {0: a, 1: b}), 18)
    assert [answer.name for answer in fcn.plan.answers] == ["0", "1"]
    with pytest.raises(fullconv.FullconvError, match="a dict whose keys are no strings"):
        fullconv.save(fcn, tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    "shape", [lambda y: y.squeeze(1), lambda y: y.view(-1), lambda y: y[:, 0], lambda y: y]
)
def test_one_score_however_it_is_shaped_is_proven(shape):
    model = ready(
        Net(lambda m, x: shape(m.fc(m.body(x).flatten(1))), body=unpadded_body(), fc=nn.Linear(180, 1))
    )  # fmt: skip
    assert fullconv.verify(model, fullconv.convert(model, 18)).ok
