"""Layers that are fitted to images, against least squares written out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_networks import MAX_POOLS, sequence
from torch import nn

import fullconv
from fullconv.allconv.build import plan
from fullconv.allconv.fitting import RIDGES
from networks import LeNet, noise, ready


@pytest.fixture
def digits(data):
    """512 digits of MNIST as LeNet takes them, and LeNet as it was trained on others of them."""
    with np.load(data / "datasets" / "mnist.npz") as packed:
        x = torch.from_numpy(packed["x_test"][:768]).double()[:, None]
        y = torch.from_numpy(packed["y_test"][:768]).long()
    model = LeNet()
    model.load_state_dict(torch.load(data / "weights" / "lenet_mnist.pth", weights_only=True))
    return ready(model), (x / 255 - 0.1307) / 0.3081, y


@pytest.mark.parametrize("how", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1},
                                 {"kernel_size": 3, "stride": 2, "ceil_mode": True}], ids=str)  # fmt: skip
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_channel_gets_the_filter_nearest_to_its_maximum(dims, how):
    side = {1: 40, 2: 14, 3: 8}[dims]
    model = sequence(dims, MAX_POOLS[dims - 1](**how), relu=False)
    images = noise(6, 3, *(side,) * dims)
    network = fullconv.all_convolutional(model, side, images=images)
    step = network.plan.steps[0]
    assert step.start == "fitted maximum"
    conv = network.get_submodule(step.layer).conv
    x = model[:2](images)  # (N, 5, *cells)
    wanted = model[2](x)
    sweeps = step.edit.sweeps
    pads = [n for sweep in reversed(sweeps) for n in sweep.padding]
    seen = F.pad(x, pads)
    for axis, sweep in enumerate(sweeps, 2):
        seen = seen.unfold(axis, sweep.kernel, sweep.stride)
    for channel in range(5):
        rows = seen[:, channel].flatten(1 + dims).flatten(0, dims)  # (M, taps)
        rows = torch.cat([rows, torch.ones(len(rows), 1).double()], 1)
        best = torch.linalg.lstsq(rows, wanted[:, channel].flatten()).solution
        torch.testing.assert_close(conv.weight[channel, channel].flatten(), best[:-1],
                                   atol=1e-4, rtol=0)  # fmt: skip
        torch.testing.assert_close(conv.bias[channel], best[-1], atol=1e-4, rtol=0)
    off = conv.weight.clone()
    off[range(5), range(5)] = 0
    assert not off.any()


def test_a_channel_that_is_dead_keeps_the_average():
    model = sequence(2, nn.MaxPool2d(2))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0, -1
    network = fullconv.all_convolutional(model, 16, images=noise(4, 3, 16, 16))
    conv = network.get_submodule("2.conv")
    assert torch.equal(conv.weight[1, 1], torch.full((2, 2), 0.25).double())
    assert conv.bias[1] == 0
    assert (conv.weight[0, 0] - 0.25).abs().max() > 0.01


def test_images_that_were_not_seen_are_told_better_than_by_the_average(digits):
    model, x, _ = digits
    for index in range(2):
        plain = fullconv.all_convolutional(model, 28, head="exact")
        fitted = fullconv.all_convolutional(model, 28, head="exact", images=x[:256])
        errors = []
        for network in (plain, fitted):
            seen = []
            path = network.plan.steps[index].layer
            hook = network.get_submodule(path).register_forward_hook(
                lambda m, given, y, seen=seen: seen.append((given[0], y))
            )
            network(x[256:])
            hook.remove()
            ((given, got),) = seen
            errors.append((got - F.max_pool2d(given, 2)).square().mean())
        assert errors[1] < 0.8 * errors[0]


def test_a_fitted_network_answers_as_the_classifier_more_often(digits):
    """Where digits lie in the map is lost in its mean: that much only training brings back."""
    model, x, y = digits
    answers = model(x[512:]).argmax(1)
    assert (answers == y[512:]).double().mean() > 0.95

    def agreeing(**how) -> float:
        network = fullconv.all_convolutional(model, 28, **how)
        return float((network(x[512:]).argmax(1) == answers).double().mean())

    for pools, head, gain in (("conv", "gap", 0.2), ("strided", "gap", 0.1), ("keep", "gap", 0.1),
                              ("conv", "exact", 0.05)):  # fmt: skip
        how = {"pools": pools, "head": head}
        assert agreeing(**how, images=x[:512]) > agreeing(**how) + gain


def test_scores_that_are_sums_of_the_features_are_found():
    """With positive numbers throughout the ReLUs of the head do nothing."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 4))
    model = ready(nn.Sequential(nn.Conv2d(3, 6, 3), nn.Softplus(), *head))
    with torch.no_grad():
        model[4].weight.abs_()
        model[4].bias.abs_()
    network = fullconv.all_convolutional(model, 12, images=noise(40, 3, 12, 12))
    assert network.plan.steps[-1].start == "fitted scores"
    assert not network.plan.is_exact
    x = noise(8, 3, 12, 12, seed=4)
    torch.testing.assert_close(network(x), model(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [3, 9, 40])
def test_the_ridge_is_the_one_that_tells_an_image_left_out_best(count):
    head = (nn.Flatten(), nn.Linear(5 * 100, 7), nn.Tanh(), nn.Linear(7, 4), nn.Softmax(1))
    model = ready(nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), *head))
    images = noise(count, 3, 12, 12)
    network = fullconv.all_convolutional(model, 12, images=images)
    features = model[:2](images).mean((2, 3))  # (N, 5)
    scores = model[:-1](images)  # before the softmax

    def solved(x, y, ridge):
        mean_x, mean_y = x.mean(0), y.mean(0)
        gram = (x - mean_x).T @ (x - mean_x) + ridge * torch.eye(5).double()
        weights = torch.linalg.solve(gram, (x - mean_x).T @ (y - mean_y))
        return weights, mean_y - mean_x @ weights

    level = (features - features.mean(0)).square().sum() / 5
    errors = []
    for ridge in RIDGES:
        total = 0.0
        for out in range(count):
            rest = [n for n in range(count) if n != out]
            # The ridge is that of all images, also where one of them is left out.
            weights, bias = solved(features[rest], scores[rest], ridge * level)
            total += (features[out] @ weights + bias - scores[out]).square().sum().item()
        errors.append(total)
    best = RIDGES[min(range(len(RIDGES)), key=errors.__getitem__)]
    weights, bias = solved(features, scores, best * level)
    conv = network.get_submodule("5")
    torch.testing.assert_close(conv.weight[:, :, 0, 0], weights.T, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(conv.bias, bias, atol=1e-8, rtol=1e-6)


def test_images_may_be_larger_than_the_window_and_come_in_batches(monkeypatch):
    model = ready(LeNet())
    images = noise(7, 1, 37, 41)
    whole = fullconv.all_convolutional(model, 28, images=images)
    monkeypatch.setattr("fullconv.allconv.fitting.PIXELS", 2 * 37 * 41)
    monkeypatch.setattr("fullconv.allconv.fitting.CELLS", 6000)
    parts = fullconv.all_convolutional(model, 28, images=images)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, atol=1e-9, rtol=1e-6)
    scores = fullconv.convert(model, 28)(images).mean((2, 3))
    gap = (whole(images) - scores).square().mean()
    assert gap < (scores - scores.mean(0)).square().mean()


def test_nothing_is_fitted_where_all_is_exact():
    model = sequence(2, nn.AvgPool2d(2))
    one = fullconv.all_convolutional(model, 16)
    two = fullconv.all_convolutional(model, 16, images=noise(3, 3, 16, 16))
    assert one.plan == two.plan
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_the_plan_says_that_images_are_fitted_to():
    made = plan(LeNet(), 28, fitted=True)
    assert [step.start for step in made.steps] == ["fitted maximum"] * 2 + ["fitted scores"]
    strided = plan(LeNet(), 28, fitted=True, pools="strided")
    assert [step.start for step in strided.steps] == [
        "own weights", "", "own weights", "", "fitted scores"
    ]  # fmt: skip


def test_hooks_and_modes_are_as_before():
    model = ready(LeNet()).train()
    network = fullconv.all_convolutional(model, 28, images=noise(3, 1, 28, 28))
    assert model.training
    assert model.conv1.training
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert not any(module.training for module in network.modules())


WANTED = "(N, 1, H, W), at least 28×28 px"


@pytest.mark.parametrize(
    ("images", "kind", "message"),
    [
        ([1], "UsageError", f"images must be a tensor {WANTED}, got a list."),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), "InputError",
         "the images are uint8, no prepared numbers.\nScale pixels to 0..1, subtract the mean and "
         "divide by the standard deviation."),
        (torch.zeros(2, 3, 28, 28), "InputError",
         f"the images have shape (2, 3, 28, 28); wanted are {WANTED}."),
        (torch.zeros(1, 28, 28), "InputError",
         f"the images have shape (1, 28, 28); wanted are {WANTED}."),
        (torch.zeros(0, 1, 28, 28), "InputError",
         f"the images have shape (0, 1, 28, 28); wanted are {WANTED}."),
        (torch.zeros(2, 1, 27, 40), "InputError",
         f"the images have shape (2, 1, 27, 40); wanted are {WANTED}."),
        (torch.full((2, 1, 28, 28), torch.nan), "InputError",
         "the images hold numbers that are not finite."),
    ],
)  # fmt: skip
def test_images_that_cannot_be_fitted_to(images, kind, message):
    with pytest.raises(getattr(fullconv, kind)) as wrong:
        fullconv.all_convolutional(LeNet(), 28, images=images)
    assert str(wrong.value) == message
