"""Whole steps of training of a network whose pools stay, become convolutions, or are dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fullconv.allconv.build import all_convolutional
from fullconv.api.costs import macs
from fullconv.api.machine import written_bytes
from fullconv.api.memory import Budget
from fullconv.auditing.measuring.noise import drawn
from fullconv.auditing.measuring.passes import loss_of, trainable, training_bytes
from fullconv.auditing.measuring.timing import (
    AT_LEAST,
    ROUNDS,
    Deadline,
    Say,
    Side,
    Spread,
    Times,
    clock,
    in_turn,
)
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.optimized.network import FORMATS

BATCH = 8
"""Images in a batch, where seconds and memory allow."""

LEAST_BATCH = 2
"""Batch norms need two numbers per channel in training, and a map may have one cell."""


VARIANTS = ("keep", "conv", "strided")
"""What becomes of pools in the networks whose steps are compared; see `all_convolutional`."""

STEP_WORK = 4
"""A whole step takes about as long as so many passes forward."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of training of a whole network: forward, backward, and plain SGD.

    Attributes:
        pools: what became of the pools: "keep", "conv" or "strided".
        parameters, macs: of the network; MACs for one image at the window.
        seconds: of a step; None where it was not timed.
        ratio: to the step with pools kept, of the same round.
    """

    pools: str
    parameters: int
    macs: int
    seconds: Spread | None = None
    ratio: Spread | None = None


@dataclass(frozen=True, slots=True)
class Steps:
    """Whole steps of all variants.

    Attributes:
        rows: by what became of the pools; none where the networks do not fit the memory.
        batch: images of a step.
        problem: why they were not timed.
        rounds: how many numbers seconds are medians of, at most.
    """

    rows: tuple[Step, ...] = ()
    batch: int = 0
    problem: str = ""
    rounds: int = 0


def steps(
    model: nn.Module, fcn: FCN, max_memory: int | None, seconds: float, say: Say | None
) -> Steps:
    """Time whole steps of all variants, each with parameters of its own.

    What they hold is compared with the memory before any is made.

    Raises RefusedError for a network whose pools cannot be replaced.
    """
    deadline = Deadline(seconds)
    budget = Budget(fcn, max_memory)
    shape = (fcn.plan.channels, *fcn.window)
    held = len(VARIANTS) * sum(p.numel() * p.element_size() for p in fcn.parameters())
    needed = held + _needed(budget, [trainable(fcn)], LEAST_BATCH, shape)
    if needed > budget.limit:
        return Steps((), LEAST_BATCH, _too_much(LEAST_BATCH, needed, budget, max_memory))
    networks = {
        pools: all_convolutional(model, fcn.window, pools=pools, head="exact", example=_image(fcn))
        for pools in VARIANTS
    }
    rows = tuple(
        Step(pools, sum(p.numel() for p in network.parameters()), macs(network, (1, *shape)))
        for pools, network in networks.items()
    )
    held = sum(p.numel() * p.element_size() for n in networks.values() for p in n.parameters())
    work = _seconds(fcn, networks["keep"]) * sum(row.macs for row in rows) / max(1, rows[0].macs)
    batch = BATCH
    # A warm-up and a round of each.
    while batch > LEAST_BATCH and 2 * batch * work > deadline.left:
        batch //= 2
    while (needed := held + _needed(budget, networks.values(), batch, shape)) > budget.limit:
        if batch == LEAST_BATCH:
            return Steps(rows, batch, _too_much(batch, needed, budget, max_memory))
        batch //= 2
    if batch * work > deadline.left:
        return Steps(rows, batch, f"they would take about {2 * batch * work:.0f} s here")
    found = _timed(networks, fcn, batch, deadline, say)
    timed = tuple(
        replace(row, seconds=found.of(row.pools), ratio=found.ratio(row.pools, "keep"))
        for row in rows
    )
    return Steps(timed, batch, "", found.rounds("keep"))


def _needed(
    budget: Budget, networks: Iterable[nn.Module], batch: int, shape: tuple[int, ...]
) -> int:
    """Bytes of the step that takes most, beside the weights."""
    return budget.with_allocator(max(training_bytes(n, (batch, *shape)).peak for n in networks))


def _too_much(batch: int, needed: int, budget: Budget, max_memory: int | None) -> str:
    left = "allowed" if max_memory is not None else "free"
    return (
        f"a batch of {batch} needs {written_bytes(needed)} of memory, with the weights of "
        f"{len(VARIANTS)} networks, and {written_bytes(budget.limit)} is {left}"
    )


def _seconds(fcn: FCN, network: nn.Module) -> float:
    """About what a step of a network takes, for one image."""
    image = _image(fcn)
    with torch.inference_mode():
        network(image)  # prepares kernels
        return STEP_WORK * clock(lambda: network(image), image.device)


def _timed(
    networks: Mapping[str, nn.Module], fcn: FCN, batch: int, deadline: Deadline, say: Say | None
) -> Times:
    like = _image(fcn)
    images = laid_out(drawn((batch, *like.shape[1:]), like))
    sides = {}
    for pools, network in networks.items():
        network.train()
        for parameter in network.parameters():
            parameter.data = laid_out(parameter.data)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
        sides[pools] = Side(_step(network, optimizer, images))
    return in_turn(
        sides, ROUNDS, like.device, at_least=AT_LEAST, seconds=deadline.left,
        title="a step, pools", say=say,
    )  # fmt: skip


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor
) -> Callable[[int], None]:
    def run(_: int) -> None:
        with torch.inference_mode(False), torch.enable_grad():
            loss_of(network, images).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()  # the next network's gradients need the memory

    return run


def _image(fcn: FCN) -> Tensor:
    """One image of zeros at the window, `(1, C, *window)`."""
    like = next(fcn.parameters(), torch.empty(0))
    return torch.zeros(1, fcn.plan.channels, *fcn.window).to(like)


def laid_out(x: Tensor) -> Tensor:
    """The tensor with its channels last, where PyTorch has such a layout."""
    layout = FORMATS.get(x.ndim - 2)
    return x if layout is None else x.contiguous(memory_format=layout)
