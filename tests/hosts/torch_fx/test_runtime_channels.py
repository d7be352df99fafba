"""Ops among the channels of every cell, against PyTorch on tensors whose axes are moved."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F

from by_hand import assert_same
from fullconv.hosts.torch_fx import runtime
from networks import noise

CELLS = [(7,), (4, 5), (2, 3, 4)]


@pytest.mark.parametrize("cells", CELLS)
def test_norms_of_every_cell(cells):
    x = noise(2, 6, *cells) * 2 + 1
    weight, bias = noise(6, seed=1), noise(6, seed=2)
    last = x.movedim(1, -1)
    for settings in ((weight, bias), (weight, None), (None, None)):
        theirs = F.layer_norm(last, (6,), *settings, 0.01).movedim(-1, 1)
        assert_same(runtime.layer_norm(x, (6,), *settings, 0.01), theirs)
    for scale, eps in ((weight, 0.01), (weight, None), (None, None)):
        theirs = F.rms_norm(last, (6,), scale, eps).movedim(-1, 1)
        assert_same(runtime.rms_norm(x, (6,), scale, eps), theirs)


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (2, 2, 0, 1), (3, 2, 4, 2)]
)
def test_a_convolution_along_the_channels(cells, kernel, stride, padding, dilation):
    x, weight, bias = noise(2, 6, *cells), noise(1, 1, kernel, seed=1), noise(1, seed=2)
    rows = x.movedim(1, -1).reshape(-1, 1, 6)
    for shift in (bias, None):
        ours = runtime.conv_channels(x, weight, shift, stride, padding, dilation)
        theirs = F.conv1d(rows, weight, shift, stride, padding, dilation)
        assert_same(ours, theirs.reshape(2, *cells, -1).movedim(-1, 1))


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
def test_shuffled_channels(cells, order):
    x = noise(2, 24, *cells)
    ours = runtime.shuffle_channels(x, (2, 3, 4), order)
    lengths, strides = (2, 3, 4), (12, 4, 1)
    places = torch.arange(24).reshape(lengths).permute(order).flatten()
    assert torch.equal(ours, x[:, places])
    # Label by label: the channel at (a, b, c) of the new order.
    at = [1, 1, 1]
    new = 0
    for part in order:
        new = new * lengths[part] + at[part]
    old = sum(i * stride for i, stride in zip(at, strides, strict=True))
    assert torch.equal(ours[:, new], x[:, old])


def test_shuffling_is_torchs_channel_shuffle():
    x = noise(2, 12, 4, 5)
    ours = runtime.shuffle_channels(x, (3, 4), (1, 0))
    assert torch.equal(ours, F.channel_shuffle(x, 3))


REDUCTIONS = {
    "average": lambda x, axis: x.mean(axis),
    "sum": lambda x, axis: x.sum(axis),
    "max": lambda x, axis: x.amax(axis),
    "min": lambda x, axis: x.amin(axis),
    "norm": lambda x, axis: torch.linalg.vector_norm(x, dim=axis),
    "variance": lambda x, axis: x.var(axis, correction=0),
    "sample variance": lambda x, axis: x.var(axis),
}


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("kind", REDUCTIONS)
def test_a_reduction_over_a_part_of_the_channels(kind, part, cells):
    x = noise(2, 24, *cells)
    seen = x.reshape(2, 2, 3, 4, *cells)
    theirs = REDUCTIONS[kind](seen, part + 1).flatten(1, 2)
    assert_same(runtime.reduce_part(x, kind, (2, 3, 4), part), theirs)
    whole = runtime.reduce_part(x, kind, (24,), 0)
    assert_same(whole, REDUCTIONS[kind](x, 1).unsqueeze(1))


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_softmax_over_a_part_of_the_channels(part, cells):
    x = noise(2, 24, *cells)
    seen = x.reshape(2, 2, 3, 4, *cells)
    ours = runtime.softmax_part(x, (2, 3, 4), part, False)
    assert_same(ours, seen.softmax(part + 1).flatten(1, 3))
    ours = runtime.softmax_part(x, (2, 3, 4), part, True)
    assert_same(ours, seen.log_softmax(part + 1).flatten(1, 3))


def depth(x, block, order=(0, 1, 2)):
    """The idiom: split both axes, bring the blocks to the channels."""
    n, c, h, w = x.shape
    y = x.reshape(n, c, h // block, block, w // block, block)
    axes = {0: 1, 1: 3, 2: 5}
    return y.permute(0, *(axes[label] for label in order), 2, 4).flatten(1, 3)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_space_to_depth_is_pixel_unshuffle(block):
    x = noise(2, 5, 6, 12)
    two = (block, block)
    ours = runtime.space_to_depth(x, two, two, (1, 1), (5,), (0, 1, 2))
    assert torch.equal(ours, F.pixel_unshuffle(x, block))
    assert torch.equal(ours, depth(x, block))


@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
def test_space_to_depth_in_any_order(order):
    x = noise(2, 5, 6, 8)
    ours = runtime.space_to_depth(x, (2, 2), (2, 2), (1, 1), (5,), order)
    assert torch.equal(ours, depth(x, 2, order))


def test_space_to_depth_between_parts_of_the_channels():
    x = noise(2, 6, 4, 4)
    ours = runtime.space_to_depth(x, (2, 2), (2, 2), (1, 1), (2, 3), (-1, 1, 0, 2))
    y = x.reshape(2, 2, 3, 2, 2, 2, 2)  # n, part 0, part 1, rows, row in block, cols, col in block
    assert torch.equal(ours, y.permute(0, 2, 4, 1, 6, 3, 5).flatten(1, 4))


def test_space_to_depth_of_one_axis():
    x = noise(2, 5, 6, 7)
    ours = runtime.space_to_depth(x, (2, 1), (2, 1), (1, 1), (5,), (0, 1))
    y = x.reshape(2, 5, 3, 2, 7).permute(0, 1, 3, 2, 4).flatten(1, 2)
    assert torch.equal(ours, y)
    line = noise(2, 5, 6)
    ours = runtime.space_to_depth(line, (3,), (3,), (1,), (5,), (1, 0))
    assert torch.equal(ours, line.reshape(2, 5, 2, 3).permute(0, 3, 1, 2).flatten(1, 2))


@pytest.mark.parametrize("size", [(9, 11), (8, 10)])
def test_space_to_depth_at_every_cell(size):
    """With step 1 and a dilation, every phase of the map gets its own blocks."""
    x = noise(2, 3, *size)
    ours = runtime.space_to_depth(x, (2, 2), (1, 1), (2, 2), (3,), (0, 1, 2))
    assert ours.shape == (2, 12, size[0] - 2, size[1] - 2)
    for row in range(ours.shape[2]):
        for col in range(ours.shape[3]):
            block = x[:, :, row : row + 3 : 2, col : col + 3 : 2]
            assert torch.equal(ours[:, :, row, col], block.flatten(1))


def test_cells_that_fill_no_block_are_left():
    x = noise(2, 3, 7, 9)
    ours = runtime.space_to_depth(x, (2, 2), (2, 2), (1, 1), (3,), (0, 1, 2))
    assert torch.equal(ours, F.pixel_unshuffle(x[:, :, :6, :8], 2))
