"""What is saved and loaded again is the same network, to the last bit, for every kind there is."""

from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from fullconv.hosts.torch_fx.fcn import About
from networks import LeNet, Net, TinyVGG

HUB = pytest.mark.skipif(find_spec("timm") is None, reason="torchvision and timm are not installed")


def saved(fcn: fullconv.FCN, folder) -> fullconv.FCN:
    """Written and read; everything there is to know of it is as it was."""
    fullconv.save(fcn, folder / "net.safetensors")
    again = fullconv.load(folder / "net.safetensors")
    assert again.plan == fcn.plan
    assert again.about == fcn.about
    assert again.window == fcn.window
    assert again.stride == fcn.stride
    assert again.receptive_field == fcn.receptive_field
    assert list(again.state_dict()) == list(fcn.state_dict())
    assert [n.name for n in again.graph.nodes] == [n.name for n in fcn.graph.nodes]
    for (name, ours), (other, theirs) in zip(
        again.named_parameters(remove_duplicate=False),
        fcn.named_parameters(remove_duplicate=False),
        strict=True,
    ):
        assert name == other
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype
        assert ours.stride() == theirs.stride()  # or convolutions would round differently
    assert not any(module.training for module in again.modules())
    return again


def assert_identical(fcn: fullconv.FCN, folder, *sizes: tuple[int, ...]) -> fullconv.FCN:
    """The same map, bit for bit, on images of these sizes."""
    again = saved(fcn, folder)
    like = next(fcn.parameters())
    for size in sizes:
        for batch in (1, 2):
            x = torch.randn(batch, fcn.plan.channels, *size).to(like)
            with torch.no_grad():
                assert torch.equal(again(x), fcn(x))
    return again


class Tied(nn.Module):
    """Layers under two names, two layers with one weight, one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.same_norm = self.norm
        self.one = nn.Linear(8, 8)
        self.other = nn.Linear(8, 8)
        self.other.weight = self.one.weight
        self.last = nn.Linear(8, 2)

    def forward(self, x):
        x = self.same_norm(F.relu(self.norm(self.conv(x)))).mean((2, 3))
        return self.last(self.one(F.relu(self.other(F.relu(self.one(x))))))


def tied_layouts() -> nn.Module:
    """One weight read as 4×6×6 and as 144 channels: the same numbers in two shapes."""
    first, second = nn.Linear(144, 144), nn.Linear(144, 144)
    second.weight = first.weight
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), first, nn.ReLU(), second)


def functional() -> nn.Module:
    return Net(
        lambda self, x: F.linear(
            torch.flatten(F.max_pool2d(F.relu(F.conv2d(x, self.kernel, self.shift)), 2), 1),
            self.matrix,
        ),
        kernel=nn.Parameter(torch.randn(4, 3, 3, 3)),
        shift=nn.Parameter(torch.randn(4)),
        matrix=nn.Parameter(torch.randn(5, 36)),
    )


def constants() -> nn.Module:
    """A tensor made in forward, one that the state dict leaves out, a scalar, a whole number."""
    net = Net(
        lambda self, x: self.head(
            (self.conv(x) * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1) + self.offset)
            .mul(self.gain)
            .add(self.whole)
            .flatten(1)
        ),
        conv=nn.Conv2d(3, 4, 3),
        head=nn.Linear(144, 3),
        gain=nn.Parameter(torch.tensor(2.0)),
        whole=torch.tensor(3),
    )
    net.register_buffer("offset", torch.randn(1, 4, 1, 1), persistent=False)
    return net


def arguments() -> nn.Module:
    """Calls with a dtype, a memory format, a slice, infinity."""
    return Net(
        lambda self, x: self.head(
            torch.clamp(self.conv(x[:, 0:3]), 0.0, float("inf"))
            .to(torch.float32)
            .contiguous(memory_format=torch.channels_last)
            .flatten(1)
        ),
        conv=nn.Conv2d(3, 4, 3),
        head=nn.Linear(144, 3),
    )


def hwc() -> nn.Module:
    return Net(
        lambda self, x: self.head(F.relu(self.conv(x)).permute(0, 2, 3, 1).reshape(x.shape[0], -1)),
        conv=nn.Conv2d(3, 64, 3),
        head=nn.Linear(64 * 36, 32),
    )


def norms() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False), nn.PReLU(4),
        nn.LocalResponseNorm(3), nn.Flatten(), nn.Linear(144, 7), nn.BatchNorm1d(7, eps=0.1),
        nn.Hardtanh(-2, 3), nn.Dropout(), nn.Linear(7, 3), nn.LogSoftmax(1),
    )  # fmt: skip
    for norm in (net[1], net[6]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return net


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5), nn.Softmax(1)
    )


def folded() -> nn.Module:
    """Adaptive pooling of 6 to 4 cells: bins that overlap."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5, bias=False)
    )


NETWORKS = {
    build.__name__: build
    for build in (
        Tied, tied_layouts, functional, constants, arguments, hwc, norms, plain, folded,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks(name, tmp_path):
    fcn = fullconv.convert(NETWORKS[name]().eval(), 8)
    assert_identical(fcn, tmp_path, (8, 8), (13, 21), (40, 9))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype, tmp_path):
    fcn = fullconv.convert(plain().to(dtype).eval(), 8)
    assert next(assert_identical(fcn, tmp_path, (8, 8), (13, 21)).parameters()).dtype is dtype


def test_a_network_moved_to_channels_last(tmp_path):
    for channels in (1, 3):
        net = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(144, 5)).eval()
        fcn = fullconv.convert(net, 8).to(memory_format=torch.channels_last)
        assert_identical(fcn, tmp_path, (8, 8), (13, 21))


def test_one_and_three_axes(tmp_path):
    one = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(28, 3)
    )
    assert_identical(fullconv.convert(one.eval(), 16), tmp_path, (16,), (31,))
    three = nn.Sequential(
        nn.Conv3d(2, 4, 3), nn.ReLU(), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(108, 3)
    )
    again = assert_identical(fullconv.convert(three.eval(), 8), tmp_path, (8, 8, 8), (10, 12, 9))
    assert again.grid((10, 12, 9)).shape == (2, 3, 1)


def test_the_classics(tmp_path):
    assert_identical(fullconv.convert(LeNet().eval(), 28), tmp_path, (28, 28), (60, 45))
    assert_identical(fullconv.convert(TinyVGG().eval(), 64), tmp_path, (64, 64), (90, 131))


def test_ties_stay_ties(tmp_path):
    fcn = fullconv.convert(Tied().eval(), 8)
    again = saved(fcn, tmp_path)
    names = {name for name, _ in again.named_parameters(remove_duplicate=False)}
    assert {"norm.weight", "same_norm.weight", "one.weight", "other.weight"} <= names
    assert again.get_parameter("norm.weight") is again.get_parameter("same_norm.weight")
    assert again.get_parameter("one.weight") is again.get_parameter("other.weight")
    assert again.get_parameter("one.bias") is not again.get_parameter("other.bias")
    with torch.no_grad():
        again.get_parameter("one.weight").zero_()
    assert not again.get_parameter("other.weight").any()


def test_tied_numbers_are_written_once(tmp_path):
    fcn = fullconv.convert(
        nn.Sequential(nn.Conv2d(3, 512, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *shared(512)), 8
    )
    fullconv.save(fcn, tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").stat().st_size < 1.2 * 4 * (512 * 512 + 27 * 512)


def shared(size: int) -> list[nn.Module]:
    layers = [nn.Linear(size, size) for _ in range(4)]
    for layer in layers[1:]:
        layer.weight = layers[0].weight
    return layers


@HUB
@pytest.mark.parametrize(
    ("form", "window", "sizes"),
    [
        ("torchvision:alexnet:random", 224, [(224, 224), (300, 260)]),
        ("torchvision:alexnet:random", 300, [(340, 300)]),  # 8×8 cells in 6×6 overlapping bins
        ("torchvision:googlenet", 224, [(224, 224), (261, 300)]),  # transforms its input
        ("torchvision:mobilenet_v2:random", 224, [(224, 224), (300, 257)]),
        ("timm:mobilenetv2_100", 224, [(224, 224), (257, 300)]),
    ],
)
def test_networks_of_the_hubs(form, window, sizes, tmp_path):
    from fullconv.models import load_model

    classifier = load_model(form, architecture_only=True)
    model = classifier.module
    if form.startswith("timm"):
        import timm

        model = timm.create_model("mobilenetv2_100", pad_type="same").eval()
    fcn = fullconv.convert(model, window)
    fcn.about = About(form, classifier.classes, classifier.mean, classifier.std)
    again = assert_identical(fcn, tmp_path, *sizes)
    assert set(again.state_dict()) == set(model.state_dict())


def test_about_is_kept(tmp_path):
    fcn = fullconv.convert(plain().eval(), 8)
    fcn.about = About(
        "odd/päth.py:build", ("a", "ü, 猫", 'q"\\\n', "", "e"), (0.1, 1e-300, 3.0), (1 / 3,)
    )
    assert saved(fcn, tmp_path).about == fcn.about


def test_the_classifier_s_weights_still_load(tmp_path):
    model, other = TinyVGG().eval(), TinyVGG().eval()
    again = saved(fullconv.convert(model, 64), tmp_path)
    again.load_state_dict(other.state_dict())
    x = torch.randn(1, 3, 80, 70)
    torch.testing.assert_close(again(x), fullconv.convert(other, 64)(x))


def test_it_can_be_trained_moved_copied_and_saved_again(tmp_path):
    import copy

    again = saved(fullconv.convert(plain().eval(), 8), tmp_path)
    again(torch.randn(1, 3, 12, 12)).sum().backward()
    assert all(p.grad is not None for p in again.parameters())
    again.zero_grad()
    assert_identical(copy.deepcopy(again).double(), tmp_path, (12, 12))
    assert_identical(again, tmp_path, (12, 12))


def test_saving_leaves_the_network_alone(tmp_path):
    model = TinyVGG().eval()
    fcn = fullconv.convert(model, 64)
    before = fcn.output.weight.data_ptr()
    fullconv.save(fcn, tmp_path / "net.safetensors")
    assert fcn.output.weight.data_ptr() == before == model.output.weight.data_ptr()
    assert fcn.training is False


def test_a_network_in_training_mode_loads_ready_for_inference(tmp_path):
    fcn = fullconv.convert(norms().eval(), 8)
    x = torch.randn(1, 3, 12, 12)
    expected = fcn(x)
    fcn.train()
    fullconv.save(fcn, tmp_path / "net.safetensors")
    assert fcn.training
    assert torch.equal(fullconv.load(tmp_path / "net.safetensors")(x), expected)
