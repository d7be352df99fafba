"""Dense, multi-crop and both, in float64, against crops that are cut and classified by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fullconv
from fullconv.api.memory import Budget
from fullconv.errors import InputError, UsageError
from fullconv.evaluate.dense.batches import Loaded
from fullconv.evaluate.dense.evaluations import Evaluations, mean
from fullconv.evaluate.dense.passes import centre, cropped, dense, regular
from fullconv.evaluate.dense.protocol import Protocol
from fullconv.evaluate.dense.scored import scored
from fullconv.evaluate.dense.views import views, views_of
from fullconv.evaluate.scales import Scale, scales_of
from fullconv.evaluate.words import EVALUATIONS
from fullconv.storage.images import Image

WINDOW = (12, 10)


def network(padding: int = 0, *end: nn.Module, outputs: int = 4) -> nn.Sequential:
    torch.manual_seed(1)
    body = nn.Conv2d(3, 6, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)
    sizes = (n + 2 * padding - 2 for n in WINDOW)
    rows, cols = (n // 2 for n in sizes)
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(6 * rows * cols, outputs), *end)
    return model.double().eval()


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 3, 21, 30, dtype=torch.float64)


def crops_of(x, places):
    height, width = WINDOW
    return [x[:, :, top : top + height, left : left + width] for top, left in places]


@pytest.mark.parametrize("average", ["scores", "probabilities"])
def test_dense_is_the_average_of_all_crops_where_nothing_pads(x, average):
    model = network()
    fcn = fullconv.convert(model, WINDOW)
    assert fcn.stride == (2, 2)
    every = [(top, left) for top in range(0, 21 - 12 + 1, 2) for left in range(0, 30 - 10 + 1, 2)]
    assert len(every) == 5 * 11
    with torch.no_grad():
        scores = torch.stack([model(crop) for crop in crops_of(x, every)])  # (crops, N, K)
    expected = scores.mean(0).softmax(1) if average == "scores" else scores.softmax(2).mean(0)
    found = dense(fcn, x, average=average)
    assert found.shape == (2, 4)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_two_averages_are_not_the_same(x):
    fcn = fullconv.convert(network(), WINDOW)
    one, other = (dense(fcn, x, average=average) for average in ("scores", "probabilities"))
    assert (one - other).abs().max() > 1e-6


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
@pytest.mark.parametrize("padding", [0, 1])
def test_crops_are_what_the_classifier_says_of_them(x, padding, batch_size):
    model = network(padding)
    fcn = fullconv.convert(model, WINDOW)
    places = [(0, 0), (9, 20), (3, 7)]
    with torch.no_grad():
        expected = torch.stack([model(crop).softmax(1) for crop in crops_of(x, places)]).mean(0)
    found = cropped(fcn, x, places, batch_size=batch_size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_dense_sees_the_neighbours_that_padded_crops_do_not(x):
    model = network(padding=1)
    fcn = fullconv.convert(model, WINDOW)
    every = list(fcn.grid((21, 30)))
    places = [(2 * row, 2 * col) for row, col in every]
    gap = dense(fcn, x, average="probabilities") - cropped(fcn, x, places)
    assert gap.abs().max() > 1e-4


def test_a_single_score_becomes_a_probability(x):
    model = network(outputs=1)
    found = dense(fullconv.convert(model, WINDOW), x)
    with torch.no_grad():
        maps = fullconv.sliding(model, x, WINDOW, 2)  # (N, 1, rows, cols)
    torch.testing.assert_close(found, maps.mean((2, 3)).sigmoid(), rtol=0, atol=1e-12)


def test_probabilities_are_averaged_as_they_are(x):
    model = network(0, nn.Softmax(1))
    fcn = fullconv.convert(model, WINDOW)
    maps = fullconv.sliding(model, x, WINDOW, 2)
    for average in ("scores", "probabilities"):
        torch.testing.assert_close(
            dense(fcn, x, average=average), maps.mean((2, 3)), rtol=0, atol=1e-12
        )


@given(st.integers(1, 40), st.integers(0, 60), st.integers(1, 6))
def test_regular_places_go_from_border_to_border_in_even_steps(window, room, count):
    size = window + room
    places = sorted({top for top, _ in regular((size, size), (window, window), count)})
    if count > 1:
        assert places[0] == 0
        assert places[-1] == room
        for i, place in enumerate(regular((size, window), (window, window), count)[::count]):
            # The nearest whole number to i * room / (count - 1).
            assert abs(2 * (place[0] * (count - 1) - i * room)) <= count - 1
    else:
        assert places == [room // 2]
    assert len(regular((size, size), (window, window), count)) == count**2


def test_the_grid_of_vgg():
    """A window of 224 in 256 px: 5 × 5 places, 8 px apart."""
    places = regular((256, 256), (224, 224))
    assert places == [(top, left) for top in range(0, 33, 8) for left in range(0, 33, 8)]
    assert centre((256, 341), (224, 224)) == [(16, 58)]


def test_words_that_are_not_known(x):
    fcn = fullconv.convert(network(), WINDOW)
    with pytest.raises(UsageError) as caught:
        dense(fcn, x, average="logits")
    assert str(caught.value) == "average='logits' must be one of 'scores', 'probabilities'."
    for wrong, message in (
        ({"evaluation": "crops"}, "evaluation='crops' must be one of 'centre', 'dense', 'multi-c"),
        ({"average": "sum"}, "average='sum' must be one of 'scores', 'probabilities'"),
        ({"batch_size": 0}, "batch_size=0 must be positive"),
    ):
        with pytest.raises(UsageError, match=message):
            Protocol(**wrong)
        if "evaluation" in wrong:
            wrong = {"names": ("dense", "crops")}
        with pytest.raises(UsageError, match=message):
            Evaluations(**{"fcn": fcn, "budget": Budget(fcn), "names": ("dense",), **wrong})
    with pytest.raises(UsageError) as caught:
        Evaluations(fcn, Budget(fcn), ())
    assert str(caught.value) == (
        "no evaluation was asked for.\nName some of centre, dense, multi-crop, both."
    )


# --- scales, flips and evaluations together, against the same done by hand ---


def by_hand(model, x, evaluation):
    """Probabilities of images at one scale, seen one way round."""
    size = x.shape[2:]
    grid = centre(size, WINDOW) if evaluation == "centre" else regular(size, WINDOW)
    with torch.no_grad():
        crops = torch.stack([model(crop).softmax(1) for crop in crops_of(x, grid)]).mean(0)
        maps = fullconv.sliding(model, x, WINDOW, 2).mean((2, 3)).softmax(1)
    return {"dense": maps, "multi-crop": crops, "both": (maps + crops) / 2, "centre": crops}[
        evaluation
    ]


def found(fcn, x, scales, names, mirrored=(), **options):
    """Probabilities `(N, K)` of images over all scales, by evaluation."""
    asked = Evaluations(fcn, options.pop("budget", Budget(fcn)), names, mirrored, **options)
    images = [
        Loaded(i, i, views(one[None], scales_of(scales), fcn, 10**6)) for i, one in enumerate(x)
    ]
    every = scored(asked, images, str)
    kept = images[0].views.scales
    return {
        name: torch.stack([mean([one[name, scale] for scale in kept]) for one in every])
        for name in names
    }


@pytest.mark.parametrize("evaluation", EVALUATIONS)
@pytest.mark.parametrize("flip", [False, True])
def test_probabilities_are_averaged_over_scales_and_flips(x, evaluation, flip):
    model = network()
    fcn = fullconv.convert(model, WINDOW)
    parts = []
    for size in ((21, 30), (14, 20), (32, 45)):
        y = x
        if size != (21, 30):
            y = nn.functional.interpolate(
                x, size, mode="bilinear", antialias=True, align_corners=False
            )
        parts += [by_hand(model, y, evaluation)]
        parts += [by_hand(model, y.flip(3), evaluation)] if flip else []
    expected = sum(parts) / len(parts)
    mirrored = EVALUATIONS if flip else ()
    probabilities = found(fcn, x, [21, 14, "1.5x"], (evaluation,), mirrored, batch_size=7)
    torch.testing.assert_close(probabilities[evaluation], expected, rtol=0, atol=1e-12)


def test_all_evaluations_at_once_are_each_by_itself(x):
    fcn = fullconv.convert(network(1), WINDOW)
    together = found(fcn, x, [21], EVALUATIONS, ("dense", "multi-crop"))
    for name in EVALUATIONS:
        alone = found(fcn, x, [21], (name,), ("dense", "multi-crop"))[name]
        torch.testing.assert_close(together[name], alone, rtol=0, atol=1e-12)
    # The centre crop was not mirrored.
    alone = found(fcn, x, [21], ("centre",))["centre"]
    torch.testing.assert_close(together["centre"], alone, rtol=0, atol=0)


@settings(max_examples=20)
@given(st.integers(12, 40), st.integers(10, 40), st.booleans())
def test_dense_equals_averaged_crops_at_any_size(height, width, flip):
    model = network()
    fcn = fullconv.convert(model, WINDOW)
    x = torch.randn(1, 3, height, width, dtype=torch.float64)
    expected = torch.stack(
        [by_hand(model, y, "dense") for y in ((x, x.flip(3)) if flip else (x,))]
    ).mean(0)
    probabilities = found(fcn, x, [1.0], ("dense",), ("dense",) if flip else ())
    torch.testing.assert_close(probabilities["dense"], expected, rtol=0, atol=1e-12)


def test_a_scale_below_the_window_is_left_out(x):
    fcn = fullconv.convert(network(), WINDOW)
    seen = views(x[:1], scales_of([21, 5]), fcn, 10**6)
    assert [str(scale) for scale in seen.skipped] == ["5"]
    assert seen.form == ((Scale(shortest=21), (21, 30)),)
    probabilities = found(fcn, x, [21, 5], ("dense",))["dense"]
    torch.testing.assert_close(probabilities, dense(fcn, x), rtol=0, atol=0)


def test_no_more_images_and_crops_go_through_at_once_than_fit(x):
    fcn = fullconv.convert(network(), WINDOW)
    seen = []

    class Two(Budget):
        def images(self, size, most, where=""):
            return min(most, 2)

    fcn.register_forward_hook(lambda module, given, out: seen.append(tuple(given[0].shape)))
    x = torch.cat([x, x, x[:1]])
    found(fcn, x, [1.0], ("both",), budget=Two(fcn))
    whole = [shape[0] for shape in seen if shape[2:] == (21, 30)]
    crops = [shape[0] for shape in seen if shape[2:] == WINDOW]
    assert whole == [2, 2, 1]
    assert max(crops) == 2
    assert sum(crops) == 5 * 25
    seen.clear()
    found(fcn, x, [1.0], ("multi-crop",), budget=Two(fcn))
    assert {shape[2:] for shape in seen} == {WINDOW}  # the whole image never goes through


def test_an_image_that_does_not_fit_is_named_and_only_where_it_goes_through_whole(x):
    fcn = fullconv.convert(network(), WINDOW)
    large = torch.randn(1, 3, 900, 900, dtype=torch.float64)
    budget = Budget(fcn, Budget(fcn, 2**40).needed(WINDOW, 32))
    images = [Loaded(0, "a", views(large, scales_of(1.0), fcn, 10**6))]
    for names, fits in ((("dense",), False), (("both",), False), (("multi-crop", "centre"), True)):
        (answer,) = scored(Evaluations(fcn, budget, names), images, "{}.png".format)
        assert isinstance(answer, dict) is fits
        if not fits:
            assert str(answer).startswith("a.png: a pass over 900×900 px needs ")


def test_pixels_that_do_not_fit_are_refused_before_they_are_scaled(monkeypatch):
    fcn = fullconv.convert(network(), WINDOW)
    image = Image(Path("a.png"), np.zeros((100, 200, 3), np.uint8))
    scales = scales_of([100, "2x"])
    pixels = 4 * 3 * (100 * 200 + 200 * 400)
    assert views_of(image, scales, fcn, 10**6, limit=pixels // 2).bytes == pixels
    monkeypatch.setattr("fullconv.evaluate.dense.views.prepared", lambda *_: 1 / 0)
    with pytest.raises(InputError) as caught:
        views_of(image, scales, fcn, 10**6, limit=pixels // 4)
    assert str(caught.value) == (
        "a.png: its pixels alone take 1.1 MiB of memory, and 293.0 KiB is there for a pass.\n"
        "Of this shape less than 50×100 px fit. Scale the image down, or cut it into parts."
    )
