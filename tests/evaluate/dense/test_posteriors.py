"""Dense, multi-crop and both, in float64, against crops that are cut and classified by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fullconv
from fullconv.errors import UsageError
from fullconv.evaluate.dense.posteriors import centre, cropped, dense, flipped_too, regular
from fullconv.evaluate.dense.protocol import Protocol, posterior, views
from fullconv.evaluate.scales import scales_of

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


def test_the_mirror_image_exchanges_left_and_right(x):
    same, mirrored = flipped_too(x, True)
    assert same is x
    assert torch.equal(mirrored[0, 0, 5], x[0, 0, 5].flip(0))
    assert len(flipped_too(x, False)) == 1


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
    with pytest.raises(UsageError, match="evaluation='crops' must be one of 'dense', 'multi-crop'"):
        Protocol(evaluation="crops")
    with pytest.raises(UsageError, match="average='sum' must be"):
        Protocol(average="sum")


# --- scales, flips and evaluations together, against the same done by hand ---


def by_hand(model, x, evaluation):
    """Probabilities of images at one scale, seen one way round."""
    size = x.shape[2:]
    grid = [(top, left) for top, left in regular(size, WINDOW)]
    if evaluation == "centre":
        grid = centre(size, WINDOW)
    with torch.no_grad():
        crops = torch.stack([model(crop).softmax(1) for crop in crops_of(x, grid)]).mean(0)
        maps = fullconv.sliding(model, x, WINDOW, 2).mean((2, 3)).softmax(1)
    return {"dense": maps, "multi-crop": crops, "both": (maps + crops) / 2, "centre": crops}[
        evaluation
    ]


@pytest.mark.parametrize("evaluation", ["dense", "multi-crop", "both", "centre"])
@pytest.mark.parametrize("flip", [False, True])
def test_probabilities_are_averaged_over_scales_and_flips(x, evaluation, flip):
    model = network()
    fcn = fullconv.convert(model, WINDOW)
    protocol = Protocol(scales_of([21, 14, "1.5x"]), evaluation, flip, batch_size=7)
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
    found = posterior(fcn, views(x, protocol.scales, WINDOW), protocol)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@settings(max_examples=20)
@given(st.integers(12, 40), st.integers(10, 40), st.booleans())
def test_dense_equals_averaged_crops_at_any_size(height, width, flip):
    model = network()
    fcn = fullconv.convert(model, WINDOW)
    x = torch.randn(1, 3, height, width, dtype=torch.float64)
    protocol = Protocol(flip=flip)
    expected = torch.stack(
        [by_hand(model, y, "dense") for y in ((x, x.flip(3)) if flip else (x,))]
    ).mean(0)
    found = posterior(fcn, views(x, protocol.scales, WINDOW), protocol)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_scale_below_the_window_is_left_out(x):
    fcn = fullconv.convert(network(), WINDOW)
    seen = views(x, scales_of([21, 5]), WINDOW)
    assert [str(scale) for scale in seen.skipped] == ["5"]
    assert seen.sizes == ((21, 30),)
    protocol = Protocol(scales_of([21, 5]))
    torch.testing.assert_close(posterior(fcn, seen, protocol), dense(fcn, x), rtol=0, atol=0)
