"""Training: a plain loop over batches that goes on where it was stopped, bit for bit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullconv.training.answers import logits_of
from fullconv.training.batches import check_shift, epoch_batches, steps_of
from fullconv.training.failures import Diverged, failures_told
from fullconv.training.recipe import Recipe
from fullconv.training.samples import Samples
from fullconv.training.state import Epoch, load_state, save_state

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From images `(n, C, H, W)`, the network's logits `(n, K)` and labels `(n,)` to one number."""

LOOKS = 20
"""Steps after which the loss is looked at: on a GPU, a look waits for the work to be done."""


def cross_entropy(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over the batch; images do not matter."""
    return F.cross_entropy(logits, labels)


def train(
    network: nn.Module,
    samples: Samples,
    recipe: Recipe,
    *,
    loss: Loss = cross_entropy,
    probabilities: bool = False,
    state: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    note: Callable[[Epoch], object] | None = None,
) -> tuple[Epoch, ...]:
    """Train a network in place, from the weights it has; it comes back in inference mode.

    Args:
        network: `(N, C, H, W)` to scores `(N, K)`, or to probabilities where `probabilities`. It
            is trained on the device it is on, in the type of its parameters.
        samples: the images, with a label below K for each.
        recipe: how.
        loss: what is made small.
        probabilities: whether the network itself ends in a softmax or a logistic function.
        state: a file that keeps where the training stands after every epoch. If it is there the
            training goes on from it: on a CPU to the same weights, bit for bit, for as many
            threads, as if it had not been stopped, because the random numbers of an epoch follow
            from the seed and its number.
        about: what the result depends on beside the recipe, such as the images, in values that
            JSON has: a `state` with others is refused.
        note: told every epoch when it is done; those in `state` first.

    Returns every epoch. Raises Diverged where the loss is no longer a number, InputError for images
    that cannot be shifted so far, and for a `state` that is damaged or of another training, and
    FullconvError where the memory does not suffice or the network raises an error of its own.
    """
    check_shift(samples, recipe)
    device = next(network.parameters(), torch.empty(0)).device
    samples = samples.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, recipe)
    settings = {**recipe.to_dict(), **(about or {})}
    kept = None if state is None else Path(state)
    epochs = () if kept is None else load_state(kept, network, optimizer, settings)
    for epoch in epochs:
        if note is not None:
            note(epoch)
    trained = _Training(network, samples, recipe, loss, probabilities, optimizer)
    with _own_random_numbers(device):
        for number in range(len(epochs) + 1, recipe.epochs + 1):
            epochs = (*epochs, trained.epoch(number))
            if kept is not None:
                last = number == recipe.epochs
                save_state(kept, network, None if last else optimizer, epochs, settings)
            if note is not None:
                note(epochs[-1])
    network.eval()
    return epochs


class _Training:
    """What every step needs."""

    def __init__(
        self,
        network: nn.Module,
        samples: Samples,
        recipe: Recipe,
        loss: Loss,
        probabilities: bool,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._network, self._samples, self._recipe = network, samples, recipe
        self._loss, self._probabilities, self._optimizer = loss, probabilities, optimizer
        self._steps = steps_of(samples, recipe)
        self._dtype = next(network.parameters(), torch.empty(0)).dtype

    def epoch(self, number: int) -> Epoch:
        """One pass over the images, from 1. Raises Diverged."""
        started = time.perf_counter()
        random = np.random.default_rng((self._recipe.seed, number))
        torch.manual_seed(int(random.integers(2**63)))  # for dropout
        self._network.train()
        device = self._samples.pixels.device
        losses = torch.zeros((), dtype=torch.float64, device=device)
        wrong = torch.zeros((), dtype=torch.int64, device=device)
        for index, (images, labels) in enumerate(
            epoch_batches(self._samples, self._recipe, random)
        ):
            step = (number - 1) * self._steps + index
            value, logits = self._step(step, images, labels)
            losses += value
            wrong += (logits.argmax(1) != labels).sum()
            if (index + 1) % LOOKS == 0 or index + 1 == self._steps:
                self._check(losses, step)
        return Epoch(
            number,
            float(losses) / self._steps,
            100 * int(wrong) / len(self._samples),
            time.perf_counter() - started,
        )

    def _step(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        recipe = self._recipe
        rate = recipe.rate_at(step, recipe.epochs * self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        images = images.to(self._dtype)
        with failures_told(len(images)):
            with autocast(images.device, recipe):
                answer = self._network(images)
            logits = logits_of(answer, probabilities=self._probabilities)
            value = self._loss(images, logits, labels)
            self._optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(self._network.parameters(), recipe.clip)
        self._optimizer.step()
        return value.detach(), logits.detach()

    def _check(self, losses: Tensor, step: int) -> None:
        if bool(torch.isfinite(losses)):
            return
        recipe = self._recipe
        raise Diverged(
            f"the loss is no longer a number by step {step + 1:,} of "
            f"{recipe.epochs * self._steps:,}.",
            why=f"The learning rate rises to {recipe.rate:g}"
            + (", and the gradient is not clipped." if recipe.clip is None else "."),
            hint="Lower it (--rate, rate=)."
            if recipe.clip is not None
            else "Lower it (--rate, rate=), or clip the gradient (clip=1.0).",
        )


def autocast(device: torch.device, recipe: Recipe) -> torch.autocast:
    """The type that a recipe asks for, for convolutions and products."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.dtype == "bfloat16")


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=recipe.rate,
        momentum=recipe.momentum,
        weight_decay=recipe.decay,
        nesterov=recipe.momentum > 0,
    )


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside leaves the generators of the caller as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
