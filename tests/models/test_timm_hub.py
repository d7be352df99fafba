"""`timm:NAME[:random]`, without a network."""

import importlib.util

import pytest
import torch
from safetensors.torch import save_file

from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.models import load_model, timm_hub

if not all(importlib.util.find_spec(name) for name in ("torchvision", "timm")):
    pytest.skip("timm is not installed", allow_module_level=True)

SMALL = "timm:test_resnet.r160_in1k"


@pytest.fixture
def offline(monkeypatch):
    def fail(source):
        raise ConnectionError("the network is unreachable\nand more of it")

    monkeypatch.setattr(timm_hub, "fetch_hub", fail)
    monkeypatch.setattr(timm_hub, "fetch_url", fail)


def test_pretrained(monkeypatch, tmp_path):
    state = load_model(f"{SMALL}:random").module.state_dict()
    state["fc.bias"] = torch.full((1000,), 7.0)
    save_file(state, tmp_path / "model.safetensors")
    asked = []
    monkeypatch.setattr(
        timm_hub, "fetch_hub", lambda name: asked.append(name) or tmp_path / "model.safetensors"
    )
    loaded = load_model(SMALL)
    assert asked == ["timm/test_resnet.r160_in1k"]
    assert (loaded.module.fc.bias == 7).all()
    assert loaded.weights == "pretrained r160_in1k"
    assert loaded.window == (160, 160)
    assert loaded.classes is not None
    assert (len(loaded.classes), loaded.classes[0]) == (1000, "tench, Tinca tinca")
    assert (loaded.mean, loaded.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert not loaded.module.training
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"the fetched weights cannot be loaded: .*\nDelete that"):
        load_model(SMALL)


def test_random(offline):
    one, two = load_model(f"{SMALL}:random"), load_model(f"{SMALL}:random")
    assert one.weights == "random"
    assert one.classes is None
    assert torch.equal(one.module.fc.weight, two.module.fc.weight)


def test_the_side_to_which_images_are_scaled_for_testing(offline):
    net = timm_hub.import_timm().create_model("test_resnet")
    for change, shortest in (
        ({"crop_pct": 0.875}, 182),  # 160 / 0.875 = 182.86, rounded down as timm does
        ({"crop_pct": 0.875, "crop_mode": "squash"}, None),
        ({"crop_pct": None}, None),
        ({"crop_pct": 1.0, "input_size": (3, 96, 128)}, 96),
    ):
        net.pretrained_cfg = {"input_size": (3, 160, 160), "crop_mode": "center", **change}
        assert timm_hub.described(net).shortest == shortest


def test_architecture_only(offline, tmp_path):
    loaded = load_model(SMALL, weights=tmp_path / "not_there", architecture_only=True)
    assert loaded.weights == "not loaded (architecture only)"
    assert loaded.window == (160, 160)


def test_a_weights_file_is_used_instead_of_a_download(offline, tmp_path):
    state = load_model(f"{SMALL}:random").module.state_dict()
    torch.save({"state_dict": {f"module.{key}": state[key] for key in state}}, tmp_path / "w.pth")
    loaded = load_model(SMALL, weights=str(tmp_path / "w.pth"))
    assert loaded.weights == f"file {tmp_path}/w.pth"
    assert loaded.classes is not None


def test_the_real_mobilenet_does_not_fit_a_thousand_classes(offline, data):
    weights = data / "weights" / "mobilenetv2_100_same_imagenet1001.safetensors"
    if not weights.exists():
        pytest.skip("the real data has no MobileNet")
    with pytest.raises(InputError) as caught:
        load_model("timm:mobilenetv2_100", weights=weights)
    assert (
        "does not fit EfficientNet.\n  another shape (2): classifier.bias is 1000 in the "
        "network, 1001 in the file" in str(caught.value)
    )


def test_offline_is_one_clear_error(offline):
    with pytest.raises(FullconvError) as caught:
        load_model("timm:resnet18")
    assert caught.value.exit_code == 1
    assert str(caught.value) == (
        "timm:resnet18: the pretrained weights could not be fetched from the Hugging Face "
        "repository timm/resnet18.a1_in1k (the network is unreachable).\n"
        "Fetch that file where there is a network and pass it with --weights FILE, "
        "or use timm:resnet18:random for random weights."
    )


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("timm:resnet18x", "timm has no network named 'resnet18x'.\nDid you mean resnet18"),
        (
            "timm:resnet18.a9_in1k:random",
            "resnet18 has no pretrained weights tagged 'a9_in1k'.\nIt has a1_in1k, a2_in1k,",
        ),
        ("timm:resnet18:IMAGENET1K_V1", "'IMAGENET1K_V1' is not understood.\nWrite timm:resnet18,"),
    ],
)
def test_unknown_words(form, message, offline):
    with pytest.raises(UsageError) as caught:
        load_model(form)
    assert str(caught.value).startswith(f"{form}: {message}")


def test_a_network_without_pretrained_weights(offline):
    timm = timm_hub.import_timm()
    name = next(n for n in timm.list_models("*resnet*") if not timm.is_model_pretrained(n))
    with pytest.raises(UsageError) as caught:
        load_model(f"timm:{name}")
    assert str(caught.value) == (
        f"timm:{name}: there are no pretrained weights for {name}.\n"
        f"Pass --weights FILE, or use timm:{name}:random for random weights."
    )
