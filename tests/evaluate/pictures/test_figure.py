import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from fullconv.evaluate.pictures.colors import ANCHORS, colors
from fullconv.evaluate.pictures.figure import LINE, PAPER, Scale, framed, plain, shortened, ticks


@pytest.mark.parametrize("size", [(64, 64), (300, 300), (2250, 4000), (40, 900), (900, 40)])
def test_text_follows_the_size_of_the_image(size):
    picture, box = framed(*size, "tabby cat", Scale(0, 1))
    side = (size[0] * size[1]) ** 0.5
    assert box[0] >= max(13, 0.026 * side) * 1.5
    strip = picture.width - box[3]
    assert max(13 * 3, 0.026 * side * 3) <= strip <= max(13 * 6, 0.026 * side * 6)
    ink = np.asarray(picture)[: box[0]].min(axis=2) < 100
    height = np.ptp(np.flatnonzero(ink[:, : box[3]].any(axis=1)))
    assert height >= max(13, 0.026 * side) * 0.7


def test_without_a_title_there_is_no_header():
    with_title, without = (framed(200, 200, title, Scale(0, 1))[1][0] for title in ("cat", " \n"))
    assert without < with_title / 2


def test_the_bar_runs_from_low_at_the_bottom_to_high_at_the_top():
    picture, (top, _, bottom, right) = framed(200, 300, "", Scale(0, 1))
    pixels = np.asarray(picture).astype(int)
    bar = right + 16
    assert np.abs(pixels[bottom - 1, bar] - ANCHORS[0]).max() < 5
    assert np.abs(pixels[top, bar] - ANCHORS[-1]).max() < 5
    expected = colors((np.arange(200)[::-1] + 0.5) / 200)
    assert np.abs(pixels[top:bottom, bar] - expected).max() <= 0.5
    assert tuple(pixels[top - 1, bar]) == tuple(pixels[bottom, bar]) == LINE
    assert tuple(pixels[top - 4, bar]) == tuple(pixels[bottom + 3, bar]) == PAPER


def test_tips_say_that_scores_lie_beyond_the_bar():
    _, (top, _, bottom, right) = framed(200, 300, "", Scale(0, 1))
    picture, _ = framed(200, 300, "", Scale(0, 1, below=True, above=True))
    assert np.abs(np.array(picture.getpixel((right + 16, top - 4))) - ANCHORS[-1]).max() < 2
    assert np.abs(np.array(picture.getpixel((right + 16, bottom + 3))) - ANCHORS[0]).max() < 2


def test_a_long_title_is_shortened_and_widens_nothing():
    plain_width = framed(300, 300, "", Scale(0, 1))[0].width
    for title in ("a very long name " * 9, "W" * 100_000):
        picture, box = framed(300, 300, title, Scale(0, 1))
        assert picture.width == plain_width
        margin = np.asarray(picture)[: box[0] - 2, -5:]
        assert (margin == 255).all()


def test_shortening_keeps_as_much_as_fits():
    font = ImageFont.load_default(20)
    text = "seashore, coast, seacoast"
    assert shortened(text, font, 1000) == text
    short = shortened(text, font, 120)
    assert short.endswith("…")
    assert text.startswith(short[:-1])
    assert font.getlength(short) <= 120 < font.getlength(text[: len(short) + 1] + "…")
    assert shortened(text, font, 1) == "…"


def test_titles_are_written_in_the_characters_of_the_font():
    assert plain("  piñata,\n crème  brûlée ") == "pinata, creme brulee"
    assert plain("猫 cat") == "? cat"


@pytest.mark.parametrize(
    ("low", "high", "most", "labels"),
    [
        (0, 1, 7, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 1, 2, ["0", "1"]),
        (-2.3, 10, 7, ["-2", "0", "2", "4", "6", "8", "10"]),
        (-2.3, 10, 4, ["0", "5", "10"]),
        (-0.1, 0.1, 5, ["-0.10", "-0.05", "0.00", "0.05", "0.10"]),
        (0, 255, 6, ["0", "50", "100", "150", "200", "250"]),
        (0, 3e-5, 4, ["0", "1e-05", "2e-05", "3e-05"]),
        (0, 1234567, 7, ["0", "2e+05", "4e+05", "6e+05", "8e+05", "1.0e+06", "1.2e+06"]),
        (-0.001, 0.0012, 2, ["-0.00100", "0.00120"]),
        (0, 4e7, 5, ["0", "1e+07", "2e+07", "3e+07", "4e+07"]),
        (0.41, 0.59, 2, ["0.410", "0.590"]),
    ],
)
def test_ticks_are_round_numbers(low, high, most, labels):
    marks = ticks(low, high, most)
    assert [label for _, label in marks] == labels
    for place, label in marks:
        assert place == pytest.approx((float(label) - low) / (high - low), abs=1e-9)


@given(
    low=st.floats(-1e6, 1e6, allow_nan=False),
    span=st.floats(1e-3, 1e6),
    most=st.integers(2, 7),
)
def test_ticks_are_few_lie_inside_and_differ(low, span, most):
    marks = ticks(low, low + span, most)
    assert 2 <= len(marks) <= most
    assert all(-1e-6 <= place <= 1 + 1e-6 for place, _ in marks)
    assert len({label for _, label in marks}) == len(marks)


def test_colours_get_lighter_step_by_step():
    linear = ANCHORS / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16  # CIE L*
    assert (np.abs(np.diff(lightness) - 9.7) < 1.1).all()


def test_colours_pass_through_the_anchors():
    np.testing.assert_allclose(colors(np.linspace(0, 1, len(ANCHORS))), ANCHORS)
    np.testing.assert_allclose(colors([-1, 2]), ANCHORS[[0, -1]])
    assert colors(np.zeros((4, 5))).shape == (4, 5, 3)
