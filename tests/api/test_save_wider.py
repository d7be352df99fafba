"""Saving and loading FCNs whose runtime is more than layers: the maps stay equal bit by bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from networks import Net, noise, padded_body, ready, unpadded_body


def gated(m, y):
    return m.fc((y * m.gate(y.mean((2, 3), keepdim=True)).sigmoid()).flatten(1))


def normed(m, y):
    return m.fc(F.relu(m.norm(y)).flatten(1))


def shuffled(m, y):
    z = torch.cat([y, y[:, :1] * 2], 1)
    n, c, h, w = z.shape
    z = z.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    a, b = z.chunk(2, dim=1)
    return m.wide(torch.cat([b, F.softmax(a.view(n, 3, 1, h, w), 1).flatten(1, 2)], 1).flatten(1))


def last(m, y):
    z = m.layer(y.permute(0, 2, 3, 1))
    return m.fc((z + F.rms_norm(z, (5,), m.scale)).permute(0, 3, 1, 2).flatten(1))


def deep(m, y):
    return m.fc(F.pixel_unshuffle(y, 2).flatten(1))


def enlarged(m, y):
    return m.fc((y + F.interpolate(F.max_pool2d(y, 2), scale_factor=2)).flatten(1))


def lengths(m, y):
    z = y / torch.linalg.vector_norm(y, dim=1, keepdim=True)
    return m.vector(torch.stack([z.sum((2, 3)), z.amin((2, 3)), z.var((2, 3))], 1).amax(1))


def eca(m, y):
    gate = m.line(y.mean((2, 3))[:, None]).sigmoid()
    return m.fc((y * gate.transpose(1, 2)[..., None]).flatten(1))


FORMS = {f.__name__: f for f in (gated, normed, shuffled, last, deep, enlarged, lengths, eca)}


def build(form, body) -> nn.Module:
    torch.manual_seed(0)
    return ready(
        Net(
            lambda m, x: FORMS[form](m, m.body(x)),
            body=body(),
            fc=nn.Linear(180, 4),
            wide=nn.Linear(216, 4),
            vector=nn.Linear(5, 4),
            gate=nn.Conv2d(5, 5, 1),
            norm=nn.GroupNorm(5, 5),
            layer=nn.LayerNorm(5),
            scale=nn.Parameter(torch.rand(5)),
            line=nn.Conv1d(1, 1, 3, padding=1, bias=False),
        )
    )


CONTEXTS = ("gated", "normed", "eca")
OPTIONS = {
    "native": {},
    "whole image": {"context": "image"},
    "dilate": {"stride": 1},
    "fragments": {"stride": 1, "method": "fragments"},
    "fragments, one axis": {"stride": (1, 2), "method": "fragments"},
}


@pytest.mark.parametrize("body", [(unpadded_body, 18), (padded_body, 12)], ids=["valid", "padded"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_there_and_back(form, options, body, tmp_path):
    chosen = OPTIONS[options]
    if (form == "enlarged" and "stride" in chosen) or (
        options == "whole image" and form not in CONTEXTS
    ):
        return  # an enlarged map has no finer stride; without context ops there is no choice
    make, window = body
    fcn = fullconv.convert(build(form, make), window, **chosen)
    fullconv.save(fcn, tmp_path / "net.safetensors")
    again = fullconv.load(tmp_path / "net.safetensors")
    assert again.plan == fcn.plan
    assert list(again.state_dict()) == list(fcn.state_dict())
    with torch.no_grad():
        for size in ((window, window), (window + 5, window + 2), (window + 1, window + 7)):
            image = noise(2, 3, *size)
            ours, theirs = again(image), fcn(image)
            assert ours.shape[2:] == fcn.grid(size).shape
            assert torch.equal(ours, theirs)


def test_options_are_part_of_the_saved_plan(tmp_path):
    model = build("gated", unpadded_body)
    fcn = fullconv.convert(model, 18, stride=1, method="fragments", context="image")
    fullconv.save(fcn, tmp_path / "net.safetensors")
    plan = fullconv.load(tmp_path / "net.safetensors").plan
    assert (plan.stride, plan.native_stride) == ((1, 1), (2, 2))
    assert (plan.method, plan.context) == ("fragments", "image")
    (context,) = plan.contexts
    assert (context.kind, context.size) == ("average over the map", (6, 6))


def test_a_loaded_network_is_verified_like_the_first(tmp_path):
    for form in ("gated", "shuffled", "last"):
        model = build(form, padded_body)
        fullconv.save(fullconv.convert(model, 12, stride=1), tmp_path / "net.safetensors")
        assert fullconv.verify(model, fullconv.load(tmp_path / "net.safetensors")).ok
        (tmp_path / "net.safetensors").unlink()
        (tmp_path / "net.json").unlink()
