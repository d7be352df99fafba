import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fullconv.errors import UsageError
from fullconv.storage.maps.cells import best, floats, stored
from fullconv.storage.maps.layout import Layout

NAN = np.float32(np.nan)


def layout(block, dtype, kept="all"):
    return Layout(block.shape, block.shape[:-1], dtype, kept)


few = st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, np.inf, -np.inf, np.nan])


@given(arrays(np.float32, st.tuples(*3 * [st.integers(1, 5)]), elements=few), st.data())
def test_the_best_classes_are_those_of_a_sorted_list(block, data):
    """Many equal scores, infinities and NaN; against Python's own sort, which is stable."""
    k = data.draw(st.integers(1, block.shape[-1]))
    scores, classes = best(block, k)
    for cell in np.ndindex(block.shape[:2]):
        known = [n for n in range(block.shape[2]) if not np.isnan(block[cell][n])]
        ranked = sorted(known, key=lambda n: -block[cell][n])[:k]
        wanted = ranked + [65535] * (k - len(ranked))
        assert classes[cell].tolist() == wanted
        np.testing.assert_array_equal(scores[cell][: len(ranked)], block[cell][ranked])
        assert np.isnan(scores[cell][len(ranked) :]).all()


@pytest.mark.parametrize("shape", [(3, 50), (2, 3, 50), (2, 2, 3, 50)])
def test_many_of_the_best_are_sorted_and_few_are_found_alike(shape):
    block = np.random.default_rng(0).normal(size=shape).round(1).astype(np.float32)
    many, few = best(block, 40), best(block, 7)
    assert (many[0][..., :7] == few[0]).all()
    assert (many[1][..., :7] == few[1]).all()


@given(arrays(np.float32, (2, 3, 4), elements=st.floats(0, 1, width=32) | st.just(NAN)))
def test_probabilities_in_bytes_are_right_to_half_a_step(block):
    packed = stored(block, layout(block, "uint8"))["scores"]
    again = floats(packed)
    assert packed.dtype == np.uint8
    assert again.dtype == np.float32
    assert (np.isnan(again) == np.isnan(block)).all()
    assert ((packed == 255) == np.isnan(block)).all()
    known = ~np.isnan(block)
    assert (abs(again[known] - block[known]) <= 0.5 / 254 + 1e-7).all()
    # What was packed comes back as it was.
    np.testing.assert_array_equal(stored(again, layout(again, "uint8"))["scores"], packed)


def test_the_ends_of_bytes():
    block = np.array([[0, 1, 1.0005, -0.0005, np.nan, 0.5]], np.float32)
    assert stored(block, layout(block, "uint8"))["scores"].tolist() == [[0, 254, 254, 0, 255, 127]]


@pytest.mark.parametrize("value", [1.002, -0.002, np.inf, -np.inf])
def test_what_is_no_probability_is_refused(value):
    block = np.array([[0.5, value]], np.float32)
    with pytest.raises(UsageError, match=r"is no probability\.\nuint8 holds probabilities"):
        stored(block, layout(block, "uint8"))


def test_half_precision_holds_no_score_beyond_its_range():
    block = np.array([[1.0, np.inf, -7e4]], np.float32)
    with pytest.raises(
        UsageError, match=r"a score of -70000 is beyond what float16 holds, 65504\."
    ):
        stored(block, layout(block, "float16"))
    fine = np.array([[1.0, np.inf, np.nan, 65504]], np.float32)
    np.testing.assert_array_equal(stored(fine, layout(fine, "float16"))["scores"], fine)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_every_nan_has_the_same_bits(dtype, given):
    bits = np.array([[0x7FC00000, 0xFFC00000, 0x7F800001, 0x3F800000]], np.uint32)
    block = bits.view(np.float32)
    with np.errstate(invalid="ignore"):
        packed = stored(block.astype(given), layout(block, dtype))["scores"]
    assert packed[..., :3].tobytes() == np.full((1, 3), np.nan, dtype).tobytes()
    assert packed[0, 3] == 1
    assert (block.view(np.uint32) == bits).all()  # the caller's own is left as it was


def test_chosen_classes_are_stored_in_the_order_given():
    block = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    packed = stored(block, layout(block, "float32", (3, 0)))["scores"]
    np.testing.assert_array_equal(packed, block[..., [3, 0]])


def test_scores_that_are_stored_as_they_are_are_not_copied():
    block = np.ones((2, 3, 4), np.float32)
    block[0, 0] = np.nan
    assert stored(block, layout(block, "float32"))["scores"] is block
