from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullconv.errors import InputError, UsageError
from fullconv.evaluate.scales import AS_IT_IS, Scale, fitting, left_out, scale_of, scales_of


@pytest.mark.parametrize(
    ("given", "scale"),
    [
        (256, Scale(shortest=256)),
        ("256", Scale(shortest=256)),
        (" 384 ", Scale(shortest=384)),
        (0.5, Scale(factor=Fraction(1, 2))),
        (1.0, AS_IT_IS),
        (0.1, Scale(factor=Fraction(1, 10))),  # the number that was written, not the binary one
        ("0.5", Scale(factor=Fraction(1, 2))),
        ("2x", Scale(factor=Fraction(2))),
        ("1.5X", Scale(factor=Fraction(3, 2))),
        ("1/3", Scale(factor=Fraction(1, 3))),
        (Fraction(2, 3), Scale(factor=Fraction(2, 3))),
        (Scale(shortest=7), Scale(shortest=7)),
    ],
)
def test_what_a_number_or_a_word_stands_for(given, scale):
    assert scale_of(given) == scale


@pytest.mark.parametrize("given", ["big", "", "x", "1/0", None, True, (256,), b"256"])
def test_what_is_no_scale(given):
    with pytest.raises(UsageError) as caught:
        scale_of(given)
    assert str(caught.value) == (
        f"{given!r} is no scale.\nA whole number is the shortest side in px (256); a factor has a "
        "point or an x (0.5, 2x)."
    )


@pytest.mark.parametrize("given", [0, -5, 0.0, "-0.5x", "0"])
def test_scales_are_above_zero(given):
    with pytest.raises(UsageError, match=r"scale .* must be above 0\."):
        scale_of(given)


@pytest.mark.parametrize("given", [float("nan"), float("inf")])
def test_numbers_that_are_none(given):
    with pytest.raises(UsageError, match=r"is no scale|must be above 0"):
        scale_of(given)


def test_a_scale_is_one_of_the_two():
    for both in ({}, {"shortest": 3, "factor": Fraction(1)}):
        with pytest.raises(UsageError, match="a shortest side or a factor, one of both"):
            Scale(**both)


def test_several_come_once_each_and_in_order():
    assert scales_of([384, "256", 384, "0.5x"]) == (scale_of(384), scale_of(256), scale_of(0.5))
    assert scales_of("256") == scales_of(256) == (Scale(shortest=256),)
    with pytest.raises(UsageError, match="no scale was given"):
        scales_of([])


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 1000))
def test_the_shortest_side_is_what_was_asked_for_and_the_shape_is_kept(height, width, side):
    rows, cols = Scale(shortest=side).size((height, width))
    assert min(rows, cols) == side
    # The longer side is the nearest whole number: 2 |long * short - side * long'| <= short.
    short, long = sorted((height, width))
    assert abs(2 * (max(rows, cols) * short - side * long)) <= short
    assert (rows >= cols) == (height >= width) or rows == cols


@pytest.mark.parametrize(
    ("factor", "size", "expected"),
    [
        ("0.5", (3, 5), (2, 3)),
        ("1x", (7, 9), (7, 9)),
        ("0.01", (10, 300), (1, 3)),
        ("2", None, None),
    ],
)
def test_factors_round_halves_up(factor, size, expected):
    if size is not None:
        assert scale_of(factor).size(size) == expected


def test_scales_below_the_window_are_left_out():
    scales = scales_of([16, 32, "0.25x"])
    kept, left = fitting(scales, (100, 200), (20, 24), "a.png")
    assert kept == (Scale(shortest=32), scale_of("0.25x"))
    assert left == (Scale(shortest=16),)
    assert left_out("a.png", left, (20, 24)) == (
        "a.png: left out at 16: smaller there than the 20×24 window"
    )


def test_none_is_left():
    with pytest.raises(InputError) as caught:
        fitting(scales_of([16, "0.1x"]), (100, 200), (20, 24), "a.png")
    assert str(caught.value) == (
        "a.png: an image of 100×200 px is 16×32 px and 10×20 px at scales 16, 0.1x, and the window "
        "of the classifier is 20×24.\nA score needs one whole window. Give a scale of at least 24: "
        "the shortest side in px."
    )
    assert caught.value.exit_code == 3


def test_none_is_left_of_the_image_as_it_is():
    with pytest.raises(InputError) as caught:
        fitting((AS_IT_IS,), (10, 200), (20, 24), "a.png")
    assert str(caught.value).startswith(
        "a.png: the image is 10×200 px, smaller than the 20×24 window of the classifier.\n"
    )
