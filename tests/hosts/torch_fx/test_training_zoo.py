"""Networks of the hubs in training mode: with one seed, the FCN is the classifier."""

import copy

import pytest
import torch
from torch import nn

import fullconv
from fullconv.errors import MissingExtraError
from fullconv.models.torchvision_import import import_timm, import_torchvision
from networks import Net, noise, ready

MODELS = {
    "torchvision:mobilenet_v2": {"dropout": 0.3},
    "torchvision:googlenet": {"aux_logits": False, "init_weights": False},
    "timm:resnet18": {"drop_path_rate": 0.5, "drop_rate": 0.3},
    "timm:mobilenetv2_100": {"drop_path_rate": 0.5, "drop_rate": 0.3},
}


def network(name: str) -> nn.Module:
    package, _, model = name.partition(":")
    try:
        if package == "timm":
            net = import_timm().create_model(model, num_classes=7, **MODELS[name])
        else:
            build = getattr(import_torchvision().models, model)
            net = build(weights=None, num_classes=7, **MODELS[name])
    except MissingExtraError:
        pytest.skip(f"{package} is not installed")
    return ready(net)


@pytest.mark.parametrize("name", MODELS)
def test_one_pass_in_training_mode(name, tmp_path):
    model = network(name)
    alone, fcn = copy.deepcopy(model).train(), fullconv.convert(model, 64)
    fullconv.save(fcn, tmp_path / "net.safetensors")
    x = noise(3, 3, 64, 64)
    torch.manual_seed(3)
    theirs = alone(x)
    theirs.square().sum().backward()
    with torch.no_grad():
        assert not torch.allclose(theirs, model(x))
    for net in (fullconv.load(tmp_path / "net.safetensors"), copy.deepcopy(fcn), fcn):
        torch.manual_seed(3)
        ours = net.train()(x).flatten(1)
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
    ours.square().sum().backward()
    for (key, parameter), expected in zip(
        model.named_parameters(), alone.parameters(), strict=True
    ):
        scale = max(1.0, float(expected.grad.abs().max()))
        assert float((parameter.grad - expected.grad).abs().max()) < 1e-7 * scale, key
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-8, atol=1e-8, msg=key)
    assert list(fcn.to_classifier_state()) == list(model.state_dict())


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_stochastic_depth_of_torchvision(mode, tmp_path):
    try:
        depth = import_torchvision().ops.StochasticDepth(0.5, mode)
    except MissingExtraError:
        pytest.skip("torchvision is not installed")
    model = ready(
        Net(
            lambda m, x: m.fc((m.conv(x) + m.depth(m.branch(m.conv(x)))).flatten(1)),
            conv=nn.Conv2d(1, 4, 3),
            branch=nn.Conv2d(4, 4, 1),
            depth=depth,
            fc=nn.Linear(144, 3),
        )
    )
    fcn = fullconv.convert(model, 8)
    fullconv.save(fcn, tmp_path / "net.safetensors")
    x = noise(6, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(fcn(x).flatten(1), model(x))
        alone = copy.deepcopy(model).train()
        for net in (fullconv.load(tmp_path / "net.safetensors"), copy.deepcopy(fcn), fcn):
            for seed in range(4):
                torch.manual_seed(seed)
                theirs = alone(x)
                torch.manual_seed(seed)
                torch.testing.assert_close(net.train()(x).flatten(1), theirs)
            net.depth.eval()
            torch.testing.assert_close(net(x).flatten(1), model(x))
    assert model.depth is depth
