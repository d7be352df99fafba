"""Which form a MODEL word has, and what is said of those that have none."""

import importlib.util

import pytest
from torch import nn

from fullconv.errors import MissingExtraError, RefusedError, UsageError
from fullconv.models import Classifier, forms, load_model

FORMS = (
    "MODEL is torchvision:NAME[:WEIGHTS|:random], timm:NAME[:random], path/to/file.py:factory, "
    "or a bundled model (textures)."
)
with_hubs = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torchvision", "timm")),
    reason="torchvision or timm is not installed",
)


def test_bundled_names_resolve(monkeypatch, tmp_path):
    bundle = type(
        "Bundle",
        (),
        {
            "WINDOW": 64,
            "CLASSES": ("a", "b"),
            "MEAN": (0.4,),
            "STD": (0.2,),
            "load": lambda: nn.Sequential(nn.Conv2d(1, 2, 3)).train(),
        },
    )
    asked = []
    monkeypatch.setattr(forms.importlib, "import_module", lambda n: asked.append(n) or bundle)
    loaded = load_model("textures", weights=tmp_path / "not_there", architecture_only=True)
    assert asked == ["fullconv.bundled.textures"]
    assert isinstance(loaded, Classifier)
    assert (loaded.window, loaded.classes, loaded.weights) == ((64, 64), ("a", "b"), "bundled")
    assert not loaded.module.training


@pytest.mark.parametrize(
    ("form", "error", "message"),
    [
        (
            "net.onnx",
            RefusedError,
            "net.onnx: reading ONNX is not supported yet.\n"
            "Give the PyTorch model it was exported from: path/to/file.py:factory.",
        ),
        (
            "fcn.safetensors",
            UsageError,
            "fcn.safetensors: a saved network is already converted, and here a classifier is "
            "needed.\nIf the file holds the weights of a classifier, name that and pass them with "
            "--weights fcn.safetensors.",
        ),
        (
            "w.pth",
            UsageError,
            "w.pth: holds weights, not a network.\nName the network they belong to and pass them "
            f"with --weights w.pth. {FORMS}",
        ),
        ("torchvision:", UsageError, f"'torchvision:': names no network.\n{FORMS}"),
        ("", UsageError, f"'': is no MODEL.\n{FORMS}"),
        (
            "torchvison:vgg16",
            UsageError,
            f"'torchvison:vgg16': is no MODEL.\nDid you mean torchvision:vgg16? {FORMS}",
        ),
        ("texture", UsageError, f"'texture': is no MODEL.\nDid you mean textures? {FORMS}"),
    ],
)
def test_words_that_name_no_classifier(form, error, message):
    with pytest.raises(error) as caught:
        load_model(form)
    assert str(caught.value) == message


@with_hubs
@pytest.mark.parametrize(
    ("form", "suggestion"),
    [
        ("vgg16", "Did you mean torchvision:vgg16 or timm:vgg16? MODEL"),
        ("alexnet", "Did you mean torchvision:alexnet? MODEL"),
        ("resnet50.a1_in1k", "Did you mean timm:resnet50.a1_in1k? MODEL"),
        ("resnet-50", "Write it as torchvision:NAME. MODEL"),
    ],
)
def test_bare_names_are_led_to_their_hub(form, suggestion):
    with pytest.raises(UsageError) as caught:
        load_model(form)
    assert suggestion in str(caught.value)


def test_without_hubs_a_bare_name_still_gets_an_answer(monkeypatch):
    def absent():
        raise MissingExtraError("torchvision", "hub", "a torchvision: model")

    monkeypatch.setattr(forms, "torchvision_names", absent)
    with pytest.raises(UsageError, match=r"^'vgg16': is no MODEL\.\nMODEL is torchvision:NAME"):
        load_model("vgg16")
