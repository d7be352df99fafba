"""The FC layers of heads, and the counts of smaller ones, by hand."""

from __future__ import annotations

import pytest
import torch
from fc_networks import Functional, Twice, Wide, subject
from torch import nn

from fullconv.auditing.subject import subject_of
from fullconv.auditing.weights.heads import (
    decimated,
    fc_layers,
    first_over_cells,
    narrowed,
    parameters_of,
    shared_with,
    total,
)
from fullconv.models.torchvision_import import import_torchvision
from networks import LeNet


def on_meta(name: str, **options):
    try:
        models = import_torchvision().models
    except ImportError:
        pytest.skip("torchvision is not installed")
    with torch.device("meta"):
        return subject_of(getattr(models, name)(**options), 224)


def test_layers_in_the_order_of_computation():
    found = fc_layers(subject(LeNet(), 28))
    assert [layer.where for layer in found] == ["fc1", "fc2", "fc3"]
    assert [(layer.channels, layer.kernel, layer.outputs) for layer in found] == [
        (16, (4, 4), 120), (120, (1, 1), 84), (84, (1, 1), 10)
    ]  # fmt: skip
    assert [layer.parameters for layer in found] == [30_840, 10_164, 850]
    assert [layer.macs for layer in found] == [30_720, 10_080, 840]
    assert [layer.bytes for layer in found] == [246_720, 81_312, 6_800]
    assert first_over_cells(found) == 0


def test_weights_and_biases_are_the_networks_own():
    model = Wide()
    found = fc_layers(subject(model))
    for layer, linear in zip(found, (model.head[1], model.head[3], model.head[5]), strict=True):
        assert torch.equal(layer.weight, linear.weight)
        assert torch.equal(layer.offset, linear.bias)
        assert not layer.weight.requires_grad


def test_a_layer_without_bias():
    found = fc_layers(subject(Wide(bias=False)))
    assert [layer.bias for layer in found] == [0, 0, 0]
    assert [layer.offset for layer in found] == [None, None, None]
    assert total(found) == 180 * 16 + 16 * 12 + 12 * 7


def test_a_layer_that_is_called_as_a_function():
    model = Functional()
    first, last = fc_layers(subject(model))
    assert (first.channels, first.kernel, first.outputs, first.bias) == (4, (10, 10), 6, 6)
    assert torch.equal(first.weight, model.weight)
    assert torch.equal(first.offset, model.offset)
    assert last.where == "last"


def test_a_layer_that_is_used_twice_counts_once():
    assert [layer.where for layer in fc_layers(subject(Twice()))] == ["first", "again", "last"]


def test_layers_of_the_body_are_no_head():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)
            self.head = nn.Linear(4 * 100, 5)

        def forward(self, x):
            x = self.conv(x)
            gates = self.gate(x.mean((2, 3))).sigmoid()
            return self.head((x * gates[:, :, None, None]).flatten(1))

    assert [layer.where for layer in fc_layers(subject(Squeezed()))] == ["head"]


def test_all_linear_layers_of_a_network_that_cannot_be_converted():
    class Refused(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.rows = nn.LSTM(40, 8, batch_first=True)
            self.one, self.two = nn.Linear(8, 6), nn.Linear(6, 5, bias=False)

        def forward(self, x):
            rows = self.conv(x).permute(0, 2, 1, 3).flatten(2)
            return self.two(self.one(self.rows(rows)[0][:, -1]))

    found = fc_layers(subject(Refused()))
    assert [(layer.where, layer.parameters) for layer in found] == [("one", 54), ("two", 30)]


def test_pooling_that_is_folded_in_is_work_but_no_parameters():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d((4, 4)), nn.Flatten(), nn.Linear(64, 5)
    )
    (layer,) = fc_layers(subject(model))  # 10×10 cells in 4×4 bins that overlap
    assert (layer.channels, layer.kernel, layer.cells) == (4, (4, 4), (10, 10))
    assert layer.parameters == 64 * 5 + 5
    assert layer.macs == 4 * 100 * 5


@pytest.mark.parametrize("axes", [1, 3])
def test_any_number_of_axes(axes):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[axes]
    model = nn.Sequential(conv(1, 2, 3), nn.Flatten(), nn.Linear(2 * 4**axes, 8), nn.Linear(8, 3))
    found = fc_layers(subject(model, 6))
    assert found[0].kernel == (4,) * axes
    assert decimated(found, 0, 3)[0].kernel == (2,) * axes


# --- smaller heads ---


@pytest.mark.parametrize(
    ("kernel", "every", "expected"), [(7, 2, 4), (7, 3, 3), (6, 2, 3), (6, 3, 2), (2, 3, 1)]
)
def test_every_second_or_third_tap(kernel, every, expected):
    taps = len(range(0, kernel, every))
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3 * kernel**2, 8))
    layers = fc_layers(subject(model, kernel + 2))
    (layer,) = decimated(layers, 0, every)
    assert layer.kernel == layer.cells == (taps, taps) == (expected, expected)
    assert layer.parameters == 3 * taps**2 * 8 + 8


def test_a_quarter_of_the_channels():
    found = narrowed(fc_layers(subject(Wide())), 0)
    assert [(layer.inputs, layer.outputs, layer.bias) for layer in found] == [
        (180, 4, 4), (4, 3, 3), (3, 7, 7)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [
        Wide((16, 14)),  # 14 is no multiple of 4
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 8)),  # nothing between
    ],
    ids=["odd width", "one layer"],
)
def test_where_channels_cannot_be_quartered(model):
    assert narrowed(fc_layers(subject(model)), 0) is None


def test_layers_that_do_not_follow_each_other():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.one, self.two = nn.Linear(400, 8), nn.Linear(400, 4)
            self.last = nn.Linear(12, 5)

        def forward(self, x):
            x = self.conv(x).flatten(1)
            return self.last(torch.cat([self.one(x), self.two(x)], 1))

    assert narrowed(fc_layers(subject(Branches())), 0) is None


def test_vgg_16_and_what_deeplab_made_of_it():
    """Chen et al. 2015, table 2: 134.3 M, 65.1 M and 20.5 M parameters, for 21 classes."""
    found = on_meta("vgg16", num_classes=21)
    layers = fc_layers(found)
    count, size = parameters_of(found.model)
    body = count - total(layers)
    assert size == 4 * count
    assert body == 14_714_688
    assert round(count / 1e6, 1) == 134.3
    second = decimated(layers, 0, 2)
    assert second[0].kernel == (4, 4)
    assert round((body + total(second)) / 1e6, 1) == 65.1
    large_field = narrowed(decimated(layers, 0, 3), 0)
    assert [layer.outputs for layer in large_field] == [1024, 1024, 21]
    assert round((body + total(large_field)) / 1e6, 1) == 20.5


# --- parameters ---


def test_parameters_count_once_and_their_memory_is_told():
    found = subject(Twice())
    conv, fc = 4 * 27 + 4, 400 * 8 + 8 + 72 + 45
    assert parameters_of(found.model) == (conv + fc, 8 * (conv + fc))
    assert parameters_of(found.fcn) == parameters_of(found.model)
    assert shared_with(found.fcn, found.model) == conv + fc
    found.fcn.float()
    assert parameters_of(found.fcn) == (conv + fc, 4 * (conv + fc))
    assert shared_with(found.fcn, found.model) == 0
