"""Pools against the strided convolutions that would replace them, and a whole step of training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from fullconv.allconv.build import all_convolutional
from fullconv.allconv.tracing import behind
from fullconv.api.costs import macs
from fullconv.api.machine import written_bytes
from fullconv.api.memory import Budget
from fullconv.auditing.measuring.passes import loss_of, training_bytes
from fullconv.auditing.measuring.timing import Deadline, Say, Side, Spread, clock, in_turn
from fullconv.blueprint import Node, Pool
from fullconv.errors import RefusedError
from fullconv.geometry import Sweep
from fullconv.hosts.torch_fx.fcn import FCN, tensors_of
from fullconv.hosts.torch_fx.read import Reading

BATCH = 8
"""Images in a batch, where seconds and memory allow."""

LEAST_BATCH = 2
"""Batch norms need two numbers per channel in training, and a map may have one cell."""

ROUNDS = 5
AT_LEAST = 0.02

POOLS_SHARE = 0.4
"""Of the seconds, for the pools by themselves; the rest is for whole steps."""

VARIANTS = ("keep", "conv", "strided")
"""What becomes of pools in the networks whose steps are compared; see `all_convolutional`."""

STEP_WORK = 4
"""A whole step takes about as long as so many passes forward."""

CONVS: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PADS: tuple[Any, ...] = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the axes of a tensor: pools and convolutions of a CPU are fastest so."""


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
class Pools:
    """What pools cost, and what convolutions in their place would.

    Attributes:
        pools: those of the body, in the order of computation.
        batch: images they were timed on.
        steps: whole networks; empty where they could not be compared.
        step_batch: images of a step.
        problem: why there are no steps.
        rounds: how many numbers seconds are medians of, at most.
        device, threads: where it ran.
    """

    pools: tuple[Replaced, ...]
    batch: int
    steps: tuple[Step, ...] = ()
    step_batch: int = 0
    problem: str = ""
    rounds: int = 0
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
    deadline = Deadline(seconds)
    first = next(model.parameters(), torch.empty(0))
    found = pools_of(reading, fcn)
    rows, rounds = [], 0
    most = max_memory if max_memory is not None else math.inf
    batch = _batch(reading, found, first, most)
    for place, node in enumerate(found):
        share = (POOLS_SHARE * seconds - (seconds - deadline.left)) / (len(found) - place)
        row, count = _replaced(reading, node, batch, first, max(0.0, share), say)
        rows.append(row)
        rounds = max(rounds, count)
    steps: list[Step] = []
    step_batch, problem = 0, ""
    if rows and fcn is not None:
        try:
            steps, step_batch, problem, count = _steps(model, fcn, max_memory, deadline.left, say)
            rounds = max(rounds, count)
        except RefusedError as error:
            problem = str(error)
    return Pools(
        tuple(rows), batch, tuple(steps), step_batch, problem, rounds, first.device.type,
        torch.get_num_threads(),
    )  # fmt: skip


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
    x = _laid_out(torch.randn(batch, *source, generator=torch.Generator().manual_seed(0)).to(like))
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
        parameter.data = _laid_out(parameter.data)
    return made


def _laid_out(x: Tensor) -> Tensor:
    """The tensor with its channels last, where PyTorch has such a layout."""
    layout = LAYOUTS.get(x.ndim)
    return x if layout is None else x.contiguous(memory_format=layout)


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


def _steps(
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
    images = _laid_out(images)
    sides = {}
    for pools, network in networks.items():
        network.train()
        for parameter in network.parameters():
            parameter.data = _laid_out(parameter.data)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-6)
        sides[pools] = Side(_step(network, optimizer, images))
    state = torch.random.get_rng_state()  # dropout draws from it
    try:
        found = in_turn(
            sides, ROUNDS, device, at_least=AT_LEAST, seconds=deadline.left, title="a step, pools",
            say=say,
        )  # fmt: skip
    finally:
        torch.random.set_rng_state(state)
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
