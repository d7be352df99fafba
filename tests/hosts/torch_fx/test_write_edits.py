"""Every edit has a writer, and every writer works on modules, functions and shared modules."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from blueprints import own_kinds
from by_hand import assert_same, crop_map
from fullconv.hosts.torch_fx.runtime import FoldedConv
from fullconv.hosts.torch_fx.writers import WRITERS
from fullconv.surgery.edits import Edit
from networks import Net, noise, ready, unpadded_body


def test_every_edit_has_a_writer():
    """But those that wrap another."""
    known = {kind.__name__ for kind in WRITERS}
    assert known | {"Phases", "Together"} == {kind.__name__ for kind in own_kinds(Edit)}


PARTS = {
    "fc": lambda: nn.Linear(180, 5),
    "pooled": lambda: nn.Linear(45, 5),
    "vector": lambda: nn.Linear(5, 5),
    "conv": lambda: nn.Conv2d(5, 5, 2),
    "cover": lambda: nn.Conv2d(5, 5, 6, stride=6),
    "norm": lambda: nn.BatchNorm1d(5),
    "soft": lambda: nn.Softmax(dim=1),
    "log_soft": lambda: nn.LogSoftmax(dim=-1),
    "flat": lambda: nn.Flatten(),
    "average": lambda: nn.AvgPool2d(6),
    "max": lambda: nn.MaxPool2d(6),
    "three": lambda: nn.AdaptiveAvgPool2d(3),
    "four": lambda: nn.AdaptiveAvgPool2d(4),
    "folded": lambda: nn.Linear(80, 5),
    "after": lambda: nn.Linear(20, 5),
}


def mean(x):
    return x.mean((2, 3))


# By edit: the call on a module, by function, and on a module whose other call is left as it is.
FORMS = {
    "Bypass": (
        lambda m, y: m.fc(m.flat(y)),
        lambda m, y: m.fc(torch.flatten(y, 1)),
        lambda m, y: m.fc(m.flat(y)) + m.vector(m.flat(m.average(y))),
    ),
    "LinearToConv": (
        lambda m, y: m.fc(y.flatten(1)),
        lambda m, y: F.linear(y.flatten(1), m.fc.weight, m.fc.bias),
        lambda m, y: m.vector(m.vector(y.permute(0, 2, 3, 1)).amax((1, 2))),
        lambda m, y: m.folded(m.four(y).flatten(1)),
        lambda m, y: F.linear(m.four(y).flatten(1), m.folded.weight),
    ),
    "Resweep": (
        lambda m, y: m.cover(y),
        lambda m, y: F.conv2d(y, m.cover.weight, m.cover.bias, stride=6),
        lambda m, y: F.conv2d(y, m.cover.weight, m.cover.bias, 6, 0, 1, 1),
        lambda m, y: m.after(m.conv(m.three(y)).flatten(1)),
        lambda m, y: m.after(m.conv(m.three(y)).flatten(1)) + m.vector(mean(m.conv(y))),
    ),
    "SetPool": (
        lambda m, y: m.vector(m.average(y).flatten(1)),
        lambda m, y: m.vector(F.avg_pool2d(y, 6).flatten(1)),
        lambda m, y: m.vector(m.max(y).flatten(1)),
        lambda m, y: m.vector(F.max_pool2d(y, 6).flatten(1)),
        lambda m, y: m.pooled(m.three(y).flatten(1)),
        lambda m, y: m.vector(mean(y)),
        lambda m, y: m.vector(y.amax((2, 3))),
        lambda m, y: m.vector(mean(m.three(y))),
        lambda m, y: m.vector(m.three(m.three(y)).amax((2, 3))),
    ),
    "AlongChannels": (
        lambda m, y: m.norm(m.vector(mean(y))),
        lambda m, y: F.batch_norm(
            mean(y), m.norm.running_mean, m.norm.running_var, m.norm.weight, m.norm.bias
        ),
        lambda m, y: m.soft(m.vector(mean(y))),
        lambda m, y: m.log_soft(m.vector(mean(y))),
        lambda m, y: m.vector(mean(y)).softmax(1),
        lambda m, y: F.log_softmax(m.vector(mean(y)), dim=-1),
        lambda m, y: torch.cat([mean(y), y.amax((2, 3))], dim=1),
        lambda m, y: torch.concat(tensors=(mean(y), y.amax((2, 3))), dim=-1),
        lambda m, y: mean(y) * m.norm.weight + m.norm.bias,
        lambda m, y: m.soft(m.vector(m.soft(y).mean((2, 3)))),
        lambda m, y: m.log_soft(m.log_soft(y.permute(0, 2, 3, 1)).mean((1, 2))),
    ),
    "TakeChannels": (
        lambda m, y: mean(y)[:, 1:4],
        lambda m, y: mean(y)[:, ::2],
        lambda m, y: y.permute(0, 2, 3, 1)[..., -3:].amax((1, 2)),
        lambda m, y: y.transpose(1, 3)[:, :, :, 1:3].amax((1, 2)),
    ),
}


@pytest.mark.parametrize(
    ("edit", "place"),
    [(edit, place) for edit, forms in FORMS.items() for place in range(len(forms))],
)
def test_writer(edit, place):
    form = FORMS[edit][place]
    model = ready(
        Net(
            lambda m, x: form(m, m.body(x)),
            body=unpadded_body(),
            **{name: build() for name, build in PARTS.items()},
        )
    )
    fcn = fullconv.convert(model, 18)
    assert edit in {type(step.edit).__name__ for step in fcn.plan.steps}
    image = noise(2, 3, 23, 21)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (18, 18), (2, 2)))
    assert list(fcn.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("size", [(24, 24), (25, 24), (26, 31), (27, 27)])
@pytest.mark.parametrize("join", ["cat", "add", "module"])
def test_branches_cut_to_what_both_have(join, size):
    """On even sizes the pool has a cell more than the convolution."""

    def forward(m, x):
        a, b = m.conv(x), m.pool(x)
        y = torch.cat([a, b], 1) if join == "cat" else a + b
        return m.fc((m.norm(y) if join == "module" else y).flatten(1))

    model = ready(
        Net(
            forward,
            conv=nn.Conv2d(3, 3, 3, stride=2),
            pool=nn.MaxPool2d(2),
            norm=nn.BatchNorm2d(3),
            fc=nn.Linear(49 * (6 if join == "cat" else 3), 4),
        )
    )
    fcn = fullconv.convert(model, 15)
    assert "CropToCommon" in {type(step.edit).__name__ for step in fcn.plan.steps}
    image = noise(1, 3, *size)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (15, 15), (2, 2)))


def test_which_modules_replace_which():
    model = ready(
        Net(
            lambda m, x: m.vector(m.norm(m.folded(m.flat(m.four(m.body(x)))))),
            body=unpadded_body(),
            **{name: PARTS[name]() for name in ("flat", "four", "folded", "norm", "vector")},
        )
    )
    fcn = fullconv.convert(model, 18)
    kinds = {name: type(fcn.get_submodule(name)) for name in ("flat", "four", "folded", "norm")}
    assert kinds == {
        "flat": nn.Identity,
        "four": nn.Identity,
        "folded": FoldedConv,
        "norm": nn.BatchNorm2d,
    }
    assert type(fcn.get_submodule("vector")) is nn.Conv2d
    assert type(model.norm) is nn.BatchNorm1d
