"""A graph at its window, without numbers: which nodes an image changes, and what each one takes."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.optimized.network import FORMATS, OptimizedFCN
from fullconv.hosts.torch_fx.streaming.worker import Worker
from fullconv.streams.reach import Nearest, Swept


def depending(graph: fx.Graph) -> frozenset[fx.Node]:
    """The nodes that an image changes."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or found & set(node.all_input_nodes):
            found.add(node)
    return frozenset(found)


class _Recording(fx.Interpreter):
    """Runs a graph and keeps what every node gave, and how many multiplications that took."""

    def __init__(self, fcn: FCN) -> None:
        super().__init__(fcn)
        self.values: dict[fx.Node, Any] = {}
        self.macs: dict[fx.Node, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        """One node."""
        with FlopCounterMode(display=False) as counter:
            value = self.values[n] = super().run_node(n)
        self.macs[n] = counter.get_total_flops() / 2
        n.meta.setdefault("value", value)
        return value


def at_the_window(fcn: FCN) -> tuple[dict[fx.Node, Any], dict[fx.Node, float]]:
    """What every node gives for one window, without numbers, and its multiply-accumulates."""
    first = next((t for t in fcn.parameters()), torch.empty(0))
    dtype = fcn.optimization.dtype if isinstance(fcn, OptimizedFCN) else first.dtype
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        image = torch.empty(1, fcn.plan.channels, *fcn.window, dtype=dtype, device=first.device)
        recording = _Recording(fcn)
        recording.args_iter = iter((image,))
        # Not `run`: its progress bar holds a lock that processes made by a fork share.
        for node in fcn.graph.nodes:
            recording.env[node] = recording.run_node(node)
    return recording.values, recording.macs


def fixed(fcn: FCN, maps: frozenset[fx.Node]) -> dict[fx.Node, Any]:
    """The values of the nodes that no image changes."""
    runner = fx.Interpreter(fcn)
    found: dict[fx.Node, Any] = {}
    runner.env = found
    with torch.inference_mode():
        for node in fcn.graph.nodes:
            if node not in maps and node.op != "output":
                found[node] = runner.run_node(node)
    return found


def sample(value: Tensor, fcn: FCN) -> Tensor:
    """An empty tensor `(phases, channels, 0, …)` like `value`, where and how the FCN keeps maps."""
    device = next((t.device for t in fcn.parameters()), torch.device("cpu"))
    shape = (*value.shape[:2], *(0 for _ in value.shape[2:]))
    layout = FORMATS.get(len(fcn.window)) if isinstance(fcn, OptimizedFCN) else None
    form = layout or torch.contiguous_format
    return torch.empty(shape, dtype=value.dtype, device=device, memory_format=form)


def bytes_of(value: Tensor) -> int:
    """Bytes of a cell, for one image."""
    return prod(value.shape[:2]) * value.element_size()


def beside(value: Tensor, worker: Worker, fcn: FCN) -> tuple[int, int]:
    """Bytes that a stage takes beside what it reads and makes: in all, and per cell.

    oneDNN puts the weights of a convolution into an order of its own, and a map that is not
    channels last too; float64 goes without it, as a matrix product over columns.
    """
    weight, cell = worker.weight, bytes_of(value)
    if any(isinstance(reach, Nearest) for reach in worker.reaches):
        return 0, 4 * max(cell, 8 * int(value.shape[1]))  # moments, and indices into them
    if weight is None or value.device.type != "cpu":
        return 0, 0
    kernel, steps = weight.shape[2:], 1
    for reach in worker.reaches:
        steps *= reach.sweep.stride if isinstance(reach, Swept) else 1
    if value.dtype == torch.float64:
        columns = prod(kernel) * weight.shape[1] * value.element_size()
        return 0, columns * value.shape[0] + cell
    size = weight.numel() * weight.element_size()
    last = isinstance(fcn, OptimizedFCN) and len(kernel) in FORMATS
    return size, 0 if last else max(cell, steps * cell)
