"""The time of a step: really measured, in turn."""

import time

import pytest
import torch
from torch import nn

from fullconv.errors import FullconvError
from fullconv.study.steps import LEAST, step_times
from fullconv.training import Recipe
from learnable import network, samples


class Counted(nn.Module):
    """Counts its steps, and sleeps in each."""

    def __init__(self, forward: float, backward: float, order: list) -> None:
        super().__init__()
        self.net, self.waits, self.order = network(), (forward, backward), order

    def forward(self, x):
        assert self.training
        self.order.append(id(self))
        time.sleep(self.waits[0])
        scores = self.net(x)
        scores.register_hook(lambda gradient: time.sleep(self.waits[1]))
        return scores


def test_forward_and_backward_are_measured_apart_and_in_turn():
    order: list = []
    networks = {"fc": Counted(0.01, 0.02, order), "gap": Counted(0.02, 0.05, order)}
    before = torch.get_num_threads()
    found = step_times(networks, samples(), Recipe(batch=20), budget=0.0)
    assert list(found) == ["fc", "gap"]
    assert found["fc"].forward >= 10
    assert found["fc"].backward >= 20
    assert found["gap"].forward >= 20
    assert found["gap"].backward >= 50
    assert found["fc"].ratio == 1
    assert found["gap"].ratio > 1
    assert (found["gap"].rounds, found["gap"].batch) == (LEAST, 20)
    assert found["gap"].threads == before
    ids = [id(network) for network in networks.values()]
    assert order[:4] == [*ids, *reversed(ids)]
    assert len(order) == 2 * (LEAST + 2)


class Greedy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(x) + torch.empty(2**60, dtype=torch.uint8)


def test_memory_that_does_not_suffice():
    with pytest.raises(FullconvError, match="the memory does not suffice for a step of 20 images"):
        step_times({"fc": Greedy()}, samples(), Recipe(batch=20))
