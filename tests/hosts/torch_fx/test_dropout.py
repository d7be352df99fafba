"""Dropout of every spelling follows the mode of the FCN, or of the part of it that drops."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from fullconv.hosts.torch_fx.runtime import StochasticDepth
from networks import Net, noise, ready

# PyTorch's of whole channels of a vector: it drops entries.
pytestmark = pytest.mark.filterwarnings("ignore:dropout2d. Received a 2-D input")


class Block(nn.Module):
    """A convolution whose map is dropped by function."""

    def __init__(self, drop) -> None:
        super().__init__()
        self.conv, self._drop = nn.Conv2d(1, 6, 3), drop
        self.again, self.alpha = nn.Dropout2d(0.5), nn.FeatureAlphaDropout(0.5)

    def forward(self, x):
        return self._drop(self, self.conv(x))


def network(on_map, on_vector) -> nn.Module:
    """Drops on a 6×6 map of 6 channels, inside `block`, and on a vector of 50."""
    return ready(
        Net(
            lambda m, x: m.out(on_vector(m, m.fc(m.block(x).flatten(1)))),
            block=Block(on_map),
            fc=nn.Linear(216, 50),
            out=nn.Linear(50, 50),
            again=nn.Dropout2d(0.5),
            alpha=nn.FeatureAlphaDropout(0.5),
        )
    )


def nothing(m, x):
    return x


SPELLINGS = {
    "F.dropout": lambda m, x: F.dropout(x, 0.5, m.training),
    "F.dropout, by keyword": lambda m, x: F.dropout(input=x, p=0.3, training=m.training),
    "F.dropout, in place": lambda m, x: F.dropout(x, training=m.training, inplace=True),
    "torch.dropout": lambda m, x: torch.dropout(x, 0.5, m.training),
    "torch.dropout, by keyword": lambda m, x: torch.dropout(x, p=0.5, train=m.training),
    "F.dropout2d": lambda m, x: F.dropout2d(x, 0.5, m.training),
    "F.alpha_dropout": lambda m, x: F.alpha_dropout(x, 0.5, m.training),
    "torch.alpha_dropout": lambda m, x: torch.alpha_dropout(x, 0.5, m.training),
    "F.feature_alpha_dropout": lambda m, x: F.feature_alpha_dropout(x, 0.5, m.training),
}


def on_and_off(fcn: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """The answer, and whether it is drawn anew every time."""
    with torch.no_grad():
        first, *others = (fcn(x) for _ in range(4))
    return first, any(not torch.equal(first, other) for other in others)


@pytest.mark.parametrize("place", ["map", "vector"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_it_follows_the_mode(name, place, tmp_path):
    drop = SPELLINGS[name]
    model = network(*((drop, nothing) if place == "map" else (nothing, drop)))
    x = noise(2, 1, 9, 8)
    plain = fullconv.convert(network(nothing, nothing), 8)
    fcn = fullconv.convert(model, 8)
    plain.load_state_dict(model.state_dict())
    assert list(fcn.state_dict()) == list(model.state_dict())
    fullconv.save(fcn, tmp_path / "net.safetensors")
    expected = on_and_off(plain, x)[0]
    for net in (fcn, fullconv.load(tmp_path / "net.safetensors"), copy.deepcopy(fcn)):
        scores, random = on_and_off(net, x)
        assert not random
        assert torch.equal(scores, expected)
        assert on_and_off(net.train(), x)[1]
        net.block.eval()
        assert on_and_off(net, x)[1] == (place == "vector")
        assert not on_and_off(net.eval(), x)[1]
    assert not any(module.training for module in model.modules())
    assert [name for name, _ in model.named_modules()] == [
        name for name, _ in network(nothing, nothing).named_modules()
    ]


@pytest.mark.parametrize("name", SPELLINGS)
def test_at_the_window_it_draws_what_the_classifier_draws(name):
    """With the same seed and shapes, the same numbers."""
    model = network(SPELLINGS[name], SPELLINGS["F.dropout"])
    fcn = fullconv.convert(model, 8).train()
    twin, x = copy.deepcopy(model).train(), noise(3, 1, 8, 8)
    torch.manual_seed(7)
    theirs = twin(x)
    torch.manual_seed(7)
    torch.testing.assert_close(fcn(x).flatten(1), theirs, rtol=1e-11, atol=1e-11)


def dropped(drop, on_vector: bool) -> torch.Tensor:
    """Which entries `(N, 6 or 50, *cells)` a dropout sets to its smallest number, in training."""
    seen = []
    model = network(*((nothing, drop) if on_vector else (drop, nothing)))
    fcn = fullconv.convert(model, 8).train()
    kinds = (nn.modules.dropout._DropoutNd,)
    (module,) = (
        fcn.get_submodule(str(node.target))
        for node in fcn.graph.nodes
        if node.op == "call_module" and isinstance(fcn.get_submodule(str(node.target)), kinds)
    )
    module.register_forward_hook(lambda m, args, out: seen.append((args[0], out)))
    fcn(noise(2, 1, 14, 12))
    ((before, after),) = seen
    return before != after * (1 - module.p)


WHOLE = {
    "F.dropout2d": SPELLINGS["F.dropout2d"],
    "nn.Dropout2d": lambda m, x: m.again(x),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_channels_of_maps_and_entries_of_vectors(name):
    """On a vector every window drops entries of its own, as the classifier does."""
    whole = dropped(WHOLE[name], on_vector=False)
    assert torch.equal(whole, whole[:, :, :1, :1].expand_as(whole))
    assert whole.any()
    assert not whole.all()
    single = dropped(WHOLE[name], on_vector=True)
    assert single.shape == (2, 50, 7, 5)
    assert 0.3 < single.double().mean() < 0.7
    assert not torch.equal(single, single[:, :, :1, :1].expand_as(single))


def test_a_module_that_drops_features_with_alpha_drops_entries_of_a_vector():
    fcn = fullconv.convert(network(nothing, lambda m, x: m.alpha(x)), 8)
    assert type(fcn.get_submodule("alpha")) is nn.AlphaDropout
    fcn = fullconv.convert(network(lambda m, x: m.alpha(x), nothing), 8)
    assert type(fcn.get_submodule("block.alpha")) is nn.FeatureAlphaDropout


def test_what_always_drops_is_refused():
    with pytest.raises(fullconv.RefusedError, match="training=True is its default"):
        fullconv.convert(network(lambda m, x: F.dropout(x), nothing), 8)


def test_names_that_are_taken():
    model = network(SPELLINGS["F.dropout"], SPELLINGS["F.dropout"])
    model.dropout_1, model.block.dropout = nn.Identity(), nn.Identity()
    model.register_buffer("dropout_1_", torch.zeros(1))
    fcn = fullconv.convert(model, 8)
    assert set(fcn.state_dict()) == set(model.state_dict())
    assert type(fcn.get_submodule("dropout_1")) is nn.Identity
    assert on_and_off(fcn.train(), noise(1, 1, 8, 8))[1]


class DropPath(nn.Module):
    """As in timm: in inference mode nothing of it is left to trace."""

    def __init__(self, drop_prob, scale_by_keep=True) -> None:
        super().__init__()
        self.drop_prob, self.scale_by_keep = drop_prob, scale_by_keep

    def forward(self, x):
        if not self.training:
            return x
        kept = x.new_empty(len(x), 1, 1, 1).bernoulli_(1 - self.drop_prob)
        return x * (kept / (1 - self.drop_prob) if self.scale_by_keep else kept)


DropPath.__module__ = "timm.layers.drop"


@pytest.mark.parametrize("scale", [True, False])
def test_stochastic_depth(scale, tmp_path):
    model = network(lambda m, x: x + m.path(m.again(x)), nothing)
    model.block.path = DropPath(0.5, scale)
    model.block.again = nn.Conv2d(6, 6, 1, dtype=torch.float64)
    alone, fcn = copy.deepcopy(model).train(), fullconv.convert(model, 8)
    fullconv.save(fcn, tmp_path / "net.safetensors")
    x = noise(6, 1, 8, 8)
    for net in (fcn, copy.deepcopy(fcn), fullconv.load(tmp_path / "net.safetensors")):
        assert not on_and_off(net, x)[1]
        torch.manual_seed(2)
        theirs = alone(x)
        torch.manual_seed(2)
        torch.testing.assert_close(net.train()(x).flatten(1), theirs, rtol=1e-11, atol=1e-11)
        net.block.eval()
        assert not on_and_off(net, x)[1]
    assert type(model.block.path) is DropPath


def test_stochastic_depth_of_everything_and_of_batches():
    x = noise(64, 2, 3)
    assert not StochasticDepth(1.0).train()(x).any()
    assert StochasticDepth(0.0).train()(x) is x
    kept = (StochasticDepth(0.5).train()(x) / x)[:, 0, 0]
    assert set(kept.round(decimals=6).tolist()) == {0.0, 2.0}
    kept = [StochasticDepth(0.25, "batch", False).train()(x) for _ in range(40)]
    assert all(torch.equal(y, x) or not y.any() for y in kept)
    assert 20 < sum(bool(y.any()) for y in kept) < 40
