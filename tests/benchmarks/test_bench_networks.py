"""What the benchmarks compare is what they say: by hand, by MONAI, layer by layer, fitted."""

import sys

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import fullconv
import hand_written
import monai_windows
import paper
import precision
from bench import networks, plot
from bench.networks import Trained, optimized, optimized_classifier, photos
from fullconv.errors import InputError, MissingExtraError, UsageError


class Small(nn.Module):
    """Like AlexNet: features, then fully-connected layers; window 8, unpadded, stride 2."""

    def __init__(self, classes=3):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, classes)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def crops(model, image, window, stride):
    """The scores of every window, cut out one by one."""
    tops, lefts = (range(0, n - window + 1, stride) for n in image.shape[2:])
    rows = [
        torch.stack([model(image[:, :, y : y + window, x : x + window])[0] for x in lefts], -1)
        for y in tops
    ]
    return torch.stack(rows, 1)[None]


def test_the_hand_written_network_is_the_classifier_at_every_window(monkeypatch):
    monkeypatch.setitem(hand_written.CELLS, "small", 3)
    model = Small().eval().double()
    hand = hand_written.by_hand("small", model)
    image = torch.randn(1, 3, 12, 14, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(hand(image), crops(model, image, 8, 2), rtol=0, atol=1e-12)


def test_a_network_nobody_wrote_by_hand_is_refused(capsys):
    assert hand_written.main(["--models", "resnet18"]) == 2
    assert capsys.readouterr().err == (
        "'resnet18' is not written by hand here; alexnet and vgg16 are.\n"
    )


def test_monai_gives_the_scores_of_every_window(monkeypatch):
    pytest.importorskip("monai", reason="MONAI is not installed")
    monkeypatch.setattr(networks, "WINDOW", 8)
    model = Small().eval().double()
    image = torch.randn(1, 3, 16, 20, dtype=torch.float64)
    infer = monai_windows.import_monai()
    with torch.no_grad():
        for stride in (4, 2):
            found = monai_windows.monai_map(infer, model, image, stride, 5)
            wanted = crops(model, image, 8, stride)
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    with pytest.raises(UsageError) as caught:
        monai_windows.monai_map(infer, model, image[:, :, :-1], 4, 5)
    assert str(caught.value) == (
        "MONAI's windows would not be 4 px apart everywhere.\n"
        "Take a divisor of 8, and an image of 8 px and a multiple of it."
    )


@pytest.mark.parametrize(
    ("package", "load"), [("monai", monai_windows.import_monai), ("matplotlib", plot.import_pyplot)]
)
def test_a_missing_package_is_named(package, load, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)

    class Nothing:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr(sys, "meta_path", [Nothing(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"pip install 'fullconv\[bench\]'"):
        load()


def test_both_sides_in_their_best_form_compute_the_same():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 5),
    ).eval()
    model[1].running_mean.uniform_(-1, 1)
    model[1].running_var.uniform_(0.5, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fcn = fullconv.convert(model, 8)
    image = torch.randn(1, 3, 12, 9)
    with torch.no_grad():
        wanted = crops(model, image, 8, 1)
        torch.testing.assert_close(optimized(fcn)(image), wanted, rtol=1e-4, atol=1e-5)
        slow = optimized_classifier(model)
        torch.testing.assert_close(crops(slow, image, 8, 1), wanted, rtol=1e-4, atol=1e-5)
        half = optimized(fcn, torch.bfloat16)(image.bfloat16())
    assert (half.float() - wanted).abs().max() > 1e-4  # it was computed in bf16
    torch.testing.assert_close(half.float(), wanted, rtol=0.1, atol=0.1)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    folded = not any(isinstance(layer, nn.BatchNorm2d) for layer in slow.modules())
    assert folded == networks.folds()


def test_the_profile_counts_macs_and_seconds_of_every_layer():
    layers = paper.profile(Small().eval(), torch.randn(2, 3, 8, 8), 2, "cpu")
    macs = {name: count for name, (count, _) in layers.items()}
    assert macs == {
        "features.0": 2 * 4 * 36 * 27, "classifier.1": 2 * 36 * 6, "classifier.3": 2 * 6 * 3,
        "rest": 0,
    }  # fmt: skip
    assert all(seconds > 0 for name, (_, seconds) in layers.items() if name != "rest")


def test_the_fitted_layer_is_the_ridge_regression_of_the_left_halves():
    pair = {"first": torch.rand(1, 3, 24, 40), "second": torch.rand(1, 3, 20, 30)}
    network = Trained(Small(9).eval(), 8, 4.4, (2.0, 2.0, 2.0))
    new = precision.fitted(network, pair, 2)
    features, targets = [], []
    body = nn.Sequential(network.model.features, nn.Flatten(), *network.model.classifier[:3])
    with torch.no_grad():
        for number, pixels in enumerate(pair.values()):
            found = crops(body, pixels * 4.4 - 2, 8, 2)[0]
            left = found[:, :, : found.shape[2] // 2].flatten(1).T.double().numpy()
            features.append(left)
            targets.append(np.eye(2)[[number] * len(left)])
    x, y = np.concatenate(features), np.concatenate(targets)
    # Ridge regression as least squares: one row more for every weight, to be nothing.
    more = np.sqrt(1e-3 * np.square(x).sum(0).mean()) * np.eye(6)
    weights = np.linalg.lstsq(np.vstack([x, more]), np.vstack([y, np.zeros((6, 2))]))[0]
    assert new.model.classifier[3].bias is None
    np.testing.assert_allclose(
        new.model.classifier[3].weight.detach().numpy(), weights.T, rtol=1e-3, atol=1e-4
    )
    assert network.model.classifier[3].out_features == 9  # the given one stays as it is


def test_agreement_is_counted_over_all_cells_and_over_the_clear_ones():
    # Four cells: clear and same, clear and other, a tie and same, a tie and other.
    full = torch.tensor([[0.9, 0.9, 0.51, 0.51], [0.1, 0.1, 0.49, 0.49]])[:, :, None]
    other = torch.tensor([[5.0, 1.0, 5.0, 1.0], [2.0, 2.0, 2.0, 2.0]])[:, :, None]
    counts = {"cells": 4, "same": 2, "clear": 2, "clear_same": 1}
    assert precision.agreeing(full, other) == counts


def test_pixels_are_prepared_as_the_weights_want_them():
    pixels = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    mobile = Trained(nn.Identity(), 224, 2.0, (1.0, 1.0, 1.0))
    assert mobile.prepare(pixels).flatten().tolist() == [1, 0, -1]
    caffe = Trained(nn.Identity(), 227, 255.0, (104.0, 117.0, 123.0), bgr=True)
    assert caffe.prepare(pixels).flatten().tolist() == [-104, 10.5, 132]


def test_photos_are_resized_to_one_side_or_missed(tmp_path):
    with pytest.raises(InputError, match=r"no photographs \(\*\.jpg\)"):
        photos(tmp_path, 32)
    PIL.Image.fromarray(np.full((30, 60, 3), 255, np.uint8)).save(tmp_path / "white.jpg")
    (found,) = photos(tmp_path, 45).values()
    assert found.shape == (1, 3, 45, 90)
    assert found.min() > 0.99
