"""The section on parameters: closed forms, real networks with other heads, and what is said."""

from __future__ import annotations

import json
from math import prod

import pytest
import torch
from fc_networks import Wide, quiet, subject
from torch import nn

import fullconv
from fullconv.auditing.sections import parameters
from fullconv.auditing.subject import subject_of
from fullconv.auditing.weights import counts as counts_
from fullconv.auditing.weights import spectra
from fullconv.auditing.weights.counts import measure
from fullconv.auditing.weights.lowrank import LowRank
from fullconv.models.torchvision_import import import_torchvision
from networks import LeNet, noise, unpadded_body

CLOSED = {  # all, FC layers, channels of the last map
    "vgg16": (138_357_544, 123_642_856, 512),
    "alexnet": (61_100_840, 58_631_144, 256),
    "resnet50": (25_557_032, 2_049_000, 2048),
    "mobilenet_v2": (3_504_872, 1_281_000, 1280),
    "squeezenet1_0": (1_248_424, 0, 1000),
}


def learned() -> nn.Module:
    """Weights whose singular values fall off faster than those of random numbers."""
    model = Wide()
    with torch.no_grad():
        model.head[1].weight.copy_(noise(16, 3) @ noise(3, 180, seed=1))
    return model


def counts(model: nn.Module, window: int = 12, **options):
    return measure(subject(model, window, **options), seconds=30, say=quiet)


def said(model: nn.Module, window: int = 12, **options):
    return parameters.section(subject(model, window, **options), 30, quiet)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms(name):
    try:
        models = import_torchvision().models
    except ImportError:
        pytest.skip("torchvision is not installed")
    with torch.device("meta"):
        model = getattr(models, name)()
    every, head, channels = CLOSED[name]
    found = measure(subject_of(model, 224), seconds=1, say=quiet)
    for key in ("classifier", "exact"):
        variant = found.variant(key)
        assert (variant.parameters, variant.head, variant.bytes) == (every, head, 4 * every)
        assert variant.same_function
    assert found.shared == every
    gap = found.variant("gap")
    if not head:
        assert gap is None
        assert found.without_gap == ""
        return
    assert gap.head == channels * 1000 + 1000
    assert gap.parameters == every - head + gap.head
    assert gap.same_function == (name in ("resnet50", "mobilenet_v2"))
    assert (found.shrunk != "") == (name in ("vgg16", "alexnet"))
    if name == "vgg16":
        four = 512 * 16 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
        three = 512 * 9 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 1000 + 1000
        assert found.variant("decimated").parameters == every - head + four
        assert found.variant("large field").parameters == every - head + three
        assert found.variant("large field").head_macs == three - 1024 - 1024 - 1000
        assert found.variant("classifier").head_macs == 25088 * 4096 + 4096 * 4096 + 4096 * 1000


def test_lenet_by_hand():
    found = counts(LeNet(), 28)
    body, head = 6 * 25 + 6 + 16 * 150 + 16, 256 * 120 + 120 + 120 * 84 + 84 + 840 + 10
    assert found.variant("classifier").parameters == body + head == 44_426
    assert found.variant("gap").parameters == body + 16 * 10 + 10
    assert found.variant("decimated").head == 16 * 4 * 120 + 120 + 10_164 + 850
    assert found.variant("large field").head == 16 * 4 * 30 + 30 + 30 * 21 + 21 + 21 * 10 + 10
    assert found.macs == 24 * 24 * 150 + 8 * 8 * 16 * 150 + 30_720 + 10_080 + 840
    assert [layer["parameters"] for layer in found.layers] == [30_840, 10_164, 850]


@pytest.mark.parametrize(
    ("model", "window"),
    [
        (lambda: Wide(), 12),
        (lambda: LeNet(), 28),
        (
            lambda: nn.Sequential(
                unpadded_body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
            ),
            18,
        ),
        (
            lambda: nn.Sequential(unpadded_body(), nn.Flatten(), nn.Linear(180, 8), nn.BatchNorm1d(8),
                                  nn.Linear(8, 4), nn.Softmax(1)),
            18,
        ),
    ],
    ids=["Wide", "LeNet", "average", "norm"],
)  # fmt: skip
def test_the_head_that_averages_is_that_of_all_convolutional(model, window):
    model = model().double().eval()
    built = fullconv.all_convolutional(model, window, pools="keep", head="gap")
    real = sum(parameter.numel() for parameter in built.parameters())
    assert counts(model, window).variant("gap").parameters == real


def test_what_lower_ranks_hold_is_what_two_layers_hold():
    found = counts(Wide())
    own = found.variant("classifier")
    for cut in found.low_rank.cuts:
        two = nn.Sequential(nn.Linear(180, cut.rank, bias=False), nn.Linear(cut.rank, 16))
        held = sum(parameter.numel() for parameter in two.parameters())
        variant = found.variant(f"rank {cut.rank}")
        assert variant.head == own.head - (180 * 16 + 16) + held
        assert variant.parameters == own.parameters - own.head + variant.head
        assert variant.bytes == 8 * variant.parameters
        assert variant.head_macs == 180 * cut.rank + cut.rank * 16 + 16 * 12 + 12 * 7
        assert not variant.same_function


def test_a_head_over_several_maps_has_no_average():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 2, 5)
            self.head = nn.Linear(6, 5)

        def forward(self, x):
            return self.head(torch.cat([self.one(x).mean((2, 3)), self.two(x).mean((2, 3))], 1))

    section = said(Two())
    assert section.skipped == (
        "A head of a 1×1 convolution and an average: the head reads 2 maps: one (Conv2d), two "
        "(Conv2d).",
    )
    assert not any("1×1" in line for line in section.verdict)


# --- what is said ---


def test_the_verdict_names_its_figures():
    model = learned()
    section = said(model, images=[noise(3, 14, 16)])
    own = sum(parameter.numel() for parameter in model.parameters())
    first, gap = section.verdict
    rank = next(line for line in section.text if "singular values, and" in line)
    deeplab = next(line for line in section.text if line.startswith("DeepLab"))
    assert f"keeps all {own:,} parameters" in first
    assert "saves none; 3,191 of them" in first  # 2,896 + 204 + 91
    assert "are in its 3 FC layers" in first
    assert f"{own - 3191 + 42:,}" in gap
    assert gap.endswith("another network, to be trained again.")
    assert "head.1" in deeplab
    assert "without training" in rank
    assert "of 5 views of 1 image keep their top class." in rank


def test_tables_and_facts_agree():
    section = said(Wide(), images=[noise(3, 14, 16)])
    table, ranks = section.tables
    variants = section.facts["variants"]
    assert [row[0] for row in table.rows] == [variant["name"] for variant in variants]
    assert [row[1] for row in table.rows] == [f"{v['parameters']:,}" for v in variants]
    assert [row[6] for row in table.rows] == ["yes", "yes"] + ["no"] * (len(variants) - 2)
    assert [row[0] for row in ranks.rows] == [
        str(c["rank"]) for c in section.facts["low_rank"]["cuts"]
    ]
    assert table.header[2] == "kB"
    assert [float(row[2]) for row in table.rows] == [
        pytest.approx(v["bytes"] / 1e3, rel=5e-3) for v in variants
    ]
    (chart,) = section.charts
    assert chart.y == "thousands of parameters"
    whole, head = chart.series
    assert whole.y == tuple(v["parameters"] / 1e3 for v in variants)
    assert head.y == tuple(v["head"] / 1e3 for v in variants)
    assert len(chart.ticks) == len(variants)
    json.dumps(section.facts, allow_nan=False)


def test_a_head_that_averages_already():
    model = nn.Sequential(unpadded_body(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    section = said(model, 18)
    assert "Its head already is one FC layer behind a global average" in section.verdict[1]
    assert "are in its FC layer." in section.verdict[0]
    assert section.tables[0].rows[2][6] == "yes"
    assert not section.skipped


def test_a_network_without_fc_layers():
    model = nn.Sequential(
        unpadded_body(), nn.Conv2d(5, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    section = said(model, 18)
    assert section.verdict[0].endswith("none of them is in an FC layer.")
    assert section.verdict[1] == (
        "There is no FC layer to replace: it is fully convolutional already."
    )
    assert not section.skipped


def test_random_weights_are_told():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(800, 200), nn.Linear(200, 5))
    section = said(model)
    assert any("are not trained, or hardly" in line for line in section.text)
    spoken = (*section.verdict, *section.text)
    assert not any("top class" in line or "At rank" in line for line in spoken)
    with torch.no_grad():
        model[2].weight.copy_(noise(200, 20) @ noise(20, 800, seed=1))
    assert not any("are not trained, or hardly" in line for line in said(model).text)


def test_noise_is_told():
    section = said(learned())
    assert "No images were given: answers at lower ranks are those on noise." in section.skipped
    assert any("of 16 views of noise" in line for line in section.text)


def test_singular_values_that_take_too_long(monkeypatch):
    monkeypatch.setattr(spectra, "BLOCK", 4)
    section = parameters.section(subject(Wide()), 1e-9, quiet)
    (left,) = section.skipped
    assert left.startswith("Lower ranks of head.1: its singular values would take about ")
    assert len(section.tables) == 1
    assert section.facts["low_rank"]["foreseen"] > 0


def test_ranks_that_are_beyond_what_was_found(monkeypatch):
    monkeypatch.setattr(spectra, "LARGEST", 4)
    monkeypatch.setattr(spectra, "BESIDE", 2)
    section = said(Wide())
    assert [cut["rank"] for cut in section.facts["low_rank"]["cuts"]] == [4]
    assert any(line.endswith("of head.1: they are above 4.") for line in section.skipped)
    assert any("random projection" in line for line in section.how)


def test_a_network_that_does_not_run_on_zeros():
    class Refused(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(4, 5)

        def forward(self, x):
            if float(x.sum()) == 0:
                raise RuntimeError("nothing to see")
            return self.head(self.conv(x).amax((2, 3)) + x.sum())

    section = said(Refused())
    assert section.skipped == (
        "The MACs at the window: the network does not run on an image of zeros.",
    )
    assert section.verdict[0].startswith("The network has 137 parameters (1.10 kB); 25 of them")


def test_bytes_are_those_of_the_type():
    model = Wide().half()
    found = measure(subject_of(model.eval(), 12), seconds=30, say=quiet)
    own = found.variant("classifier")
    assert own.bytes == 2 * own.parameters
    assert found.variant("gap").bytes == 2 * found.variant("gap").parameters
    assert isinstance(found.low_rank, LowRank)


def test_numbers_of_a_map_by_hand():
    """The MACs of a convolution are its weights, once for every cell."""
    found = counts(Wide())
    first, second = 36 * 4 * 27, 36 * 5 * 36
    assert found.macs == first + second + prod((180, 16)) + prod((16, 12)) + prod((12, 7))


def test_ranks_that_save_nothing_are_left_out():
    section = said(Wide())
    own = section.facts["variants"][0]["parameters"]
    ranks = [one for one in section.facts["variants"] if one["key"].startswith("rank")]
    assert ranks
    assert all(one["parameters"] < own for one in ranks)
    (left,) = section.facts["low_rank"]["saving_none"]
    assert any(
        line.endswith(f"of head.1: rank {left} holds no fewer parameters than the layer itself.")
        for line in section.skipped
    )


def test_a_layer_that_is_a_number_is_called_a_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(800, 200), nn.Linear(200, 5))
    with torch.no_grad():
        model[2].weight.copy_(noise(200, 20) @ noise(20, 800, seed=1))
    section = said(model)
    assert any(" of 200 layer 2 keeps " in line for line in section.text)
    assert "layer 2 with 5×5 taps" in [row[0] for row in section.tables[0].rows]


def test_a_kernel_that_loses_no_tap_is_not_decimated(monkeypatch):
    monkeypatch.setattr(counts_, "decimated", lambda layers, place, every: tuple(layers))
    found = counts(Wide())
    assert found.variant("decimated") is None
    assert found.variant("large field") is None
    section = said(Wide())
    assert not any("DeepLab" in line for line in (*section.verdict, *section.text))
