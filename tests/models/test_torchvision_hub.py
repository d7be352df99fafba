"""`torchvision:NAME[:WEIGHTS|:random]`, without a network."""

import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from fullconv.errors import FullconvError, InputError, MissingExtraError, UsageError
from fullconv.models import load_model, torchvision_hub, torchvision_import

if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)

SMALL = "torchvision:shufflenet_v2_x0_5"


@pytest.fixture
def offline(monkeypatch):
    def fail(url):
        raise OSError("the network is unreachable")

    monkeypatch.setattr(torchvision_hub, "fetch_url", fail)


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """As if the weights of SMALL had been fetched."""
    net = load_model(f"{SMALL}:random").module
    with torch.no_grad():
        net.fc.bias.fill_(7)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    asked = []
    monkeypatch.setattr(
        torchvision_hub, "fetch_url", lambda url: asked.append(url) or tmp_path / "net.pth"
    )
    return SimpleNamespace(path=tmp_path / "net.pth", asked=asked)


@pytest.mark.parametrize("option", ["", ":IMAGENET1K_V1"])
def test_pretrained(fetched, option):
    loaded = load_model(SMALL + option)
    assert loaded.weights == "pretrained IMAGENET1K_V1"
    assert (loaded.module.fc.bias == 7).all()
    assert not loaded.module.training
    assert loaded.form == SMALL + option
    assert loaded.window == (224, 224)
    assert loaded.classes is not None
    assert (len(loaded.classes), loaded.classes[0]) == (1000, "tench")
    assert (loaded.mean, loaded.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert len(fetched.asked) == 1


def test_a_damaged_download(fetched):
    fetched.path.write_bytes(fetched.path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"net\.pth: is cut short or damaged .*\nDelete it"):
        load_model(SMALL)


def test_random_is_the_same_every_time_and_leaves_the_generator(offline):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, two = load_model(f"{SMALL}:random"), load_model(f"{SMALL}:random")
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one.module.conv1[0].weight, two.module.conv1[0].weight)
    assert one.weights == "random"
    assert one.classes is None  # random scores have no names


def test_architecture_only(offline, tmp_path):
    loaded = load_model(SMALL, weights=tmp_path / "not_there", architecture_only=True)
    assert loaded.weights == "not loaded (architecture only)"
    assert loaded.classes is not None
    assert load_model(f"{SMALL}:random", architecture_only=True).weights == loaded.weights


@pytest.mark.parametrize("option", ["", ":random"])
def test_a_weights_file_is_used_instead_of_a_download(offline, tmp_path, option):
    state = load_model(f"{SMALL}:random").module.state_dict()
    state["fc.bias"] = torch.full((1000,), 3.0)
    save_file(state, tmp_path / "w.safetensors")
    loaded = load_model(SMALL + option, weights=tmp_path / "w.safetensors")
    assert (loaded.module.fc.bias == 3).all()
    assert loaded.weights == f"file {tmp_path}/w.safetensors"
    assert loaded.classes is not None


def test_inception_is_built_as_pretrained(offline):
    loaded = load_model("torchvision:inception_v3", architecture_only=True)
    assert loaded.window == (299, 299)
    assert loaded.module.transform_input


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_file_with_training_heads_gives_what_torchvision_gives(monkeypatch, tmp_path, name):
    models = torchvision_import.import_torchvision().models
    entry = models.get_model_weights(name).DEFAULT
    trained = models.get_model(name, weights=None, aux_logits=True, init_weights=False)
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr(type(entry), "get_state_dict", lambda *_, **__: trained.state_dict())
    theirs = models.get_model(name, weights=entry).eval()
    ours = load_model(f"torchvision:{name}", weights=tmp_path / "w.pth")
    assert list(ours.module.state_dict()) == list(theirs.state_dict())
    x = torch.rand(1, 3, *ours.window)
    with torch.no_grad():
        assert torch.equal(ours.module(x), theirs(x))


def test_videos_have_no_known_window(offline):
    loaded = load_model("torchvision:s3d", architecture_only=True)
    assert loaded.window is None
    assert loaded.classes is not None
    assert len(loaded.classes) == 400


def test_offline_is_one_clear_error(offline):
    with pytest.raises(FullconvError) as caught:
        load_model(SMALL)
    assert caught.value.exit_code == 1
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{SMALL}: the pretrained weights could not be fetched from http")
    assert first.endswith(".pth (the network is unreachable).")
    assert second == (
        "Fetch that file where there is a network and pass it with --weights FILE, "
        f"or use {SMALL}:random for random weights."
    )


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("torchvision:vgg61", "torchvision has no classifier named 'vgg61'.\nDid you mean vgg1"),
        ("torchvision:fcn_resnet50", "torchvision has no classifier named 'fcn_resnet50'."),
        (
            "torchvision:resnet50:IMAGENET1K_V9",
            "resnet50 has no weights named 'IMAGENET1K_V9'.\n"
            "It has IMAGENET1K_V1, IMAGENET1K_V2. Did you mean",
        ),
        ("torchvision:resnet50:randm", "resnet50 has no weights named 'randm'.\nIt has"),
        (
            "torchvision:vgg16:IMAGENET1K_FEATURES",
            "the weights IMAGENET1K_FEATURES of vgg16 have no trained head.\nIt has IMAGENET1K_V1.",
        ),
        (
            "torchvision:vgg16:random:x",
            "only one word may follow the name.\nWrite torchvision:vgg16:random.",
        ),
    ],
)
def test_unknown_words(form, message):
    with pytest.raises(UsageError) as caught:
        load_model(form)
    assert str(caught.value).startswith(f"{form}: {message}")
    assert caught.value.exit_code == 2


def test_every_classifier_is_described():
    models = torchvision_import.import_torchvision().models
    for name in torchvision_hub.torchvision_names():
        preset = models.get_model_weights(name).DEFAULT.transforms()
        assert len(preset.crop_size) in (1, 2), name
        assert len(preset.mean) == len(preset.std) == 3, name


@pytest.mark.parametrize(
    ("name", "shortest"), [("alexnet", 256), ("inception_v3", 342), ("r3d_18", None)]
)
def test_the_side_to_which_images_are_scaled_for_testing(name, shortest, offline):
    loaded = load_model(f"torchvision:{name}", architecture_only=True)
    assert loaded.shortest == shortest


@pytest.mark.parametrize(("package", "form"), [("torchvision", SMALL), ("timm", "timm:resnet18")])
def test_missing_extra(monkeypatch, package, form):
    monkeypatch.setitem(sys.modules, package, None)  # import says ModuleNotFoundError
    with pytest.raises(MissingExtraError) as caught:
        load_model(form)
    assert str(caught.value) == (
        f"a {form.partition(':')[0]}: model needs {package}, which is not installed.\n"
        "Install it with: pip install 'fullconv[hub]'"
    )


def test_a_mismatched_torchvision_is_repaired_once(monkeypatch):
    calls, declared = [], []
    monkeypatch.setattr(torchvision_import, "_declared", declared)
    monkeypatch.setattr(torchvision_import, "_declare", lambda: declared.append("schemas"))

    def action():
        calls.append(1)
        if not declared:
            raise RuntimeError("operator torchvision::nms does not exist")
        return "done"

    assert torchvision_import.with_torchvision(action) == "done"
    assert len(calls) == 2

    def other():
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        torchvision_import.with_torchvision(other)
    assert declared == ["schemas"]
