"""The bundled classifier is what its card says it is."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fullconv.bundled import photographs, textures

FOLDER = Path(textures.__file__).parent
CARD = (FOLDER / "textures.md").read_text(encoding="utf-8")
STRIDE = 16  # half as dense as the card's grid, to be quick

with_photographs = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None,
    reason="scikit-image, which holds the photographs, is not installed",
)


@pytest.fixture(scope="module")
def model():
    return textures.load()


@pytest.fixture(scope="module")
def right(model):
    """The share of the held-out crops of each class that is classified rightly."""
    return {name: share_right(model, name) for name in textures.CLASSES}


def share_right(model, name):
    pixels = torch.from_numpy(photographs.luminance(photographs.test_half(name)).copy()) / 255
    crops = pixels.unfold(0, textures.WINDOW, STRIDE).unfold(1, textures.WINDOW, STRIDE)
    crops = (crops.reshape(-1, 1, textures.WINDOW, textures.WINDOW) - textures.MEAN[0]) / (
        textures.STD[0]
    )
    with torch.inference_mode():
        found = torch.cat([model(part).argmax(1) for part in crops.split(256)])
    return float((found == textures.CLASSES.index(name)).double().mean())


def test_it_scores_a_window(model):
    x = torch.zeros(2, textures.CHANNELS, textures.WINDOW, textures.WINDOW)
    assert model(x).shape == (2, len(textures.CLASSES))
    assert not model.training


def test_it_takes_no_other_size(model):
    with pytest.raises(RuntimeError, match="1152"):
        model(torch.zeros(1, textures.CHANNELS, textures.WINDOW + 8, textures.WINDOW))


def test_nothing_pads(model):
    spatial = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.MaxPool2d))]
    assert len(spatial) == 6
    assert all(m.padding in (0, (0, 0)) for m in spatial)
    assert not any("pad" in type(m).__name__.lower() for m in model.modules())


def test_its_native_stride_is_8_and_its_head_is_fully_connected(model):
    pools = [m for m in model.features if isinstance(m, nn.MaxPool2d)]
    assert [m.stride for m in pools] == [2, 2, 2]
    assert isinstance(model.classifier[0], nn.Flatten)
    assert sum(isinstance(m, nn.Linear) for m in model.classifier) == 3


def test_it_is_normalised_per_channel():
    assert len(textures.MEAN) == len(textures.STD) == textures.CHANNELS == 1


def test_the_weights_are_small_and_all_used(model):
    assert (FOLDER / "textures.safetensors").stat().st_size < 1_000_000
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_loading_twice_gives_two_equal_models(model):
    again = textures.load()
    assert again is not model
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_the_card_counts_the_parameters(model):
    count = sum(parameter.numel() for parameter in model.parameters())
    assert f"{count:,} parameters" in CARD


def test_the_card_names_every_photograph():
    for photograph in photographs.PHOTOGRAPHS.values():
        assert f"`{photograph.function}`" in CARD


@with_photographs
@pytest.mark.parametrize("name", textures.CLASSES)
def test_a_class_is_told_as_well_as_the_card_says(name, right):
    row = re.search(rf"^\| {name} \| [\d,]+ \| ([\d.]+) % \|", CARD, re.MULTILINE)
    # A coarser grid shifts the share of a class that is not always right, more than the mean.
    assert 100 * right[name] >= float(row[1]) - 2


@with_photographs
def test_the_accuracy_is_the_cards(right):
    stated = float(re.search(r"^\| classes averaged \| [\d,]* ?\| ([\d.]+) % \|", CARD, re.M)[1])
    assert stated >= 95
    assert 100 * np.mean(list(right.values())) >= stated - 0.5
