"""Pools against the strided convolutions that would replace them, and a whole step of training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from fullconv.allconv.counts import CONVS
from fullconv.allconv.layers import PADS
from fullconv.allconv.surroundings import behind
from fullconv.auditing.costs.steps import BATCH, Step, Steps, laid_out
from fullconv.auditing.costs.steps import steps as steps_of
from fullconv.auditing.measuring.contention import since_now
from fullconv.auditing.measuring.noise import drawn
from fullconv.auditing.measuring.timing import (
    AT_LEAST,
    ROUNDS,
    Deadline,
    Say,
    Side,
    Spread,
    in_turn,
)
from fullconv.blueprint import Node, Pool
from fullconv.errors import RefusedError
from fullconv.geometry import Sweep
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.read import Reading

POOLS_SHARE = 0.4
"""Of the seconds, for the pools by themselves; the rest is for whole steps."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """One pool and the convolution with its kernel, stride and padding, on a batch at the window.

    Attributes:
        where: the pool, for people.
        what: its kind, kernel and stride.
        channels: of the map.
        cells: of its input and of its output, per axis.
        parameters, macs: that the convolution adds; MACs for one image.
        pool_forward, pool_backward, conv_forward, conv_backward: seconds; None where not timed.
        forward, backward: convolution ÷ pool, of the same round.
    """

    where: str
    what: str
    channels: int
    cells: tuple[tuple[int, ...], tuple[int, ...]]
    parameters: int
    macs: int
    pool_forward: Spread | None = None
    pool_backward: Spread | None = None
    conv_forward: Spread | None = None
    conv_backward: Spread | None = None
    forward: Spread | None = None
    backward: Spread | None = None


@dataclass(frozen=True, slots=True)
class Pools:
    """What pools cost, and what convolutions in their place would.

    Attributes:
        pools: those of the body, in the order of computation.
        batch: images they were timed on.
        steps: whole networks; empty where they could not be compared.
        step_batch: images of a step.
        problem: why there are no steps.
        rounds: how many numbers seconds are medians of, at most.
        waited: share of the time that threads waited for a core; None where it is not told.
        device, threads: where it ran.
    """

    pools: tuple[Replaced, ...]
    batch: int
    steps: tuple[Step, ...] = ()
    step_batch: int = 0
    problem: str = ""
    rounds: int = 0
    waited: float | None = None
    device: str = "cpu"
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable."""
        return asdict(self)


def pools_of(reading: Reading, fcn: FCN | None) -> list[Node]:
    """The pools of a body, in the order of computation; of a network without an FCN, all pools."""
    spared: frozenset[str] = frozenset()
    if fcn is not None:
        cuts = [cut.node for cut in fcn.plan.cuts]
        contexts = {context.node for context in fcn.plan.contexts}
        spared = behind(reading.blueprint, cuts) | contexts
    return [
        node
        for node in reading.blueprint.nodes
        if isinstance(node.op, Pool)
        and node.name not in spared
        and any(sweep.kernel > 1 or sweep.stride > 1 for sweep in node.op.sweeps)
    ]


def measure(
    model: nn.Module,
    reading: Reading,
    fcn: FCN | None,
    *,
    max_memory: int | None = None,
    seconds: float,
    say: Say | None = None,
) -> Pools:
    """Time every pool against its convolution, and whole steps of training.

    Args:
        model: the classifier; it is left alone.
        reading: the classifier as it was recorded.
        fcn: its FCN; None where it cannot be converted, and whole steps are left out.
        max_memory: bytes that a step may take beside the classifier; by default what is free.
        seconds: how long it may take, about.
        say: told what is being measured.
    """
    deadline, waiting = Deadline(seconds), since_now()
    first = next(model.parameters(), torch.empty(0))
    found = pools_of(reading, fcn)
    rows, rounds = [], 0
    steps = Steps()
    batch = _batch(reading, found, first, math.inf if max_memory is None else max_memory)
    # New weights and dropout draw random numbers, which are the caller's.
    with torch.random.fork_rng(devices=[first.device] if first.is_cuda else []):
        for place, node in enumerate(found):
            share = (POOLS_SHARE * seconds - (seconds - deadline.left)) / (len(found) - place)
            row, count = _replaced(reading, node, batch, first, max(0.0, share), say)
            rows.append(row)
            rounds = max(rounds, count)
        if rows and fcn is not None:
            try:
                steps = steps_of(model, fcn, max_memory, deadline.left, say)
            except RefusedError as error:
                steps = Steps(problem=str(error).replace("\n", " "))
    return Pools(
        tuple(rows),
        batch,
        steps.rows,
        steps.batch,
        steps.problem,
        max(rounds, steps.rounds),
        waiting.share(),
        first.device.type,
        torch.get_num_threads(),
    )


def _batch(reading: Reading, pools: list[Node], like: Tensor, most: float) -> int:
    """How many images fit: input, output, their gradients, and columns of a convolution."""
    batch = BATCH
    for node in pools:
        source = reading.blueprint.by_name[node.inputs[0]]
        one = 4 * math.prod(source.shape[1:]) * like.element_size()
        batch = max(1, min(batch, int(min(most / one, BATCH))))
    return batch


def _replaced(
    reading: Reading, node: Node, batch: int, like: Tensor, seconds: float, say: Say | None
) -> tuple[Replaced, int]:
    """One pool and its convolution, timed; and how many rounds that had."""
    assert isinstance(node.op, Pool)
    source = reading.blueprint.by_name[node.inputs[0]].shape[1:]
    channels, cells = source[0], node.shape[2:]
    conv = convolution(node.op, channels, like)
    weight = next(p for p in conv.parameters() if p.ndim > 1)
    row = Replaced(
        where=node.where,
        what=str(node.op),
        channels=channels,
        cells=(tuple(source[1:]), tuple(cells)),
        parameters=sum(p.numel() for p in conv.parameters()),
        macs=weight.numel() * math.prod(cells),
    )
    fx_node = next(n for n in reading.graph.nodes if n.name == node.name)
    x = laid_out(drawn((batch, *source), like))
    x.requires_grad_()
    sides: dict[str, Side] = {}
    for name, run in (("pool", _call(reading.model, fx_node)), ("conv", conv)):
        leaves = [x, *(conv.parameters() if name == "conv" else ())]
        sides |= _both_ways(name, run, x, leaves)
    found = in_turn(
        {name: sides[name] for name in sorted(sides, reverse=True)}, ROUNDS, like.device,
        at_least=AT_LEAST, seconds=seconds, title=node.where, say=say,
    )  # fmt: skip
    return (
        Replaced(
            row.where, row.what, row.channels, row.cells, row.parameters, row.macs,
            **{name: found.of(name) for name in found.seconds},
            forward=found.ratio("conv_forward", "pool_forward"),
            backward=found.ratio("conv_backward", "pool_backward"),
        ),
        found.rounds("pool_forward"),
    )  # fmt: skip


def _both_ways(
    name: str, run: Callable[[Tensor], Tensor], x: Tensor, leaves: list[Tensor]
) -> dict[str, Side]:
    """Forward as in training, and the way back from gradients of its output."""

    def forward() -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            return run(x)

    y = forward()
    gradient = torch.ones_like(y)

    def backward() -> object:
        return torch.autograd.grad(y, leaves, gradient, retain_graph=True)

    return {
        f"{name}_forward": Side(lambda _: forward()),
        f"{name}_backward": Side(lambda _: backward()),
    }


def convolution(op: Pool, channels: int, like: Tensor) -> nn.Module:
    """The convolution of all channels with the kernel, stride and padding of a pool."""
    sweeps = tuple(sweep.explicit() for sweep in op.sweeps)
    kind = CONVS[len(sweeps) - 1]
    even = all(sweep.padding[0] == sweep.padding[1] for sweep in sweeps)
    conv = kind(
        channels,
        channels,
        tuple(sweep.kernel for sweep in sweeps),
        stride=tuple(sweep.stride for sweep in sweeps),
        padding=tuple(sweep.padding[0] for sweep in sweeps) if even else 0,
        dilation=tuple(sweep.dilation for sweep in sweeps),
    )
    pad = () if even else (PADS[len(sweeps) - 1](_amounts(sweeps), 0.0),)
    made = nn.Sequential(*pad, conv).to(like)
    for parameter in made.parameters():
        parameter.data = laid_out(parameter.data)
    return made


def _amounts(sweeps: tuple[Sweep, ...]) -> tuple[int, ...]:
    """Padding as PyTorch lists it: the last axis first."""
    return tuple(amount for sweep in reversed(sweeps) for amount in sweep.padding)


def _call(model: nn.Module, node: fx.Node) -> Callable[[Tensor], Tensor]:
    """The very call that the network makes at a node, on another map."""

    def run(x: Tensor) -> Tensor:
        args = tuple(x if isinstance(one, fx.Node) else one for one in node.args)
        if node.op == "call_module":
            answer = model.get_submodule(str(node.target))(*args, **node.kwargs)
        else:
            assert callable(node.target)
            answer = node.target(*args, **node.kwargs)
        return tensors_of(answer)[0]

    return run
