"""Forward and backward: gradients, bytes counted by hand, and a network that is left alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from fullconv.auditing.measuring.passes import loss_of, train, trainable, training_bytes
from networks import LeNet, Net, noise, ready


def network() -> nn.Module:
    return ready(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5),
            nn.Flatten(), nn.Linear(6 * 64, 5),
        )
    )  # fmt: skip


def test_gradients_are_those_of_the_cross_entropy():
    model, x = network(), noise(4, 3, 8, 8)
    twin = trainable(model)
    found = train(twin, x)
    loss = F.cross_entropy(model(x), torch.zeros(4, dtype=torch.long))
    loss.backward()
    for gradient, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-12, atol=1e-14)


def test_those_of_a_map_are_those_of_its_average():
    fcn = fullconv.convert(LeNet().double().eval(), 28)
    x = noise(2, 1, 36, 40)
    found = train(trainable(fcn), x)
    scores = fcn(x).mean((2, 3))
    expected = torch.autograd.grad(
        F.cross_entropy(scores, torch.zeros(2, dtype=torch.long)), list(fcn.parameters())
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    targets = torch.tensor([3, 7])
    torch.testing.assert_close(loss_of(fcn, x, targets), F.cross_entropy(scores, targets))


def test_the_network_itself_is_left_alone():
    model = network().train()
    frozen = model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    twin, x = trainable(model), noise(2, 3, 8, 8)
    with torch.inference_mode():  # gradients are made here too
        gradients = train(twin, x)
    assert len(gradients) == len(list(model.parameters()))
    assert all(float(gradient.abs().max()) > 0 for gradient in gradients)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not frozen.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_twin_holds_no_numbers_of_its_own():
    model = network()
    twin = trainable(model)
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert own.data_ptr() == other.data_ptr()
        assert own is not other
    tied = nn.Linear(4, 4, bias=False)
    twice = Net(lambda m, x: m.b(m.a(x)), a=tied, b=tied)
    assert len(list(trainable(twice).parameters())) == 1


def test_bytes_of_a_chain_counted_by_hand():
    """Image (4) and the ReLU's map (16) are kept; nothing wants the map of the last layer."""
    model = nn.Sequential(nn.Conv2d(4, 16, 1), nn.ReLU(), nn.Conv2d(16, 2, 1)).double()
    pixels = 300 * 40
    found = training_bytes(trainable(model), (1, 4, 300, 40))
    little = 100  # scores, loss and target
    assert 0 <= found.saved - (4 + 16) * pixels * 8 < little
    # Back through the last layer: gradients of its map (2) and of the ReLU's (16) beside these.
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    assert found.saved + 16 * pixels * 8 <= found.peak <= (20 + 2 + 32) * pixels * 8 + 2 * weights


@pytest.mark.parametrize("images", [1, 3])
def test_bytes_kept_are_those_that_autograd_saves(images):
    """Against the hooks of autograd on a real run of a network with all there is in one."""
    model = trainable(fullconv.convert(network(), 8))
    x = noise(images, 3, 24, 24)
    kept = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes()}
    weights = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_of(model, x)
    assert loss > 0
    counted = training_bytes(model, tuple(x.shape)).saved
    assert counted == pytest.approx(sum(kept.values()), rel=0.02, abs=500)
