import numpy as np
import PIL.Image
import pytest
import torch

from fullconv import Certificate


def test_random_images_without_any(fullconv):
    run = fullconv("check", "nets.py:build")
    assert run.code == 0
    assert "proven (window 16×16, stride 2×2, float64)" in run.out
    assert "random image" in run.out
    assert run.err == "nets.py:build: weights as built by nets.py:build\ncomparing ...\n"


def test_json(fullconv):
    run = fullconv("check", "nets.py:build", "photo.png", "photo.png", "--cells", "5", "--json")
    assert run.code == 0
    data = run.json
    assert data["ok"] is True
    assert data["exact"] is True
    assert data["model"] == "nets.py:build"
    assert data["images"] == [[40, 57], [40, 57]]
    assert data["cells"] == 10
    assert data["native"] < 1e-10
    assert data["windows"] < 1e-10


def test_a_padded_network_is_proven_and_its_gap_told(fullconv):
    data = fullconv("check", "nets.py:padded", "photo.png", "--json").json
    assert data["ok"] is True
    assert data["exact"] is False
    assert data["windows"] > 1e-3


def test_images_are_prepared_as_told(fullconv):
    """The dense/crop gap of a padded network depends on what the pixels become."""
    told = ["--mean", "0.1", "--std", "3"]
    plain = fullconv("check", "nets.py:padded", "photo.png", "--json").json
    other = fullconv("check", "nets.py:padded", "photo.png", *told, "--json").json
    assert other["windows"] != plain["windows"]


def test_a_fcn_that_differs_fails_with_the_certificate_shown(fullconv, monkeypatch):
    monkeypatch.setattr(Certificate, "ok", property(lambda self: False))
    run = fullconv("check", "nets.py:build", "--json")
    assert run.code == 1
    assert run.json["ok"] is False
    assert run.err.endswith("error: nets.py:build: the FCN does not equal the classifier.\n")


def test_weights_that_are_not_numbers_are_not_proven_and_the_json_stays_valid(fullconv):
    run = fullconv("check", "nets.py:broken", "--json")
    assert run.code == 1
    assert run.json["native"] is None  # infinity has no name in JSON
    assert run.json["ok"] is False


def test_an_image_below_the_window_is_named(fullconv, here):
    PIL.Image.fromarray(np.zeros((9, 90, 3), np.uint8)).save(here / "small.png")
    run = fullconv("check", "nets.py:build", "photo.png", "small.png")
    assert run.code == 3
    assert run.error.startswith("small.png: the image is 9×90 px, smaller than the 16×16 window")


def test_weights_from_a_file(fullconv, here):
    torch.manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 8, 3, stride=2),
        torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 4),
    )  # fmt: skip
    torch.save(net.state_dict(), here / "net.pth")
    run = fullconv("check", "nets.py:build", "--weights", "net.pth")
    assert run.code == 0
    assert "weights file net.pth" in run.err


@pytest.mark.parametrize("words", [["--mean", "1,2"], ["--std", "1,2,3,4"]])
def test_a_mean_of_the_wrong_length(words, fullconv):
    run = fullconv("check", "nets.py:build", "photo.png", *words)
    assert run.code == 2
    name, count = words[0].strip("-"), words[1].count(",") + 1
    assert run.error.startswith(f"{name} has {count} numbers, but the network takes 3 channels.")
    assert "Give one number, or one per channel." in run.error
