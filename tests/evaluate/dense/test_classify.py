"""What `fullconv.classify` does with what a person names; the numbers are in test_evaluations."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import fullconv
from fullconv.api.memory import Budget
from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.evaluate.dense.protocol import Protocol
from fullconv.evaluate.dense.views import chosen_scales
from fullconv.evaluate.scales import AS_IT_IS, Scale
from fullconv.hosts.torch_fx.fcn import About
from fullconv.storage.images import Image

RANDOM = np.random.default_rng(3)
PIXELS = RANDOM.integers(0, 256, (21, 34, 3), np.uint8)
NAMES = ("ape", "bee", "cow", "dog")
MEAN, STD = (0.5, 0.4, 0.3), (0.2,)


def network(outputs: int = 4, padding: int = 0) -> nn.Sequential:
    torch.manual_seed(0)
    body = nn.Conv2d(3, 5, 3, stride=2, padding=padding), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(5 * (5 + padding) ** 2, outputs)).eval()


@pytest.fixture
def fcn() -> fullconv.FCN:
    made = fullconv.convert(network(), 12)
    made.about = About("net", NAMES, MEAN, STD)
    return made


def by_hand(pixels, model=None):
    """Dense evaluation: the mean of the scores of all crops, then the softmax."""
    x = (pixels / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    x = torch.from_numpy(x).permute(2, 0, 1)[None]
    with torch.no_grad():
        maps = fullconv.sliding(model or network(), x, 12, 2)
    return maps.mean((2, 3)).softmax(1)[0].numpy()


def test_an_image_as_it_is(fcn):
    found = fullconv.classify(fcn, PIXELS)
    np.testing.assert_allclose(found.probabilities, by_hand(PIXELS), atol=1e-6)
    assert found.size == (21, 34)
    assert found.image == "array"
    best = found.top(2)
    assert [guess.index for guess in best] == list(np.argsort(-by_hand(PIXELS))[:2])
    assert best[0].name == NAMES[best[0].index]
    assert best[0].probability == pytest.approx(by_hand(PIXELS).max(), abs=1e-6)
    assert len(found.top(9)) == 4


def test_everything_that_stands_for_an_image(fcn, tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(PIXELS).save(path)
    x = torch.from_numpy((PIXELS / np.float32(255) - np.float32(MEAN)) / np.float32(STD))
    tensor = x.permute(2, 0, 1)
    expected = by_hand(PIXELS)
    for source in (PIXELS, path, str(path), Image(Path("x"), PIXELS), tensor):
        found = fullconv.classify(fcn, source)
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
    for several in ([path, PIXELS], [path, path], tensor[None].repeat(2, 1, 1, 1),
                    (source for source in (tensor, path))):  # fmt: skip
        found = fullconv.classify(fcn, several)
        assert len(found) == 2
        for one in found:
            np.testing.assert_allclose(one.probabilities, expected, atol=1e-6)
    assert len(fullconv.classify(fcn, tmp_path)) == 1
    assert len(fullconv.classify(fcn, str(tmp_path / "*.png"))) == 1


def test_images_of_many_sizes_come_back_in_their_order(fcn):
    sizes = [(21, 34), (12, 12), (21, 34), (30, 13), (12, 12), (21, 34)]
    images = [RANDOM.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    found = fullconv.classify(fcn, images, batch_size=2)
    assert [one.size for one in found] == sizes
    for one, image in zip(found, images, strict=True):
        np.testing.assert_allclose(one.probabilities, by_hand(image), atol=1e-6)


def test_equal_sizes_share_a_pass(fcn, patient):
    counts = []
    fcn.register_forward_hook(lambda module, args, out: counts.append(len(args[0])))
    fullconv.classify(fcn, [PIXELS] * 7, batch_size=3)
    assert sorted(counts) == [1, 3, 3]


def test_the_default_scale_is_that_of_the_classifier_s_tests(fcn):
    assert chosen_scales(fcn, None) == (AS_IT_IS,)
    fcn.about = About("net", NAMES, MEAN, STD, 14)
    assert chosen_scales(fcn, None) == (Scale(shortest=14),)
    assert chosen_scales(fcn, 20) == (Scale(shortest=20),)
    found = fullconv.classify(fcn, PIXELS)
    assert found.to_dict()["scales"] == ["14"]
    small = nn.functional.interpolate(
        torch.from_numpy(PIXELS).permute(2, 0, 1)[None].float(),
        (14, 23), mode="bilinear", antialias=True,
    )  # fmt: skip
    expected = by_hand(small[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    # A prepared tensor is as it is wanted, also among others.
    tensor = torch.zeros(3, 21, 34)
    assert fullconv.classify(fcn, tensor).to_dict()["scales"] == ["1x"]
    both = fullconv.classify(fcn, [tensor, PIXELS])
    assert [one.to_dict()["scales"] for one in both] == [["1x"], ["14"]]
    assert fullconv.classify(fcn, tensor, 14).to_dict()["scales"] == ["14"]


def test_what_an_answer_says(fcn):
    fcn.about = About("net", None, MEAN, STD)
    with pytest.warns(UserWarning, match="left out at 5"):
        found = fullconv.classify(fcn, PIXELS, [21, 5], flip=True, evaluation="both")
    data = found.to_dict(2)
    assert list(data) == [
        "image", "size", "evaluation", "scales", "skipped", "flip", "average", "top",
    ]  # fmt: skip
    assert data["scales"] == ["21"]
    assert data["skipped"] == ["5"]
    assert data["flip"] is True
    assert len(data["top"]) == 2
    first = data["top"][0]
    assert first["name"] == f"class {first['class']}"
    assert str(found).startswith("array: both at 21, 5, with flips\n")
    assert f"{first['probability']:.3f}" in str(found)
    assert repr(found) == f"<Classification of array: {first['name']} {first['probability']:.3f}>"


def test_scales_left_out_are_told(fcn):
    with pytest.warns(UserWarning, match="left out") as told:
        fullconv.classify(fcn, PIXELS, [21, 5])
    assert str(told[0].message) == "array: left out at 5: smaller there than the 12×12 window"
    assert told[0].filename == __file__


# --- what can be wrong ---


def test_one_bad_image_ends_the_work_or_is_told(fcn, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    PIL.Image.fromarray(PIXELS).save(tmp_path / "good.png")
    small = RANDOM.integers(0, 256, (5, 40, 3), np.uint8)
    with pytest.raises(InputError, match=r"bad\.png: this is not an image that can be read"):
        fullconv.classify(fcn, tmp_path)
    told = []
    found = fullconv.classify(fcn, [tmp_path, small, PIXELS], on_error=told.append)
    assert [Path(one.image).name for one in found] == ["good.png", "array 3"]
    assert len(told) == 2
    assert "bad.png" in str(told[0])
    assert str(told[1]).startswith("array 2: the image is 5×40 px, smaller than the 12×12 window")
    with pytest.raises(InputError, match="smaller than the 12×12 window"):
        fullconv.classify(fcn, small, on_error=told.append)


def test_one_image_whose_scores_are_not_finite_does_not_take_the_others_with_it(fcn):
    with torch.no_grad():
        fcn.get_parameter("0.weight").abs_()
    good, large, nan = (torch.full((3, 12, 12), value) for value in (0.0, 3e38, float("nan")))
    told = []
    found = fullconv.classify(fcn, [good, large, good, nan], on_error=told.append)
    assert len(found) == 2
    overflow, missing = told
    assert "a layer overflowed" in str(overflow)
    assert str(missing) == (
        "tensor 3: 432 of 432 numbers of the image are not finite (NaN or infinite).\n"
        "They make 4 of 4 scores not finite either. Fill them before scoring, for instance with "
        "the mean of the image."
    )
    assert overflow.exit_code == missing.exit_code == 3


def test_a_network_that_cannot_score_is_told_once(fcn):
    with torch.no_grad():
        next(fcn.parameters()).fill_(float("nan"))
    told = []
    with pytest.raises(InputError, match=r"^0\.weight: holds numbers that are not finite"):
        fullconv.classify(fcn, [PIXELS] * 3, on_error=told.append)
    assert told == []


def test_an_image_that_does_not_fit_the_memory(fcn):
    told = []
    large = np.zeros((2000, 2000, 3), np.uint8)
    limit = Budget(fcn, 2**40).needed((21, 34))
    found = fullconv.classify(fcn, [PIXELS, large], max_memory=limit, on_error=told.append)
    assert len(found) == 1
    (error,) = told
    assert str(error).startswith("array 1: a pass over 2000×2000 px needs ")
    assert error.exit_code == 3


def test_a_batch_shrinks_to_what_fits_the_memory(fcn, patient):
    counts = []
    fcn.register_forward_hook(lambda module, args, out: counts.append(len(args[0])))
    limit = Budget(fcn, 2**40).needed((21, 34), 2)
    found = fullconv.classify(fcn, [PIXELS] * 6, max_memory=limit)
    assert len(found) == 6
    assert max(counts) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"evaluation": "crops"}, "evaluation='crops' must be one of 'centre', 'dense'"),
        ({"average": "sum"}, "average='sum' must be one of 'scores', 'probabilities'"),
        ({"scales": "big"}, "'big' is no scale"),
        ({"mean": (0.1, 0.2), "on_error": print}, "mean has 2 numbers"),
        ({"mean": (0.1, 0.2)}, "mean has 2 numbers, but the network takes 3 channels"),
        ({"batch_size": 0}, "batch_size=0 must be positive"),
    ],
)
def test_arguments_that_do_not_fit(fcn, given, message):
    with pytest.raises(UsageError, match=message):
        fullconv.classify(fcn, PIXELS, **given)


def test_what_is_no_network_and_no_image(fcn):
    with pytest.raises(UsageError, match="an answer needs an FCN, not a Sequential"):
        fullconv.classify(network(), PIXELS)
    for wrong in (torch.zeros(21, 34), torch.zeros(1, 21, 34), torch.zeros(2, 1, 21, 34),
                  torch.zeros(3, 21, 34, dtype=torch.uint8)):  # fmt: skip
        for given in (wrong, [wrong]):
            with pytest.raises(UsageError) as caught:
                fullconv.classify(fcn, given)
            assert "is no prepared image.\nGive floats (3, H, W), or (N, 3, H, W)" in str(
                caught.value
            )
    with pytest.raises(UsageError, match="a int is no image"):
        fullconv.classify(fcn, 7)
    with pytest.raises(UsageError, match="a int is no image"):
        fullconv.classify(fcn, [7])
    with pytest.raises(InputError, match="there is no such file"):
        fullconv.classify(fcn, "nowhere.png")
    with pytest.raises(InputError, match=r"pixels of shape \(21, 34\)"):
        fullconv.classify(fcn, PIXELS[..., 0])


def test_class_names_of_another_network(fcn):
    fcn.about = About("net", ("ape", "bee"), MEAN, STD)
    with pytest.raises(UsageError) as caught:
        fullconv.classify(fcn, PIXELS)
    assert str(caught.value) == "there are 2 class names for 4 scores."


def test_a_network_of_volumes():
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 27, 3)).eval()
    with pytest.raises(UsageError, match="an image has two spatial axes, and this network has 3"):
        fullconv.classify(fullconv.convert(model, 5), PIXELS)


def test_memory_that_runs_out(fcn, monkeypatch):
    def full(*args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(type(fcn), "__call__", full)
    with pytest.raises(FullconvError, match=r"array: the memory does not suffice"):
        fullconv.classify(fcn, PIXELS)


def test_protocols_are_said_in_short():
    assert str(Protocol()) == "dense at 1x"
    assert str(Protocol((Scale(shortest=256), AS_IT_IS), "both", True)) == (
        "both at 256, 1x, with flips"
    )
