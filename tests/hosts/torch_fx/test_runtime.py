"""What an FCN calls beyond PyTorch's own functions, against plain loops."""

from itertools import permutations, product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from by_hand import assert_same
from fullconv.errors import InputError
from fullconv.hosts.torch_fx import runtime
from networks import noise


@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
def test_a_linear_weight_as_a_kernel(order):
    """`out[c, i, j]` stands where the flattened order says."""
    channels, taps = 3, (4, 5)
    lengths = (channels, *taps)
    weight = noise(7, 60)
    kernel = runtime.conv_weight(weight, channels, taps, order)
    assert kernel.shape == (7, 3, 4, 5)
    assert kernel.data_ptr() == weight.data_ptr()
    for place in product(range(3), range(4), range(5)):
        flat = 0
        for label in order:
            flat = flat * lengths[label] + place[label]
        assert torch.equal(kernel[(slice(None), *place)], weight[:, flat])


def test_labels_of_length_one_may_be_left_out():
    weight = noise(7, 12)
    assert runtime.conv_weight(weight, 3, (4, 1), (0, 1)).shape == (7, 3, 4, 1)
    assert runtime.conv_weight(weight, 1, (12, 1), (1,)).shape == (7, 1, 12, 1)
    assert runtime.conv_weight(noise(7, 3), 3, (1, 1, 1), (0,)).shape == (7, 3, 1, 1, 1)


def spans(cells: int, bins: int) -> list[tuple[int, int]]:
    return [(i * cells // bins, -(-(i + 1) * cells // bins)) for i in range(bins)]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5))
def test_folding_bins_into_a_kernel(height, width, rows, cols):
    """Adaptive pooling, then a kernel over its bins, is one kernel over the cells."""
    x, weight = noise(2, 3, height, width), noise(4, 3, rows, cols)
    kernel = runtime.folded(weight, (height, width), (spans(height, rows), spans(width, cols)))
    pooled = F.adaptive_avg_pool2d(x, (rows, cols))
    assert_same(F.conv2d(x, kernel), F.conv2d(pooled, weight))


def test_axes_without_bins_are_left_alone():
    weight = noise(4, 3, 5, 2)
    kernel = runtime.folded(weight, (5, 3), ((), spans(3, 2)))
    assert kernel.shape == (4, 3, 5, 3)
    assert torch.equal(runtime.folded(weight, (5, 2), ((), ())), weight)


def test_whole_windows():
    scores, image = noise(1, 2, 5, 4), torch.zeros(1, 3, 23, 30)
    cut = runtime.whole_windows(scores, image, (18, 18), (2, 6), (1, 1))
    assert torch.equal(cut, scores[:, :, :3, :3])


def test_whole_windows_of_a_map_that_is_finer_than_the_others():
    scores, image = noise(1, 2, 9, 14), torch.zeros(1, 3, 23, 30)
    cut = runtime.whole_windows(scores, image, (18, 18), (2, 6), (3, 2))
    assert torch.equal(cut, scores[:, :, :7:3, :5:2])
    assert cut.shape == (1, 2, 3, 3)


def test_the_cells_all_maps_have():
    a, b = noise(1, 2, 5, 4), noise(1, 3, 4, 6)
    cut = runtime.common([a, b])
    assert torch.equal(cut[0], a[:, :, :4])
    assert torch.equal(cut[1], b[:, :, :, :4])


def test_constants_per_channel():
    constant = noise(1, 5)
    assert torch.equal(runtime.per_channel(constant, 2), constant[0][:, None, None])


@pytest.mark.parametrize(
    ("shape", "dims", "message"),
    [
        ((2, 8), 1, r"has shape \(2, 8\), the network takes \(N, 2, W\)\.\nAdd the batch axis"),
        ((2, 2, 8, 8), 3, r"the network takes \(N, 2, D, H, W\)\.\nAdd the batch axis"),
        ((1, 3, 8, 8), 2, r"has 3 channels, the network takes 2: \(N, 2, H, W\)"),
        ((1, 2, 8, 3), 2, "the image is 8×3 px, smaller than the 4×4 window"),
    ],
)
def test_check_image(shape, dims, message):
    with pytest.raises(InputError, match=message):
        runtime.check_image(torch.zeros(shape), 2, (4,) * dims)
    fits = torch.zeros(1, 2, *(4,) * dims)
    assert runtime.check_image(fits, 2, (4,) * dims) is fits
