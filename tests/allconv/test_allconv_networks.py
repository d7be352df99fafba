"""All-convolutional networks of the networks people use."""

import copy
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_networks import Cifar, pools_left, residual
from torch import nn

import fullconv
from fullconv.allconv.build import plan
from fullconv.allconv.words import HEADS, POOLS
from fullconv.models.torchvision_import import import_torchvision
from networks import LeNet, drawn, noise, ready


def hub(name: str, **how) -> nn.Module:
    try:
        models = import_torchvision().models
    except fullconv.MissingExtraError:
        pytest.skip("torchvision is not installed")
    return getattr(models, name)(weights=None, **how)


def narrow_alexnet() -> nn.Module:
    """AlexNet with a fifth of its hidden features."""
    model = hub("alexnet", num_classes=7)
    model.classifier[1] = nn.Linear(256 * 36, 60)
    model.classifier[4] = nn.Linear(60, 50)
    model.classifier[6] = nn.Linear(50, 7)
    return model


NETWORKS = {
    "LeNet": (LeNet, 28, 1, 10),
    "Cifar": (Cifar, 32, 3, 10),
    "residual": (residual, 32, 3, 5),
    "alexnet": (narrow_alexnet, 224, 3, 7),
    "resnet18": (lambda: hub("resnet18", num_classes=7), 64, 3, 7),
    "googlenet": (
        lambda: hub("googlenet", num_classes=7, aux_logits=False, init_weights=False), 64, 3, 7
    ),
    "squeezenet1_1": (lambda: hub("squeezenet1_1", num_classes=7), 64, 3, 7),
    "mobilenet_v3_small": (lambda: hub("mobilenet_v3_small", num_classes=7), 64, 3, 7),
    "shufflenet_v2_x0_5": (lambda: hub("shufflenet_v2_x0_5", num_classes=7), 64, 3, 7),
}  # fmt: skip


@pytest.fixture(scope="module")
def network_of():
    made: dict[str, nn.Module] = {}

    def get(name: str) -> nn.Module:
        if name not in made:
            build = NETWORKS[name][0]
            made[name] = (
                ready(build()) if name in ("LeNet", "Cifar", "residual") else ready(drawn(build))
            )
        return made[name]

    return get


SOME = {
    ("alexnet", "conv", "gap"), ("alexnet", "strided", "gap"), ("alexnet", "conv", "exact"),
    ("alexnet", "convpool", "exact"), ("googlenet", "conv", "gap"),
    ("googlenet", "strided", "gap"), ("shufflenet_v2_x0_5", "conv", "gap"),
    ("mobilenet_v3_small", "conv", "gap"), ("mobilenet_v3_small", "keep", "exact"),
}  # fmt: skip
"""Of slow networks what is seen nowhere else."""

WAYS = [
    (name, pools, head)
    for name in NETWORKS
    for pools in POOLS
    for head in HEADS
    if name not in {slow for slow, _, _ in SOME} or (name, pools, head) in SOME
]


@pytest.mark.parametrize(("name", "pools", "head"), WAYS)
def test_every_way_for_networks_people_use(name, pools, head, network_of):
    _, window, channels, outputs = NETWORKS[name]
    model = network_of(name)
    before = copy.deepcopy(model.state_dict())
    network = fullconv.all_convolutional(model, window, pools=pools, head=head)
    x = noise(2, channels, window, window)
    with torch.inference_mode():
        scores, wanted = network(x), model(x)
        assert scores.shape == (2, outputs)
        if network.plan.is_exact:
            torch.testing.assert_close(
                scores, wanted, atol=1e-10 * float(wanted.abs().max()), rtol=0
            )
        big = noise(1, channels, window + 41, window + 33)
        assert network(big).shape == (1, outputs)
        fcn = fullconv.convert(network, window)
        torch.testing.assert_close(fcn(x)[:, :, 0, 0], scores, atol=1e-9, rtol=1e-9)
        assert fcn(big).shape[2:] == fcn.grid(big.shape[2:]).shape
    if head == "exact" and pools in ("keep", "convpool"):
        assert network.plan.is_exact
    if pools in ("conv", "strided"):
        # Pools of the body are gone; one over the whole window is the exact head's, or squeezes.
        allowed = 1 if head == "exact" else 9 if name == "mobilenet_v3_small" else 0
        assert len(pools_left(network)) <= allowed
    # The classifier is what it was, and nothing is shared with it.
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    mine = {p.data_ptr() for p in model.parameters()}
    assert not mine & {p.data_ptr() for p in network.parameters()}
    assert sum(p.numel() for p in network.parameters()) == network.plan.new_parameters
    # Layers that were kept have their names and numbers.
    old = model.state_dict()
    new = {step.layer for step in network.plan.steps if step.layer}
    for key, value in network.state_dict().items():
        if not any(key.startswith(f"{layer}.") for layer in new) and value.shape == old[key].shape:
            assert torch.equal(value, old[key])


def test_vgg16_has_the_parameters_that_are_counted_by_hand():
    with torch.device("meta"):
        model = hub("vgg16")
    total, in_fc = 138_357_544, 123_642_856
    body = total - in_fc
    head = 512 * 1000 + 1000
    pools = sum(c * c * 4 + c for c in (64, 128, 256, 512, 512))
    for how, added in {"conv": pools, "convpool": pools, "strided": 0, "keep": 0}.items():
        made = plan(model, 224, pools=how)
        assert made.parameters == total
        assert made.in_head == in_fc
        assert made.new_head == head
        assert made.added_by_pools == added
        assert made.new_parameters == body + head + added
        exact = plan(model, 224, pools=how, head="exact")
        assert exact.new_parameters == total + added
    said = dict(plan(model, 224).summary())
    assert said["parameters"] == f"138,357,544 → {body + head + pools:,}"
    assert said["of them in the head"] == "123,642,856 (89.4%) → 513,000"


def test_vgg16_itself_in_single_precision():
    with torch.device("meta"):
        model = hub("vgg16")
    model = model.to_empty(device="cpu").eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(0.01)  # its numbers do not matter here, but must not be those of others
        for module in model.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    network = fullconv.all_convolutional(model, 32)
    assert pools_left(network) == []
    x = torch.randn(2, 3, 32, 32)
    y = x
    for index, module in enumerate(model.features):
        y = F.relu(F.avg_pool2d(y, 2)) if isinstance(module, nn.MaxPool2d) else module(y)
        assert index < 31
    conv = network.get_submodule("classifier.6")
    wanted = F.conv2d(y, conv.weight, conv.bias).mean((2, 3))
    torch.testing.assert_close(network(x), wanted, atol=1e-4, rtol=1e-4)
    assert network.plan.new_parameters == sum(p.numel() for p in network.parameters())


def test_the_transitions_of_densenet_are_exact():
    """Three average pools and a padded max pool: with this one kept apart, all is as it was."""
    model = ready(drawn(lambda: hub("densenet121", num_classes=5)))
    network = fullconv.all_convolutional(model, 32)
    starts = {step.where.split(" ")[0]: step.start for step in network.plan.steps}
    assert starts == {
        "features.pool0": "average",
        "features.transition1.pool": "exact",
        "features.transition2.pool": "exact",
        "features.transition3.pool": "exact",
        "classifier": "exact",
    }
    for name in ("transition1", "transition2", "transition3"):
        layer = network.get_submodule(f"features.{name}.pool")
        channels = layer.conv.in_channels
        x = noise(1, channels, 6, 7)
        torch.testing.assert_close(layer(x), F.avg_pool2d(x, 2), atol=1e-10, rtol=0)
    # Everything behind the stem, by PyTorch's own pools.
    x = noise(2, 3, 32, 32)
    model.features.pool0 = nn.AvgPool2d(3, 2, 1)
    torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)


def test_auxiliary_classifiers_are_left_out():
    model = ready(drawn(lambda: hub("googlenet", num_classes=5, init_weights=False)))
    aux = sum(p.numel() for name, p in model.named_parameters() if name.startswith("aux"))
    network = fullconv.all_convolutional(model, 64, pools="keep")
    assert network.plan.left_out == aux > 0
    assert network.plan.new_parameters == network.plan.parameters - aux
    assert not any(name.startswith("aux") for name in network.state_dict())
    assert f"{aux:,}, which no answer is computed from" in str(network.plan)


# --- an ordinary module ---


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("pools", POOLS)
def test_networks_of_one_and_three_axes(dims, pools):
    conv, pool = (nn.Conv1d, nn.MaxPool1d) if dims == 1 else (nn.Conv3d, nn.MaxPool3d)
    model = ready(
        nn.Sequential(conv(2, 4, 3), nn.ReLU(), pool(2), conv(4, 5, 3), nn.ReLU(), nn.Flatten(),
                      nn.Linear(5 * 4**dims, 6), nn.ReLU(), nn.Linear(6, 3))
    )  # fmt: skip
    window = (14,) * dims
    for head in HEADS:
        network = fullconv.all_convolutional(model, window, pools=pools, head=head)
        x = noise(2, 2, *window)
        if pools in ("convpool", "keep") and head == "exact":
            torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)
        fcn = fullconv.convert(network, window)
        torch.testing.assert_close(fcn(x).flatten(1), network(x), atol=1e-10, rtol=0)
        assert network(noise(2, 2, *(n + 9 for n in window))).shape == (2, 3)


def test_it_copies_saves_and_starts_afresh():
    model = residual()
    network = fullconv.all_convolutional(model, 32)
    x = noise(2, 3, 32, 32)
    twin = copy.deepcopy(network)
    assert twin.plan == network.plan
    assert torch.equal(twin(x), network(x))
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    for module in twin.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert not torch.allclose(twin(x), network(x))
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(twin(x), network(x))
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert network(x).abs().max() > 0
    with pytest.raises(fullconv.FullconvError, match="is not pickled: reading a pickle can run"):
        torch.save(network, io.BytesIO())


def test_weights_that_are_one_stay_one():
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(3, 3, 3, padding=1), nn.Flatten(), nn.Linear(192, 4))  # fmt: skip
    model[3].weight = model[0].weight
    network = fullconv.all_convolutional(ready(model), 16)
    assert network.get_submodule("3").weight is network.get_submodule("0").weight
    assert network.plan.parameters == sum(p.numel() for p in model.parameters())


def test_frozen_weights_stay_frozen():
    model = ready(LeNet())
    model.conv1.requires_grad_(False)
    network = fullconv.all_convolutional(model, 28)
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == [
        "conv1.weight", "conv1.bias"
    ]  # fmt: skip


def test_hooks_of_the_classifier_are_copied_not_shared():
    model = ready(LeNet())
    seen = []
    model.conv1.register_forward_hook(lambda *given: seen.append("classifier"))
    network = fullconv.all_convolutional(model, 28)
    network.get_submodule("conv2").register_forward_hook(lambda *given: seen.append("new"))
    network(noise(1, 1, 28, 28))
    assert seen == ["classifier", "new"]
    model(noise(1, 1, 28, 28))
    assert seen == ["classifier", "new", "classifier"]


def test_an_image_of_another_shape_is_one_error():
    network = fullconv.all_convolutional(ready(LeNet()), 28)
    with pytest.raises(fullconv.InputError, match="the input has 3 channels, the network takes 1"):
        network(noise(1, 3, 28, 28))
    with pytest.raises(fullconv.InputError, match=r"the input has shape \(1, 28, 28\)"):
        network(noise(1, 28, 28))


def test_dropout_and_batch_norm_follow_the_mode():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            x = F.dropout(F.relu(self.norm(self.conv(x))), 0.5, self.training)
            return self.fc(F.max_pool2d(x, 2).mean((2, 3)))

    network = fullconv.all_convolutional(ready(Dropping()), 16)
    x = noise(4, 3, 16, 16)
    assert not network.training
    assert torch.equal(network(x), network(x))
    network.train()
    mean = network.get_submodule("norm").running_mean.clone()
    assert not torch.equal(network(x), network(x))
    assert not torch.equal(network.get_submodule("norm").running_mean, mean)
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("pools", POOLS)
@pytest.mark.parametrize("head", HEADS)
def test_it_trains_on_real_digits_and_leaves_the_classifier_alone(pools, head, data):
    with np.load(data / "datasets" / "mnist.npz") as packed:
        x = torch.from_numpy(packed["x_train"][:128]).float()[:, None] / 255
        y = torch.from_numpy(packed["y_train"][:128]).long()
    model = LeNet()
    before = copy.deepcopy(model.state_dict())
    network = fullconv.all_convolutional(model, 28, pools=pools, head=head).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        if not losses:
            assert all(p.grad is not None for p in network.parameters())
            assert all(p.grad.abs().max() > 0 for p in network.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
