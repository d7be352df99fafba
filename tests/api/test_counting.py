"""What a pass takes, counted by hand for small networks."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from fullconv.api.counting import peak_bytes
from networks import Net


def converted(forward, dtype=torch.float64, **members) -> fullconv.FCN:
    """float64 and 1×1: convolutions that take nothing beside; head: 8×8, 2 channels to 3."""
    net = Net(lambda m, x: m.fc(forward(m, x).flatten(1)), fc=nn.Linear(128, 3), **members)
    return fullconv.convert(net.to(dtype).eval(), 8)


def head_bytes(cells: int, channels: int = 2, kernel: int = 64) -> int:
    """Columns of the head's convolution and its scores, float64."""
    return (channels * kernel + 3) * cells * 8


SIZE = (1, 4, 40, 30)
PIXELS, CELLS = 40 * 30, 33 * 23


# --- counted by hand; every case is the image, and what lives beside it ---


def test_a_chain_frees_what_it_has_read():
    """Image (4) and the widest pair of neighbours: 16 and 8 channels. The head takes less."""
    fcn = converted(
        lambda m, x: m.c(F.relu(m.b(m.a(x)))),
        a=nn.Conv2d(4, 16, 1), b=nn.Conv2d(16, 400, 1), c=nn.Conv2d(400, 2, 1),
    )  # fmt: skip
    # relu makes a map of its own: 400 twice, and the image
    assert peak_bytes(fcn, SIZE) == (4 + 400 + 400) * PIXELS * 8


def test_work_in_place_counts_once():
    fcn = converted(
        lambda m, x: m.c(F.relu(m.b(m.a(x)), inplace=True)),
        a=nn.Conv2d(4, 16, 1), b=nn.Conv2d(16, 400, 1), c=nn.Conv2d(400, 2, 1),
    )  # fmt: skip
    assert peak_bytes(fcn, SIZE) == (4 + 16 + 400) * PIXELS * 8


def test_a_batch_norm_makes_a_map_of_its_own():
    fcn = converted(
        lambda m, x: m.c(m.n(m.b(x))),
        b=nn.Conv2d(4, 400, 1), n=nn.BatchNorm2d(400), c=nn.Conv2d(400, 2, 1),
    )  # fmt: skip
    assert peak_bytes(fcn, SIZE) == (4 + 400 + 400) * PIXELS * 8


def test_a_batch_norm_keeps_the_layout():
    """A map that lies channels last is not reordered by the convolution after it."""
    fcn = converted(
        lambda m, x: m.d(m.c(m.n(m.b(x)))), torch.float32,
        b=nn.Conv2d(4, 100, 1), n=nn.BatchNorm2d(100), c=nn.Conv2d(100, 400, 1),
        d=nn.Conv2d(400, 2, 1),
    )  # fmt: skip
    maps, weights = (4 + 100 + 400) * PIXELS * 4, 100 * 400 * 4
    assert peak_bytes(fcn, SIZE) == maps + 400 * PIXELS * 4 + weights
    assert peak_bytes(fcn.to(memory_format=torch.channels_last), SIZE) == maps + weights


def test_views_count_once():
    fcn = converted(
        lambda m, x: m.c(m.a(x)[:, :300].transpose(2, 3).transpose(2, 3)),
        a=nn.Conv2d(4, 400, 1), c=nn.Conv2d(300, 2, 1),
    )  # fmt: skip
    assert peak_bytes(fcn, SIZE) == (4 + 400 + 2) * PIXELS * 8


def test_a_branch_is_kept_alive():
    """The shortcut lives through its branch; the sum is a map of its own."""
    fcn = converted(
        lambda m, x: m.d((lambda y: y + m.c(m.b(y)))(m.a(x))),
        a=nn.Conv2d(4, 100, 1), b=nn.Conv2d(100, 400, 1), c=nn.Conv2d(400, 100, 1),
        d=nn.Conv2d(100, 2, 1),
    )  # fmt: skip
    assert peak_bytes(fcn, SIZE) == (4 + 100 + 400 + 100) * PIXELS * 8


def test_the_head_and_its_columns():
    """Every cell of the head's map has its 2×8×8 numbers as a column."""
    fcn = converted(lambda m, x: m.a(x), a=nn.Conv2d(4, 2, 1))
    assert peak_bytes(fcn, SIZE) == (4 + 2) * PIXELS * 8 + head_bytes(CELLS)


def test_columns_of_all_images_but_one_where_dilated():
    plain = converted(lambda m, x: m.a(x), a=nn.Conv2d(4, 2, 5, padding=2))
    wide = converted(lambda m, x: m.a(x), a=nn.Conv2d(4, 2, 5, padding=4, dilation=2))
    columns = 4 * 25 * PIXELS * 8
    maps = 3 * (4 + 2) * PIXELS * 8
    heads = 3 * head_bytes(CELLS)
    assert peak_bytes(plain, (3, *SIZE[1:])) == maps + max(3 * columns, heads)
    assert peak_bytes(wide, (3, *SIZE[1:])) == maps + max(columns, heads)


def test_one_dnn_reorders_weights_and_maps_that_are_not_channels_last():
    fcn = converted(
        lambda m, x: m.c(m.b(x)), torch.float32, b=nn.Conv2d(4, 400, 1), c=nn.Conv2d(400, 2, 1)
    )
    maps = (4 + 400 + 2) * PIXELS * 4
    weights = 2 * 400 * 4
    assert peak_bytes(fcn, SIZE) == maps + 400 * PIXELS * 4 + weights
    # The caller's float32 image stays beside the one that lies channels last.
    assert peak_bytes(fcn.optimize(), SIZE) == maps + 4 * PIXELS * 4 + weights


def test_half_precision_takes_half():
    fcn = converted(
        lambda m, x: m.c(m.b(x)), torch.float32, b=nn.Conv2d(4, 400, 1), c=nn.Conv2d(400, 2, 1)
    )
    expected = 4 * PIXELS * 4 + (4 + 400 + 2) * PIXELS * 2 + 2 * 400 * 2
    assert peak_bytes(fcn.optimize(torch.bfloat16), SIZE) == expected


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims):
    conv = getattr(nn, f"Conv{dims}d")
    net = Net(
        lambda m, x: m.fc(m.b(m.a(x)).flatten(1)), a=conv(3, 40, 1), b=conv(40, 1, 1),
        fc=nn.Linear(4**dims, 2),
    )  # fmt: skip
    fcn = fullconv.convert(net.double().eval(), 4)
    assert peak_bytes(fcn, (2, 3, *(9,) * dims)) == 2 * (3 + 40 + 1) * 9**dims * 8


def test_weights_do_not_count_though_they_are_seen_in_another_shape():
    """A layer used twice, with different edits, is a view of its weights at each use."""
    fc = nn.Linear(4 * 64, 4 * 64)
    net = Net(lambda m, x: m.fc(m.fc(x.flatten(1))), fc=fc)
    fcn = fullconv.convert(net.double().eval(), 8, example=torch.zeros(1, 4, 8, 8).double())
    weights = fc.weight.numel() * 8
    assert weights > 500_000 > peak_bytes(fcn, (1, 4, 8, 8))


def test_counting_leaves_the_network_alone():
    fcn = converted(lambda m, x: m.a(x), a=nn.Conv2d(4, 2, 1)).train()
    before = {name: tensor.clone() for name, tensor in fcn.state_dict().items()}
    peak_bytes(fcn, SIZE)
    assert fcn.training
    assert all(torch.equal(before[name], tensor) for name, tensor in fcn.state_dict().items())
    with pytest.raises(fullconv.InputError, match="smaller than the 8×8 window"):
        peak_bytes(fcn, (1, 4, 7, 9))
