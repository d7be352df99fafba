"""The FCN as an `nn.Module`: shared parameters, independence once moved, loading, hooks."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import assert_same
from networks import LeNet, Net, noise, ready


@pytest.fixture
def model() -> LeNet:
    return ready(LeNet())


@pytest.fixture
def fcn(model: LeNet) -> fullconv.FCN:
    return fullconv.convert(model, 28)


IMAGE = noise(1, 1, 40, 36)


def test_converting_copies_no_weights(model, fcn):
    for name, parameter in model.named_parameters():
        assert fcn.get_parameter(name).data_ptr() == parameter.data_ptr()
    assert fcn.get_parameter("fc1.weight").shape == (120, 16, 4, 4)
    assert fcn.state_dict().keys() == model.state_dict().keys()


def test_a_step_on_the_classifier_is_a_step_on_the_fcn(model, fcn):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
        assert_same(fcn(IMAGE[..., :28, :28]).flatten(1), model(IMAGE[..., :28, :28]))


def test_moving_or_casting_leaves_the_classifier_alone(model, fcn):
    with torch.no_grad():
        before = model(IMAGE[..., :28, :28])
        fcn.half()
        assert {p.dtype for p in fcn.parameters()} == {torch.float16}
        assert {p.dtype for p in model.parameters()} == {torch.float64}
        fcn.double()
        for parameter in fcn.parameters():
            parameter.zero_()
        assert torch.equal(model(IMAGE[..., :28, :28]), before)


def test_modes_are_its_own(model, fcn):
    fcn.train()
    assert not any(module.training for module in model.modules())
    fcn.eval()
    model.train()
    assert not any(module.training for module in fcn.modules())
    assert not fullconv.convert(model, 28).training
    assert model.training


def test_a_deep_copy_is_independent(fcn):
    twin = copy.deepcopy(fcn)
    with torch.no_grad():
        assert torch.equal(twin(IMAGE), fcn(IMAGE))
        for parameter in twin.parameters():
            parameter.zero_()
        assert fcn(IMAGE).abs().max() > 0
    assert type(twin).__name__ == type(fcn).__name__
    assert twin.plan == fcn.plan


def test_gradients_reach_every_weight(fcn):
    fcn(IMAGE).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in fcn.parameters())


def test_a_classifiers_state_is_reshaped_on_load(model, fcn):
    other = ready(LeNet())
    fcn.float().double()  # parameters of its own
    fcn.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert_same(fcn(IMAGE[..., :28, :28]).flatten(1), other(IMAGE[..., :28, :28]))
    fcn.load_state_dict(fcn.state_dict())
    wrong = {**other.state_dict(), "fc1.weight": torch.zeros(120, 250)}
    with pytest.raises(fullconv.InputError, match=r"fc1.weight: has 30000 numbers"):
        fcn.load_state_dict(wrong)
    missing = {name: t for name, t in other.state_dict().items() if name != "fc2.bias"}
    with pytest.raises(RuntimeError, match=r"fc2.bias"):
        fcn.load_state_dict(missing)


def test_hooks_on_the_classifier_fire_in_the_fcn(model):
    seen = []
    model.conv1.register_forward_hook(lambda module, args, out: seen.append("before"))
    fcn = fullconv.convert(model, 28)
    assert seen == []  # not while converting
    model.fc1.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    fcn(IMAGE)
    assert seen == ["before", (1, 120, 4, 3)]


def test_it_is_not_pickled(fcn):
    with pytest.raises(fullconv.FullconvError, match=r"fullconv\.save\(fcn, path\)"):
        pickle.dumps(fcn)


def test_a_member_with_a_name_of_its_own_is_refused():
    net = ready(
        Net(lambda self, x: self.fc(self.grid(x).flatten(1)), grid=nn.Conv2d(1, 2, 3),
            fc=nn.Linear(2 * 16, 3))
    )  # fmt: skip
    with pytest.raises(fullconv.RefusedError, match="'grid', a name that FCN uses itself"):
        fullconv.convert(net, 6)


@pytest.mark.parametrize("name", ["in", "lambda", "it's", "self"])
def test_a_member_that_code_cannot_name_is_refused(name):
    body = nn.ModuleDict({name: nn.Conv2d(1, 2, 3)})
    net = Net(lambda m, x: m.fc(m.body[name](x).flatten(1)), body=body, fc=nn.Linear(2 * 16, 3))
    with pytest.raises(fullconv.RefusedError, match="which generated code cannot name"):
        fullconv.convert(ready(net), 6)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 40, 40), r"shape \(1, 40, 40\), the network takes \(N, 1, H, W\)"),
        ((1, 3, 40, 40), "3 channels, the network takes 1"),
        ((1, 1, 27, 40), "27×40 px, smaller than the 28×28 window"),
    ],
)
def test_images_that_do_not_fit(fcn, shape, message):
    with pytest.raises(fullconv.InputError, match=message):
        fcn(noise(*shape))


def test_it_describes_itself(fcn):
    assert (fcn.window, fcn.stride, fcn.receptive_field) == ((28, 28), (4, 4), (28, 28))
    assert fcn.grid((40, 36)).shape == (4, 3)
    assert fcn.grid((40, 36)).box(1, 2) == (4, 8, 32, 36)
    assert "check_image" in fcn.code
    assert "Conv 4×4, 16 → 120" in str(fcn.plan)


def test_no_parameters_are_left_out():
    """An auxiliary head that inference skips keeps its names."""
    net = Net(lambda self, x: self.fc(x.flatten(1)), fc=nn.Linear(36, 3), spare=nn.Linear(7, 2))
    fcn = fullconv.convert(ready(net), 6, example=noise(1, 1, 6, 6))
    assert fcn.state_dict().keys() == net.state_dict().keys()
    assert copy.deepcopy(fcn).state_dict().keys() == net.state_dict().keys()


@pytest.mark.parametrize("size", [(32, 32), (45, 38), (33, 64)])
def test_an_fcn_converts_again(size):
    """Branches that differ by trailing cells, and cells that hang over, are cut as before."""

    def forward(self, x):
        y = F.relu(self.down(x) + F.avg_pool2d(self.conv(x), 2))  # odd maps: one cell apart
        return self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1))

    net = ready(
        Net(forward, down=nn.Conv2d(3, 4, 3, 2, 1), conv=nn.Conv2d(3, 4, 1), fc=nn.Linear(4, 3))
    )
    fcn = fullconv.convert(net, 32)
    image = noise(1, 3, *size)
    again = fullconv.convert(fcn, 32)
    torch.testing.assert_close(again(image), fcn(image), atol=1e-12, rtol=0)
