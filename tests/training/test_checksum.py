"""Whether a network is the one that a training began with."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fullconv
from fullconv.errors import RefusedError
from fullconv.training import digest
from learnable import network


class Net(nn.Module):
    """The same layers whatever `forward` does with them."""

    def __init__(self, act=F.relu, pooled=2, scale=1.0, weighted=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 64, 3)
        self.steps = act, pooled, scale, weighted

    def forward(self, x):
        act, pooled, scale, weighted = self.steps
        x = F.max_pool2d(act(self.conv(x)), pooled) * scale
        if weighted is not None:
            x = x * torch.full((4, 1, 1), weighted)
        return self.fc(x.flatten(1))


def of(model, weights=False):
    return digest(model, 16, weights=weights)


def test_a_network_made_again_is_the_same():
    assert of(Net(), True) == of(Net(), True)
    assert of(Net().train()) == of(Net().eval())
    assert of(Net(weighted=0.5)) == of(Net(weighted=0.5))


def test_another_forward_with_the_same_layers_is_another_network():
    nets = [Net(), Net(F.gelu), Net(torch.tanh), Net(scale=2.0), Net(weighted=1.0),
            Net(weighted=0.5)]  # fmt: skip
    assert str(nets[0]) == str(nets[1])
    assert len({of(net) for net in nets}) == len(nets)


def test_weights_count_where_they_are_asked_for():
    one, other = Net(), Net()
    nn.init.zeros_(other.fc.bias)
    assert of(one) == of(other)
    assert of(one, True) != of(other, True)


def test_variants_have_one_too():
    made = fullconv.all_convolutional(network(), 16)
    assert of(made, True) == of(made, True) != of(network(), True)


def test_what_cannot_be_traced():
    class Branching(Net):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    with pytest.raises(RefusedError):
        of(Branching())
