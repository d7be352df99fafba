"""Edits among channels, cells and boxes: against crops where all is local, at every stride."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import assert_at_window, assert_same, crop_map
from networks import Net, noise, padded_body, ready, unpadded_body

STRIDES = {
    "native": {},
    "dilate": {"stride": 1},
    "fragments": {"stride": 1, "method": "fragments"},
    "one axis": {"stride": (2, 1)},
}


def parts(y, *lengths):
    """The channels of a map of five, and one more, seen as several axes."""
    z = torch.cat([y, y[:, :1] * 2], 1)
    return z.view(z.size(0), *lengths, *z.shape[2:])


def mean(y):
    return y.mean((2, 3))


# By edit: what it comes of.
FORMS = {
    "ShuffleChannels": (
        lambda m, y: m.wide(parts(y, 2, 3).transpose(1, 2).flatten(1, 2).flatten(1)),
        lambda m, y: m.six(parts(y, 3, 2).transpose(1, 2).flatten(1, 2).amax((2, 3))),
        lambda m, y: m.wide(F.relu(parts(y, 3, 2).transpose(1, 2).reshape(-1, 6, 6, 6)).flatten(1)),
    ),
    "SpaceToDepth": (
        lambda m, y: m.fc(F.pixel_unshuffle(y, 2).flatten(1)),
        lambda m, y: m.fc(
            y.view(-1, 5, 3, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).reshape(-1, 20, 3, 3).flatten(1)
        ),
        lambda m, y: m.deep(F.relu(m.conv(F.pixel_unshuffle(y, 2))).flatten(1)),
    ),
    "ReduceChannels": (
        lambda m, y: m.flat(y.mean(1, keepdim=True).flatten(1)),
        lambda m, y: m.most(parts(y, 2, 3).amax(1).flatten(1)),
        lambda m, y: m.fc((y - y.amin(1, keepdim=True)).flatten(1)),
        lambda m, y: m.fc((y / torch.linalg.vector_norm(y, dim=1, keepdim=True)).flatten(1)),
        lambda m, y: m.fc((y * y.var(1, keepdim=True)).flatten(1)),
        lambda m, y: m.vector(mean(y) - mean(y).sum(-1, keepdim=True)),
    ),
    "SoftmaxParts": (
        lambda m, y: m.wide(parts(y, 2, 3).softmax(1).flatten(1)),
        lambda m, y: m.wide(F.log_softmax(parts(y, 3, 2), dim=2).flatten(1)),
    ),
    "StackChannels": (
        lambda m, y: m.vector(torch.stack([mean(y), y.amax((2, 3))], 1).sum(1)),
        lambda m, y: m.ten(torch.stack([mean(y), y.amax((2, 3))], 1).flatten(1)),
    ),
    "PoolWindow": (
        lambda m, y: m.vector(y.sum((2, 3))),
        lambda m, y: m.vector(y.amin((2, 3))),
        lambda m, y: m.vector(y.norm(dim=(2, 3))),
        lambda m, y: m.vector(y.flatten(2).var(-1)),
        lambda m, y: m.vector(torch.var(y, (2, 3), unbiased=False)),
    ),
    "ConvAlongChannels": (
        lambda m, y: m.vector(m.line(mean(y).unsqueeze(1)).squeeze(1)),
        lambda m, y: m.three(F.conv1d(mean(y).unsqueeze(1), m.line.weight, stride=2, padding=1).squeeze(1)),
    ),
    "Enlarge": (
        lambda m, y: m.fc(F.interpolate(F.max_pool2d(y, 2), scale_factor=2).flatten(1)),
        lambda m, y: m.fc((y + m.up(F.avg_pool2d(y, 3))).flatten(1)),
    ),
    "AlongChannels": (
        lambda m, y: m.fc(m.layer(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).flatten(1)),
        lambda m, y: m.vector(m.rms(mean(y))),
        lambda m, y: m.vector(F.normalize(mean(y))),
    ),
}  # fmt: skip


def network(form, body) -> nn.Module:
    torch.manual_seed(0)
    members = {
        "fc": nn.Linear(180, 4), "wide": nn.Linear(216, 4), "vector": nn.Linear(5, 4),
        "six": nn.Linear(6, 4), "ten": nn.Linear(10, 4), "three": nn.Linear(3, 4),
        "most": nn.Linear(108, 4), "flat": nn.Linear(36, 4), "deep": nn.Linear(28, 4),
        "conv": nn.Conv2d(20, 7, 2), "line": nn.Conv1d(1, 1, 3, padding=1, bias=False),
        "layer": nn.LayerNorm(5), "rms": nn.RMSNorm(5), "up": nn.Upsample(scale_factor=3),
    }  # fmt: skip
    return ready(Net(lambda m, x: form(m, m.body(x)), body=body(), **members))


CASES = [(edit, place) for edit, forms in FORMS.items() for place in range(len(forms))]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize(("edit", "place"), CASES)
def test_every_cell_is_its_crop(edit, place, stride):
    if edit == "Enlarge" and stride != "native":
        return  # an enlarged map has no finer stride
    model = network(FORMS[edit][place], unpadded_body)
    fcn = fullconv.convert(model, 18, **STRIDES[stride])
    found = {getattr(step.edit, "edit", step.edit) for step in fcn.plan.steps}
    assert edit in {type(one).__name__ for one in found}
    assert fcn.plan.exact_windows
    for size in ((18, 18), (27, 24)):
        image = noise(2, 3, *size)
        with torch.no_grad():
            assert_same(fcn(image), crop_map(model, image, (18, 18), fcn.stride))
    assert list(fcn.state_dict()) == list(model.state_dict())


def gate_by_keepdim(m, y):
    return y * m.gate(y.mean((2, 3), keepdim=True)).sigmoid()


def gate_by_view(m, y):
    return y * m.vector(y.flatten(2).mean(-1)).sigmoid().view(-1, 5, 1, 1)


def gate_by_index(m, y):
    return y * m.vector(F.adaptive_avg_pool2d(y, 1).flatten(1)).sigmoid()[:, :, None, None]


def gate_by_expand(m, y):
    return y * m.vector(y.amax((2, 3))).sigmoid()[..., None, None].expand_as(y)


def gate_by_rows(m, y):
    return y * m.vector(y.view(y.size(0), 5, -1).amax(2)).sigmoid()[:, :, None, None]


GATES = (gate_by_keepdim, gate_by_view, gate_by_rows, gate_by_index, gate_by_expand)


@pytest.mark.parametrize("body", [(unpadded_body, 18), (padded_body, 12)], ids=["valid", "padded"])
@pytest.mark.parametrize("context", ["window", "image"])
@pytest.mark.parametrize("gate", GATES)
def test_squeeze_and_excite(gate, context, body):
    """Every cell is gated by the nearest box of the map, or by all of it."""
    build, window = body
    model = ready(
        Net(
            lambda m, x: m.fc(gate(m, m.body(x)).flatten(1)),
            body=build(),
            gate=nn.Conv2d(5, 5, 1),
            vector=nn.Linear(5, 5),
            fc=nn.Linear(180, 4),
        )
    )
    fcn = fullconv.convert(model, window, context=context)
    assert_at_window(model, fcn, noise(2, 3, window, window))
    assert fcn.plan.context == context
    assert len(fcn.plan.contexts) == 1
    image = noise(1, 3, window + 6, window + 4)
    with torch.no_grad():
        y = model.body(image)
        z = gate(model, y)
        if context == "window":
            for row in range(y.shape[2]):
                for col in range(y.shape[3]):
                    top, left = (
                        max(0, min(i - 2, n - 6))
                        for i, n in zip((row, col), y.shape[2:], strict=True)
                    )
                    box = gate(model, y[:, :, top : top + 6, left : left + 6].contiguous())
                    z[:, :, row, col] = box[:, :, row - top, col - left]
        by_hand = crop_map(lambda part: model.fc(part.flatten(1)), z, (6, 6), (1, 1))
        assert_same(fcn(image), by_hand)
    assert fullconv.verify(model, fcn).ok
