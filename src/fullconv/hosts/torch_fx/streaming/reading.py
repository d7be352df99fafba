"""From the graph of an FCN to the stages of a stream: every op by its rule, or refused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from fullconv.blueprint import (
    Combine,
    Concat,
    Convolution,
    Elementwise,
    Identity,
    Op,
    Pad,
    PerChannel,
    Pool,
    Reduce,
    Slice,
    Softmax,
)
from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.optimized.network import FORMATS, OptimizedFCN, full_precision
from fullconv.hosts.torch_fx.read import described
from fullconv.hosts.torch_fx.streaming import moves, surveys, sweeps, vectors
from fullconv.hosts.torch_fx.streaming.inplace import Aliases
from fullconv.hosts.torch_fx.streaming.worker import Reading, Run, Worker, cell_by_cell, evaluated
from fullconv.streams.course import Course, Stage
from fullconv.streams.reach import Nearest, Swept

_CELL_BY_CELL = (
    runtime.layer_norm,
    runtime.rms_norm,
    runtime.conv_channels,
    runtime.shuffle_channels,
    runtime.reduce_part,
    runtime.softmax_part,
    full_precision,
)
"""What an FCN calls that works among the channels of every cell."""

CASTS = ("float", "half", "double", "to", "type", "type_as", "pos")
"""Functions that may return their input itself."""

CALLS: dict[Any, Callable[[fx.Node, Reading], Worker]] = {
    **dict.fromkeys(_CELL_BY_CELL, cell_by_cell),
    **sweeps.CALLS,
    **moves.CALLS,
    **surveys.CALLS,
    runtime.from_vectors: vectors.from_vectors,
}
"""Every function of an FCN's own that is streamed, and how."""


@dataclass(frozen=True)
class Streamed:
    """An FCN in stages: what they need of each other, and how each is computed.

    Attributes:
        fcn: the network.
        course: its stages.
        workers: by the names of the stages; the image has none.
        sources: for every worker the stages that it is given, in order.
        samples: an empty tensor `(phases, channels, 0, …)` of every stage's kind, for one image.
    """

    fcn: FCN
    course: Course
    workers: dict[str, Worker]
    sources: dict[str, tuple[str, ...]]
    samples: dict[str, Tensor]

    def in_place(self, name: str, readers: Mapping[str, tuple[Stage, ...]]) -> Run | None:
        """How a stage is computed in its input's place, where nobody else reads that; or None."""
        worker = self.workers[name]
        source = self.sources[name][0]
        made = self.workers.get(source)
        alone = len(readers[source]) == 1 and source not in self.course.answers
        return worker.in_place if made is not None and made.fresh and alone else None

    def sample(self, name: str, images: int) -> Tensor:
        """The sample of a stage, for several images."""
        return self.samples[name].repeat_interleave(images, dim=0)


def streamed(fcn: FCN) -> Streamed:
    """The stages of an FCN. Nothing is computed but what no image changes.

    Raises RefusedError where an op sees the whole image, or nobody has said what it needs.
    """
    graph: fx.Graph = fcn.graph
    if fcn.plan.contexts and fcn.plan.context == "image":
        count, more = len(fcn.plan.contexts), ""
        if count > 1:
            more = f"So do {count - 1} others. " if count > 2 else "So does another one. "
        hint = more + surveys.HINT
        raise RefusedError(surveys.WHOLE, where=fcn.plan.contexts[0].where, hint=hint)
    values, macs = _at_the_window(fcn)
    maps = _depending(graph)
    reading = Reading(fcn, len(fcn.window), fcn.plan.channels, _fixed(fcn, maps), maps, values)
    aliases, inner = Aliases(graph, fcn, values), vectors.inner_nodes(graph, maps)
    stages: list[Stage] = []
    workers: dict[str, Worker] = {}
    sources: dict[str, tuple[str, ...]] = {}
    samples: dict[str, Tensor] = {}
    refusals: list[RefusedError] = []
    for node in graph.nodes:
        if node not in maps or node in inner or node.op == "output":
            continue
        if node.target is runtime.check_image:
            continue  # the image itself, see `Aliases.now`
        if not isinstance(values[node], Tensor):
            continue  # lists of maps are read where their pieces are
        cell = _bytes(values[node])
        samples[node.name] = _sample(values[node], fcn)
        if node.op == "placeholder":
            stages.append(Stage(node.name, cell=cell, where="the image"))
            continue
        try:
            worker = _worker(node, reading)
            now = {source: aliases.now(source, node) for source in (*worker.maps, *worker.others)}
        except RefusedError as refusal:
            where = str(node.meta.get("where", node.name))
            refusals.append(
                RefusedError(refusal.what, where=where, why=refusal.why, hint=refusal.hint)
            )
            continue
        for name, part in _in_turn(node.name, worker):
            last = name == node.name
            given = (
                (f"{name}.before",)
                if part.before is not None
                else tuple(now[source].name for source in part.maps)
            )
            more = tuple(now[source].name for source in part.others)
            workers[name], sources[name] = part, given
            if not last:
                samples[name] = samples[now[part.maps[0]].name]
            stages.append(
                Stage(
                    name,
                    (*given, *more),
                    part.reaches,
                    part.limits,
                    cell if last else _bytes(values[part.maps[0]]),
                    macs.get(node, 0.0) / prod(values[node].shape[2:]) if last else 0.0,
                    *_beside(values[node], part, fcn),
                    pads=part.pads,
                    where=str(node.meta.get("where", node.name)),
                )
            )
    if refusals:
        raise RefusedError.merge(refusals, "streamed")
    output = graph.output_node()
    answers = tuple(aliases.now(source, output).name for source in output.all_input_nodes)
    return Streamed(fcn, _living(Course(tuple(stages), answers)), workers, sources, samples)


def _worker(node: fx.Node, reading: Reading) -> Worker:
    """The worker of a node that depends on the image. Raises RefusedError."""
    source: Any = node.args[0] if node.args else None
    if node.target is operator.getitem and isinstance(source, fx.Node):
        if source.target is runtime.common:
            return moves.common(node, source, reading)
        if not isinstance(reading.values[source], Tensor):
            return _piece(node, source, reading)
    if node.target in CALLS:
        return CALLS[node.target](node, reading)
    if node.target is F.normalize and 1 in reading.arguments(node, ("input", "p", "dim"))[2:]:
        return cell_by_cell(node, reading)
    if node.op == "call_module":
        kind = type(reading.tree.get_submodule(str(node.target)))
        if kind in sweeps.MODULES:
            return sweeps.MODULES[kind](node, reading)
        if kind is runtime.StochasticDepth:
            return cell_by_cell(node, reading)
    op, _ = described(node, reading.tree)
    return _by_op(node, op, reading)


def _by_op(node: fx.Node, op: Op, reading: Reading) -> Worker:
    """The worker of a node of PyTorch's own, by what it computes."""
    if isinstance(op, Convolution):
        return sweeps.convolution(node, op, reading)
    if isinstance(op, Pool):
        return sweeps.pool(reading.map_inputs(node), op)
    if isinstance(op, Pad):
        return moves.padding(node, op, reading)
    if isinstance(op, Slice):
        return moves.sliced(node, op, reading)
    among = (
        isinstance(op, Elementwise | PerChannel | Combine | Identity)
        or (isinstance(op, Softmax | Concat) and op.axis == 1)
        or (isinstance(op, Reduce) and op.axes == (1,) and op.keepdim)
    )
    if among:
        views = isinstance(op, Identity) or getattr(op, "name", "") in CASTS
        return cell_by_cell(node, reading, fresh=not views)
    raise RefusedError(
        f"{op or type(op).__name__} is not streamed: it is not known which cells it needs.",
        hint="Scan the image as a whole: fcn(image).",
    )


def _piece(node: fx.Node, source: fx.Node, reading: Reading) -> Worker:
    """One of the pieces a map's channels are cut into."""
    op, _ = described(node, reading.tree)
    if not isinstance(op, Slice) or any(entry != (0, None, 1) for entry in op.ranges[2:]):
        raise RefusedError("it cuts the map into pieces along space.")
    cut, index = evaluated(source, reading), node.args[1]

    def run(pieces: Any, places: Any, pads: Any) -> Tensor:
        return cut(pieces, places, pads)[index]  # type: ignore[index]

    return Worker(run, reading.map_inputs(source), reading.same())


def _in_turn(name: str, worker: Worker) -> Iterator[tuple[str, Worker]]:
    if worker.before is not None:
        yield f"{name}.before", worker.before
    yield name, worker


def _depending(graph: fx.Graph) -> frozenset[fx.Node]:
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


def _at_the_window(fcn: FCN) -> tuple[dict[fx.Node, Any], dict[fx.Node, float]]:
    """What every node gives for one window, without numbers, and its multiply-accumulates."""
    first = next((t for t in fcn.parameters()), torch.empty(0))
    dtype = fcn.optimization.dtype if isinstance(fcn, OptimizedFCN) else first.dtype
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        image = torch.empty(1, fcn.plan.channels, *fcn.window, dtype=dtype, device=first.device)
        recording = _Recording(fcn)
        recording.run(image)
    return recording.values, recording.macs


def _fixed(fcn: FCN, maps: frozenset[fx.Node]) -> dict[fx.Node, Any]:
    """The values of the nodes that no image changes."""
    runner = fx.Interpreter(fcn)
    found: dict[fx.Node, Any] = {}
    runner.env = found
    with torch.inference_mode():
        for node in fcn.graph.nodes:
            if node not in maps and node.op != "output":
                found[node] = runner.run_node(node)
    return found


def _sample(value: Tensor, fcn: FCN) -> Tensor:
    device = next((t.device for t in fcn.parameters()), torch.device("cpu"))
    shape = (*value.shape[:2], *(0 for _ in value.shape[2:]))
    layout = FORMATS.get(len(fcn.window)) if isinstance(fcn, OptimizedFCN) else None
    form = layout or torch.contiguous_format
    return torch.empty(shape, dtype=value.dtype, device=device, memory_format=form)


def _bytes(value: Tensor) -> int:
    """Bytes of a cell, for one image."""
    return prod(value.shape[:2]) * value.element_size()


def _beside(value: Tensor, worker: Worker, fcn: FCN) -> tuple[int, int]:
    """Bytes that a stage takes beside what it reads and makes: in all, and per cell.

    oneDNN puts the weights of a convolution into an order of its own, and a map that is not
    channels last too; float64 goes without it, as a matrix product over columns.
    """
    weight, cell = worker.weight, _bytes(value)
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


def _living(course: Course) -> Course:
    """The course without stages that no answer needs."""
    needed = set(course.answers)
    for stage in reversed(course.stages):
        if stage.name in needed:
            needed.update(stage.inputs)
    kept = tuple(s for s in course.stages if s.name in needed or s is course.image)
    return Course(kept, course.answers)
