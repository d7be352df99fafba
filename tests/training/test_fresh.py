"""New random weights for all layers."""

import pytest
import torch
from torch import nn

from fullconv.errors import RefusedError
from fullconv.training import start_afresh
from learnable import network


def states(*networks):
    return [torch.cat([p.flatten() for p in net.parameters()]) for net in networks]


def test_the_seed_alone_decides():
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    one, again, other = (start_afresh(network(), seed) for seed in (1, 1, 2))
    a, b, c = states(one, again, other)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    torch.manual_seed(5)
    start_afresh(one, 3)
    assert torch.equal(torch.rand(1), before)  # the caller's numbers are left alone


def test_statistics_of_batch_norms_go_too():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    net.train()(torch.randn(4, 1, 5, 5))
    start_afresh(net, 0)
    assert net[1].running_mean.tolist() == [0, 0]


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(2))


class Own(Scaled):
    def reset_parameters(self):
        nn.init.constant_(self.layer.weight, 3)
        nn.init.constant_(self.scale, 7)


def test_parameters_that_no_module_would_reset_are_refused_by_name():
    with pytest.raises(RefusedError) as error:
        start_afresh(nn.Sequential(nn.Linear(2, 2), Scaled()), 0)
    assert str(error.value) == (
        "1 parameters cannot be given new random values:\n- 1.scale\n"
        "The modules that hold them have no method reset_parameters, and they would keep what they "
        "learned. Give these modules, or the network, a method reset_parameters() that sets them."
    )
    assert error.value.exit_code == 4


def test_a_network_that_sets_its_own_has_the_last_word():
    net = start_afresh(Own(), 0)
    assert net.layer.weight.unique().tolist() == [3]
    assert net.scale.tolist() == [7, 7]
    assert net.layer.bias.abs().max() > 0
