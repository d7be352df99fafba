"""Training the FCN is training the classifier: steps, batch statistics, dropout."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from networks import Net, noise, ready


def small(**more: nn.Module) -> nn.Module:
    """Batch norm on a map and on a vector, an FC layer over h·w·c."""
    return ready(
        Net(
            lambda m, x: m.out(
                m.drop(m.vector(m.fc(m.norm(m.conv(x)).relu().permute(0, 2, 3, 1).flatten(1))))
            ),
            conv=nn.Conv2d(1, 4, 3),
            norm=nn.BatchNorm2d(4),
            fc=nn.Linear(4 * 36, 8),
            vector=nn.BatchNorm1d(8, momentum=None),
            drop=nn.Dropout(0),
            out=nn.Linear(8, 3),
            **more,
        )
    )


def steps(net: nn.Module, optimiser: torch.optim.Optimizer, count: int = 6) -> list[float]:
    """The losses of a short training run at the window."""
    torch.manual_seed(1)
    losses = []
    for _ in range(count):
        x, labels = torch.randn(5, 1, 8, 8, dtype=torch.float64), torch.randint(3, (5,))
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x).reshape(5, 3), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("of", ["FCN", "classifier"])
@pytest.mark.parametrize(
    "optimiser",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
    ],
)
def test_the_same_run_as_the_classifiers(optimiser, of, mode):
    model = small()
    alone = copy.deepcopy(model).train(mode)
    fcn = fullconv.convert(model, 8).train(mode)
    theirs = steps(alone, optimiser(alone.parameters()))
    ours = steps(fcn, optimiser((fcn if of == "FCN" else model).parameters()))
    assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)
    assert len(set(ours)) == len(ours)
    for state in (model.state_dict(), fcn.to_classifier_state()):
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=1e-9, atol=1e-9)


def test_a_trained_fcn_is_loaded_into_the_classifier(tmp_path):
    model = small()
    fcn = copy.deepcopy(fullconv.convert(model, 8)).train()
    steps(fcn, torch.optim.SGD(fcn.parameters(), lr=0.1))
    x = noise(3, 1, 8, 8)
    fullconv.save(fcn, tmp_path / "net.safetensors")
    for network in (fcn.eval(), fullconv.load(tmp_path / "net.safetensors")):
        model.load_state_dict(network.to_classifier_state())
        with torch.no_grad():
            torch.testing.assert_close(network(x).flatten(1), model(x), rtol=1e-11, atol=1e-11)


def test_training_on_larger_images_moves_the_classifier():
    model = small()
    alone, fcn = copy.deepcopy(model), fullconv.convert(model, 8)
    x = noise(2, 1, 9, 10)
    torch.optim.SGD(fcn.parameters(), lr=0.1)
    fcn(x).square().sum().backward()
    for i in range(2):
        for j in range(3):
            alone(x[..., i : i + 8, j : j + 8]).square().sum().backward()
    for (name, ours), theirs in zip(model.named_parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10, msg=name)


class Odd(nn.BatchNorm2d):
    """Batch norm as timm spells it: a subclass that calls the function."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.act = nn.ReLU()

    def forward(self, x):
        if self.training:
            self.num_batches_tracked.add_(1)
        batch = self.training or self.running_mean is None
        return self.act(
            F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, batch,
                self.momentum, self.eps,
            )
        )  # fmt: skip


class Frozen(nn.BatchNorm2d):
    """Batch norm that keeps its statistics even in training."""

    def forward(self, x):
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps
        )


def with_norm(norm: nn.Module) -> nn.Module:
    return ready(
        Net(
            lambda m, x: m.fc(m.norm(m.conv(x)).flatten(1)),
            conv=nn.Conv2d(1, 4, 3),
            norm=norm,
            fc=nn.Linear(4 * 36, 3),
        )
    )


@pytest.mark.parametrize("kind", [Odd, Frozen, nn.BatchNorm2d])
def test_batch_norm_by_function(kind, tmp_path):
    model = with_norm(kind(4))
    alone, fcn = copy.deepcopy(model).train(), fullconv.convert(model, 8)
    x = noise(4, 1, 8, 8)
    fullconv.save(fcn, tmp_path / "net.safetensors")
    loaded, twin = fullconv.load(tmp_path / "net.safetensors"), copy.deepcopy(fcn)
    with torch.no_grad():
        torch.testing.assert_close(fcn(x).flatten(1), model(x), rtol=1e-12, atol=1e-12)
    scores = alone(x)
    for network in (loaded, twin, fcn):
        assert list(network.state_dict()) == list(model.state_dict())
        torch.testing.assert_close(network.train()(x).flatten(1), scores, rtol=1e-11, atol=1e-11)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(network.to_classifier_state()[name], value)
    assert torch.equal(model.norm.running_mean, fcn.get_buffer("norm.running_mean"))
    assert int(model.norm.num_batches_tracked) == int(alone.norm.num_batches_tracked)
    assert not any(module.training for module in model.modules())


def test_a_batch_norm_of_vectors_and_maps_goes_on_with_its_statistics():
    model = ready(
        Net(
            lambda m, x: m.out(m.norm(m.fc(m.norm(m.conv(x)).flatten(1)))),
            conv=nn.Conv1d(1, 4, 3),
            norm=nn.BatchNorm1d(4),
            fc=nn.Linear(24, 4),
            out=nn.Linear(4, 3),
        )
    )
    alone, fcn = copy.deepcopy(model).train(), fullconv.convert(model, 8).train()
    x = noise(4, 1, 8)
    torch.testing.assert_close(fcn(x).flatten(1), alone(x), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(model.norm.running_var, alone.norm.running_var)
    assert int(model.norm.num_batches_tracked) == 2


def test_hooks_for_the_whole_of_a_batch_norm_do_not_fire_on_a_part():
    model = with_norm(Odd(4))
    model.norm.register_forward_hook(lambda module, args, out: 1 / 0)
    fullconv.convert(model, 8)(noise(1, 1, 9, 9))
