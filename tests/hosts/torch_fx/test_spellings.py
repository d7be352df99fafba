"""Every way to write a head converts exactly, after a body that pads and after one that does not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import (
    assert_at_window,
    assert_same,
    assert_untouched,
    crop_map,
    head_map,
    numbers,
    portrait,
    whole_windows,
)
from fullconv.errors import RefusedError
from heads import ADAPTIVE, CELLS, ENDS, FLAT, POOLED, adaptive_features, members
from networks import Net, Split, noise, padded_body, ready, unpadded_body

BODIES = {"unpadded": (unpadded_body, 18), "padded": (padded_body, 12)}
WHOLE = {
    **{name: lambda m, x, flat=flat: m.whole(flat(m, x)) for name, flat in FLAT.items()},
    **{name: lambda m, x, pool=pool: m.vector(pool(m, x)) for name, pool in POOLED.items()},
    **ENDS,
}


def assert_converts(body: str, head, **parts) -> fullconv.FCN:
    """Promise 1 for three batch sizes; promise 2 or 3 on an image of awkward size."""
    build, window = BODIES[body]
    model = ready(Split(build(), head, **parts))
    before = portrait(model), numbers(model)
    fcn = fullconv.convert(model, window)
    batches = [noise(n, 3, window, window, seed=n) for n in (2, 3)]
    assert_at_window(model, fcn, *batches)
    image = noise(2, 3, window + 5, window + 3, seed=9)
    counts = whole_windows(image.shape[2:], (window,) * 2, (2, 2))
    assert counts == (3, 2)
    with torch.no_grad():
        ours = fcn(image)
        features = model.body(image)
    if body == "unpadded":
        assert fcn.plan.exact_windows
        assert_same(ours, crop_map(model, image, (window,) * 2, (2, 2)))
    else:
        assert not fcn.plan.exact_windows
    assert_same(ours, head_map(model.head, features, (CELLS, CELLS), counts))
    # One image alone, too: `squeeze()` and its like must not swallow the batch.
    with torch.no_grad():
        assert_same(fcn(image[:1]), ours[:1])
    assert_untouched(model, before)
    return fcn


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.filterwarnings("ignore:Implicit dimension choice:UserWarning")
def test_spelling(name, body):
    assert_converts(body, WHOLE[name], **members())


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size", ADAPTIVE, ids=str)
def test_adaptive_average_pooling_before_a_linear_layer(size, body):
    head = {"pool": nn.AdaptiveAvgPool2d(size), "fc": nn.Linear(adaptive_features(size), 4)}
    fcn = assert_converts(body, lambda m, x: m.fc(m.pool(x).flatten(1)), **head)
    sides = (size, size) if isinstance(size, int) else size
    overlaps = any(side is not None and CELLS % side for side in sides)
    assert ("folded" in str(fcn.plan)) == overlaps


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size", [1, 2, 3, 6, (3, None), (1, 2)], ids=str)
def test_adaptive_max_pooling_before_a_linear_layer(size, body):
    head = {"pool": nn.AdaptiveMaxPool2d(size), "fc": nn.Linear(adaptive_features(size), 4)}
    assert_converts(body, lambda m, x: m.fc(m.pool(x).flatten(1)), **head)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size", [2, 3, 4, 5, (2, 5)], ids=str)
def test_adaptive_pooling_flattened_height_width_channel(size, body):
    head = {"pool": nn.AdaptiveAvgPool2d(size), "fc": nn.Linear(adaptive_features(size), 4)}
    assert_converts(body, lambda m, x: m.fc(m.pool(x).permute(0, 2, 3, 1).flatten(1)), **head)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size", [4, 5, (6, 4)], ids=str)
def test_folded_bins_pass_dropout_and_several_layers(size, body):
    head = {
        "pool": nn.AdaptiveAvgPool2d(size),
        "rest": nn.Sequential(
            nn.Identity(), nn.Dropout(), nn.Flatten(), nn.Dropout(),
            nn.Linear(adaptive_features(size), 8, bias=False), nn.ReLU(), nn.Linear(8, 3),
        ),
    }  # fmt: skip
    assert_converts(body, lambda m, x: m.rest(m.pool(x)), **head)


@pytest.mark.parametrize(
    "after",
    [
        lambda m, x: m.fc(m.conv(x).flatten(1)),
        lambda m, x: m.fc(F.max_pool2d(x, 2, 1).flatten(1)),
        lambda m, x: m.fc(F.avg_pool2d(x, 2, 1).flatten(1)),
        lambda m, x: m.vector(x.mean((2, 3))),
        lambda m, x: m.vector(x.amax((2, 3))),
        lambda m, x: m.vector(F.avg_pool2d(x, 3).flatten(1)),
        lambda m, x: m.vector(F.adaptive_avg_pool2d(x, 1).flatten(1)),
    ],
    ids=["conv", "max pool", "average pool", "mean", "amax", "pool of all", "adaptive pool"],
)
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", [nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d])
def test_what_follows_regular_adaptive_pooling_is_dilated(kind, body, after):
    parts = {"conv": nn.Conv2d(5, 5, 2), "fc": nn.Linear(20, 4), "vector": nn.Linear(5, 4)}
    assert_converts(body, lambda m, x: after(m, m.pool(x)), pool=kind(3), **parts)


# --- one axis, three axes, one channel ---


def _conv_body(dims: int, padding: int) -> nn.Sequential:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    return nn.Sequential(
        conv(2, 3, 3, stride=2, padding=padding), nn.ReLU(), conv(3, 4, 3, padding=padding)
    )


def _pools(dims: int) -> dict[str, nn.Module]:
    place = dims - 1
    return {
        "average": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[place](4),
        "maximum": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[place](4),
        "to_one": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[place](1),
        "to_two": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[place](2),
        "to_three": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[place](3),
        "max_to_two": (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)[place](2),
        "norm": (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[place](4),
        "vector_norm": nn.BatchNorm1d(4),
    }


OF_ANY_DIMS = {
    "flatten": (lambda m, x, d: m.fc(x.flatten(1)), 4),
    "norm, flatten": (lambda m, x, d: m.fc(m.norm(x).flatten(1)), 4),
    "view": (lambda m, x, d: m.fc(x.view(x.size(0), -1)), 4),
    "channels last": (lambda m, x, d: m.fc(x.permute(0, *range(2, d + 2), 1).flatten(1)), 4),
    "average": (lambda m, x, d: m.fc(m.average(x).flatten(1)), 1),
    "maximum": (lambda m, x, d: m.fc(m.maximum(x).flatten(1)), 1),
    "mean": (lambda m, x, d: m.fc(x.mean(tuple(range(2, d + 2)))), 1),
    "mean, norm": (lambda m, x, d: m.fc(m.vector_norm(x.mean(tuple(range(2, d + 2))))), 1),
    "amax": (lambda m, x, d: m.fc(x.amax(tuple(range(2, d + 2)))), 1),
    "adaptive to one": (lambda m, x, d: m.fc(m.to_one(x).flatten(1)), 1),
    "adaptive to two": (lambda m, x, d: m.fc(m.to_two(x).flatten(1)), 2),
    "adaptive to three": (lambda m, x, d: m.fc(m.to_three(x).flatten(1)), 3),
    "adaptive maximum": (lambda m, x, d: m.fc(m.max_to_two(x).flatten(1)), 2),
}


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", OF_ANY_DIMS)
def test_one_two_and_three_axes(name, dims, padding):
    head, side = OF_ANY_DIMS[name]
    model = ready(
        Split(
            _conv_body(dims, padding),
            lambda m, x: head(m, x, dims),
            fc=nn.Linear(4 * side**dims, 3),
            **_pools(dims),
        )
    )
    window = (8 if padding else 13,) * dims
    fcn = fullconv.convert(model, window)
    assert_at_window(model, fcn, noise(2, 2, *window), noise(3, 2, *window))
    size = tuple(window[0] + extra for extra in (5, 2, 3)[:dims])
    image = noise(2, 2, *size, seed=5)
    counts = whole_windows(size, window, (2,) * dims)
    with torch.no_grad():
        ours, features = fcn(image), model.body(image)
    assert_same(ours, head_map(model.head, features, (4,) * dims, counts))
    if not padding:
        assert_same(ours, crop_map(model, image, window, (2,) * dims))


def test_axes_of_different_sizes_and_strides():
    """A spectrogram-like input: 2 px by 3 px strides, 20×33 px."""
    model = ready(
        Split(
            nn.Sequential(nn.Conv2d(1, 3, (4, 5), stride=(2, 3)), nn.ReLU(), nn.MaxPool2d((1, 2))),
            lambda m, x: m.fc(F.adaptive_avg_pool2d(x, (3, 2)).flatten(1)),
            fc=nn.Linear(18, 4),
        )
    )
    fcn = fullconv.convert(model, (20, 33))
    assert (fcn.window, fcn.stride) == ((20, 33), (2, 6))
    image = noise(1, 1, 27, 50)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (20, 33), (2, 6)))


@pytest.mark.parametrize("channels", [1, 3])
def test_no_convolution_at_all(channels):
    """A linear layer on the pixels: the first convolution there is."""
    model = ready(nn.Sequential(nn.Flatten(), nn.Linear(channels * 35, 4)))
    fcn = fullconv.convert(model, (5, 7), example=noise(1, channels, 5, 7))
    assert (fcn.stride, fcn.plan.channels) == ((1, 1), channels)
    image = noise(2, channels, 8, 9)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (5, 7), (1, 1)))


def test_a_map_of_one_channel_flattened():
    model = ready(
        Net(lambda m, x: m.fc(m.conv(x).flatten(1)), conv=nn.Conv2d(3, 1, 3), fc=nn.Linear(36, 4))
    )
    fcn = fullconv.convert(model, 8)
    image = noise(2, 3, 11, 9)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(model, image, (8, 8), (1, 1)))


def test_grey_images_coloured_by_the_network():
    """One channel times three constants gives three channels."""
    scale = torch.rand(1, 3, 1, 1) + 0.5
    model = ready(
        Split(unpadded_body(), lambda m, x: m.fc(x.flatten(1)), fc=nn.Linear(180, 4), scale=scale)
    )
    grey = ready(Net(lambda m, x: m.rest(x * m.scale), rest=model, scale=scale))
    fcn = fullconv.convert(grey, 18, example=noise(1, 1, 18, 18))
    image = noise(2, 1, 21, 22)
    with torch.no_grad():
        assert_same(fcn(image), crop_map(grey, image, (18, 18), (2, 2)))


def test_a_body_that_ends_in_one_cell():
    """Down-sampled to one cell by a small stride-2 pool; squeezed away before the linear layer."""
    body = nn.Sequential(nn.Conv2d(3, 4, 4, stride=3), nn.ReLU(), nn.MaxPool2d(3, 2))
    for flatten in (lambda x: x.flatten(1), torch.squeeze, lambda x: x[:, :, 0, 0]):
        model = ready(Split(body, lambda m, x, f=flatten: m.fc(f(x)), fc=nn.Linear(4, 3)))
        fcn = fullconv.convert(model, 10)
        image = noise(2, 3, 17, 22)
        with torch.no_grad():
            assert_same(fcn(image), crop_map(model, image, (10, 10), (6, 6)))


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1)])
def test_a_pool_that_does_not_take_in_everything_keeps_its_stride(pool):
    model = ready(
        Split(
            nn.Sequential(unpadded_body(), pool),
            lambda m, x: m.fc(x.flatten(1)),
            fc=nn.Linear(45, 4),
        )
    )
    fcn = fullconv.convert(model, 18)
    assert fcn.stride == (4, 4)
    image = noise(1, 3, 27, 22)
    with torch.no_grad():
        ours = fcn(image)
        assert_same(ours, head_map(model.head, model.body(image), (3, 3), (3, 2)))
        if not pool.padding:
            assert_same(ours, crop_map(model, image, (18, 18), (4, 4)))


def test_position_indexing_is_refused():
    model = ready(
        Net(lambda m, x: m.fc(m.body(x)[:, :, 2, 3]), body=unpadded_body(), fc=nn.Linear(5, 2))
    )
    with pytest.raises(RefusedError, match=r"takes single positions of a 5×6×6 map"):
        fullconv.plan(model, 18)


@pytest.mark.parametrize(
    ("end", "probabilities"),
    [
        (lambda x: x, False),
        (lambda x: x.softmax(1), True),
        (lambda x: x.softmax(1).view(-1, 4), True),
        (lambda x: F.dropout(x.softmax(-1), 0.5, False), True),
        (lambda x: x.log_softmax(1), False),
        (lambda x: x.softmax(1) * 2, False),
    ],
)
def test_whether_a_network_ends_in_probabilities(end, probabilities):
    model = ready(
        Split(unpadded_body(), lambda m, x: end(m.fc(x.flatten(1))), fc=nn.Linear(180, 4))
    )
    assert fullconv.plan(model, 18).probabilities == probabilities
