"""Whole steps of training of a network whose pools stay, become convolutions, or are dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fullconv.allconv.build import all_convolutional
from fullconv.api.costs import macs
from fullconv.api.machine import written_bytes
from fullconv.api.memory import Budget
from fullconv.auditing.measuring.passes import loss_of, training_bytes
from fullconv.auditing.measuring.timing import Deadline, Say, Side, Spread, clock, in_turn
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.optimized.network import FORMATS

BATCH = 8
"""Images in a batch, where seconds and memory allow."""

LEAST_BATCH = 2
"""Batch norms need two numbers per channel in training, and a map may have one cell."""

ROUNDS = 5
AT_LEAST = 0.02

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


def steps(
    model: nn.Module, fcn: FCN, max_memory: int | None, seconds: float, say: Say | None
) -> tuple[list[Step], int, str, int]:
    """Whole steps of all variants, images of a batch, why they were not timed, and rounds."""
    deadline = Deadline(seconds)
    networks = {
        pools: all_convolutional(model, fcn.window, pools=pools, head="exact", example=_image(fcn))
        for pools in VARIANTS
    }
    shape = (fcn.plan.channels, *fcn.window)
    steps = [
        Step(pools, sum(p.numel() for p in network.parameters()), macs(network, (1, *shape)))
        for pools, network in networks.items()
    ]
    base = networks["keep"]
    device = _image(fcn).device
    with torch.inference_mode():
        base(_image(fcn))
        once = clock(lambda: base(_image(fcn)), device)
    work = STEP_WORK * once * sum(step.macs for step in steps) / max(1, steps[0].macs)
    budget = Budget(fcn, max_memory)
    weights = sum(p.numel() * p.element_size() for n in networks.values() for p in n.parameters())
    batch = BATCH
    # A warm-up and a round of each.
    while batch > LEAST_BATCH and 2 * batch * work > deadline.left:
        batch //= 2
    needed = 0
    while True:
        alive = max(training_bytes(n, (batch, *shape)).peak for n in networks.values())
        needed = budget.with_allocator(alive) + (weights if max_memory is not None else 0)
        if needed <= budget.limit or batch == LEAST_BATCH:
            break
        batch //= 2
    if needed > budget.limit:
        left = "allowed" if max_memory is not None else "free"
        problem = (
            f"a batch of {batch} needs {written_bytes(needed)} of memory, and "
            f"{written_bytes(budget.limit)} is {left}"
        )
        return steps, batch, problem, 0
    if 2 * batch * work > 2 * deadline.left:
        return steps, batch, f"they would take about {2 * batch * work:.0f} s here", 0
    images = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0)).to(_image(fcn))
    images = laid_out(images)
    sides = {}
    for pools, network in networks.items():
        network.train()
        for parameter in network.parameters():
            parameter.data = laid_out(parameter.data)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
        sides[pools] = Side(_step(network, optimizer, images))
    found = in_turn(
        sides, ROUNDS, device, at_least=AT_LEAST, seconds=deadline.left, title="a step, pools",
        say=say,
    )  # fmt: skip
    timed = [
        Step(
            step.pools, step.parameters, step.macs, found.of(step.pools),
            found.ratio(step.pools, "keep"),
        )
        for step in steps
    ]  # fmt: skip
    return timed, batch, "", found.rounds("keep")


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
