"""Every kind of op, streamed: padding of all sorts, pools that count, context, one axis to three."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx.streaming.reading import streamed
from networks import Net, noise, ready
from streamed import assert_streams, one_pass, stream

SIZES = ((1, 2), (3, 5), (50, 50))


def network(*layers: nn.Module, window: int = 20, channels: int = 3) -> nn.Module:
    """Layers behind a padded convolution of stride 2, and a head of two FC layers."""
    body = nn.Sequential(nn.Conv2d(channels, 4, 3, 2, 1), *layers)
    shape = body.eval()(torch.zeros(1, channels, window, window)).shape
    cells = shape[1] * shape[2] * shape[3]
    head = nn.Sequential(nn.Flatten(), nn.Linear(cells, 6), nn.ReLU(), nn.Linear(6, 5))
    return ready(nn.Sequential(body, head))


LAYERS = {
    "zero padding": [nn.ZeroPad2d((1, 2, 3, 1)), nn.Conv2d(4, 4, 3)],
    "constant padding": [nn.ConstantPad2d((2, 1, 1, 2), 0.7), nn.Conv2d(4, 4, 3)],
    "reflection": [nn.ReflectionPad2d((2, 1, 1, 2)), nn.Conv2d(4, 4, 3)],
    "replication": [nn.ReplicationPad2d(2), nn.Conv2d(4, 4, 3)],
    "a convolution that reflects": [nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")],
    "a convolution that wraps": [nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")],
    "dilation and groups": [nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2)],
    "same padding of an even kernel": [nn.Conv2d(4, 4, 4, padding="same")],
    "max pool, padded": [nn.MaxPool2d(3, 2, 1)],
    "max pool, ceil mode": [nn.MaxPool2d(3, 2, ceil_mode=True)],
    "max pool, dilated": [nn.MaxPool2d(3, 1, 1, dilation=2)],
    "average pool, padded": [nn.AvgPool2d(3, 2, 1)],
    "average pool that counts no padding": [nn.AvgPool2d(3, 2, 1, count_include_pad=False)],
    "average pool, ceil mode": [nn.AvgPool2d(3, 2, 1, ceil_mode=True)],
    "average pool with a divisor": [nn.AvgPool2d(3, 2, 1, divisor_override=7)],
    "pixel unshuffle": [nn.PixelUnshuffle(2), nn.Conv2d(16, 4, 1)],
    "group norm": [nn.GroupNorm(2, 4), nn.ReLU()],
    "instance norm": [nn.InstanceNorm2d(4, affine=True)],
    "local response norm": [nn.LocalResponseNorm(3)],
    "batch norm, prelu": [nn.BatchNorm2d(4), nn.PReLU(4)],
    "softmax over channels": [nn.Softmax2d()],
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("method", ["dilate", "fragments"])
@pytest.mark.parametrize("finer", [False, True])
def test_layers(name, method, finer):
    model = network(*copy.deepcopy(LAYERS[name]))
    stride = fullconv.convert(model, 20).stride
    wanted = tuple(max(1, step // 2) for step in stride) if finer else None
    if finer and method == "dilate" and "a convolution that" in name:
        with pytest.raises(RefusedError, match="which a dilated convolution does not do"):
            fullconv.convert(model, 20, stride=wanted)
        return
    fcn = fullconv.convert(model, 20, stride=wanted, method=method)
    for height, width in SIZES:
        assert_streams(fcn, noise(1, 3, 51, 38), height, width)


def test_the_first_layer_reflects():
    conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
    model = ready(nn.Sequential(conv, nn.Flatten(), nn.Linear(4 * 64, 3)))
    fcn = fullconv.convert(model, 8)
    for height, width in SIZES:
        assert_streams(fcn, noise(2, 3, 21, 19), height, width)


FORWARDS = {
    "squeeze and excitation": lambda m, y: y * m.gate(y.mean((2, 3), keepdim=True)).sigmoid(),
    "the largest of the map": lambda m, y: y - y.amax((2, 3), keepdim=True),
    "response norm over space": lambda m, y: y / y.norm(dim=(2, 3), keepdim=True),
    "channels shuffled": lambda m, y: (
        y.view(y.size(0), 2, 2, *y.shape[2:]).transpose(1, 2).flatten(1, 2)
    ),
    "channels in pieces": lambda m, y: torch.cat([p.relu() for p in y.chunk(2, 1)][::-1], 1),
    "every other cell": lambda m, y: y[:, :, 1::2, ::2],
    "branches that meet": lambda m, y: (
        m.wide(y) + F.max_pool2d(y, 3, 1, 1) + F.avg_pool2d(y, (1, 3), 1, (0, 1))
    ),
    "branches side by side": lambda m, y: m.both(torch.cat([m.wide(y), y, m.narrow(y)], 1)),
    "a constant map added": lambda m, y: y + m.bias,
    "layer norm along the channels": lambda m, y: m.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "enlarged": lambda m, y: F.interpolate(F.max_pool2d(y, 2), scale_factor=2) + y,
    "unit vectors": lambda m, y: F.normalize(y.permute(0, 2, 3, 1), dim=-1).permute(0, 3, 1, 2),
}


def branched(forward) -> nn.Module:
    def run(m, x):
        y = forward(m, m.first(x))
        return m.out(y.mean((2, 3)))

    return ready(
        Net(
            run,
            first=nn.Conv2d(3, 4, 3, 2, 1),
            gate=nn.Conv2d(4, 4, 1),
            wide=nn.Conv2d(4, 4, 5, padding=2),
            narrow=nn.Conv2d(4, 4, 1),
            both=nn.Conv2d(12, 4, 1),
            norm=nn.LayerNorm(4),
            out=nn.Linear(4, 5),
            bias=nn.Parameter(torch.randn(1, 4, 1, 1)),
        )
    )


@pytest.mark.parametrize("name", FORWARDS)
@pytest.mark.parametrize("method", ["dilate", "fragments"])
def test_forwards(name, method):
    try:
        fcn = fullconv.convert(branched(FORWARDS[name]), 24, method=method)
    except RefusedError:
        if name == "every other cell":
            pytest.skip("this network itself is refused")
        raise
    for height, width in SIZES:
        assert_streams(fcn, noise(1, 3, 61, 44), height, width)


def test_context_of_the_whole_image_is_refused_by_name():
    model = branched(FORWARDS["squeeze and excitation"])
    fcn = fullconv.convert(model, 24, context="image")
    with pytest.raises(RefusedError) as refusal:
        streamed(fcn)
    assert str(refusal.value) == (
        "mean in Net: it sees the whole image, so that no part of the map is known before all of "
        'it is read.\nConvert with context="window" (--context window): it then sees the '
        "window-sized box around every cell."
    )


@pytest.mark.parametrize("dims", [1, 3])
def test_one_axis_and_three(dims):
    conv, pool = (nn.Conv1d, nn.Conv3d)[dims > 1], (nn.MaxPool1d, nn.MaxPool3d)[dims > 1]
    model = ready(
        nn.Sequential(
            conv(2, 3, 3, padding=1), nn.ReLU(), pool(2), conv(3, 4, 3), nn.Flatten(),
            nn.Linear(4 * 3**dims, 5),
        )
    )  # fmt: skip
    fcn = fullconv.convert(model, (10,) * dims)
    size = (29, 14, 13)[:dims]
    for height in (1, 4, 100):
        assert_streams(fcn, noise(2, 2, *size), height, 2)


def test_several_answers_and_images():
    model = ready(
        Net(
            lambda m, x: {"coarse": m.a(m.body(x).flatten(1)), "fine": m.b(m.body(x).mean((2, 3)))},
            body=nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()),
            a=nn.Linear(4 * 36, 3),
            b=nn.Linear(4, 2),
        )
    )
    fcn = fullconv.convert(model, 12)
    image = noise(3, 3, 41, 30)
    assert [tuple(map_.shape) for map_ in one_pass(fcn, image)] == [(3, 3, 15, 10), (3, 2, 15, 10)]
    assert_streams(fcn, image, 2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_optimized_networks(dtype):
    model = network(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1)).float()
    fcn = fullconv.convert(model, 20).optimize(dtype=dtype)
    image = noise(1, 3, 61, 44).float()
    expected = one_pass(fcn, image)[0]
    bound = {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype] * float(expected.abs().max())
    for height, width in SIZES:
        found = stream(fcn, image, height, width)[0]
        assert found.dtype == torch.float32
        assert float((found - expected).abs().max()) <= bound


def test_the_network_stays_as_it_is():
    model = network(nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    fcn = fullconv.convert(model, 20)
    image = noise(1, 3, 51, 38)
    before = one_pass(fcn, image)[0]
    code = fcn.code
    stream(fcn, image, 2, 3)
    assert fcn.code == code
    assert torch.equal(one_pass(fcn, image)[0], before)
    assert fullconv.verify(model, fcn).ok
