"""How long a step of training takes, forward and backward: all variants in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fullconv.study.value import StepTime
from fullconv.training.answers import logits_of
from fullconv.training.batches import epoch_batches
from fullconv.training.failures import failures_told
from fullconv.training.loop import autocast
from fullconv.training.recipe import Recipe
from fullconv.training.samples import Samples

WARM = 2  # rounds that are not counted
LEAST, MOST = 7, 31  # rounds that are
BUDGET = 60.0  # seconds for all of them, unless that is less than LEAST rounds


def step_times(
    networks: Mapping[str, nn.Module],
    samples: Samples,
    recipe: Recipe,
    *,
    probabilities: bool = False,
    budget: float = BUDGET,
) -> dict[str, StepTime]:
    """The time of a step of every network, with the threads PyTorch has now.

    A step is timed on one batch of the training images, in training mode, in the type of the
    recipe: forward with the loss, then backward; without the step of the optimiser. In every round
    each network is timed once, every other round backwards, so that a slow spell of the machine
    hits all of them; medians over the rounds are given. The first network is the base of ratios.
    """
    images, labels = next(epoch_batches(samples, recipe, np.random.default_rng(0)))
    device = next(next(iter(networks.values())).parameters()).device
    images, labels = images.to(device), labels.to(device)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in networks}
    for network in networks.values():
        network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    def step(network: nn.Module) -> tuple[float, float]:
        network.zero_grad()
        with failures_told(len(images)):
            begin = clock()
            with autocast(device, recipe):
                answer = network(images)
            loss = F.cross_entropy(logits_of(answer, probabilities=probabilities), labels)
            middle = clock()
            loss.backward()  # type: ignore[no-untyped-call]
            return middle - begin, clock() - middle

    started, rounds = clock(), -WARM
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        while rounds < LEAST or (rounds < MOST and clock() - started < budget):
            for name in list(networks)[:: -1 if rounds % 2 else 1]:
                took = step(networks[name])
                if rounds >= 0:
                    seconds[name].append(took)
            rounds += 1
    base = [sum(took) for took in next(iter(seconds.values()))]
    return {name: _median(took, base, rounds, len(images)) for name, took in seconds.items()}


def _median(
    took: list[tuple[float, float]], base: list[float], rounds: int, batch: int
) -> StepTime:
    forward, backward = (1000 * statistics.median(part) for part in zip(*took, strict=True))
    ratios = [sum(own) / whole for own, whole in zip(took, base, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return StepTime(
        forward,
        backward,
        middle,
        low,
        high,
        rounds,
        batch,
        torch.get_num_threads(),
    )
