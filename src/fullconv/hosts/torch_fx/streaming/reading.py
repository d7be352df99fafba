"""From the graph of an FCN to the stages of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from torch import Tensor, fx

from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.streaming import probe, surveys, vectors
from fullconv.hosts.torch_fx.streaming.inplace import Aliases
from fullconv.hosts.torch_fx.streaming.rules import worker_of
from fullconv.hosts.torch_fx.streaming.worker import Reading, Run, Worker
from fullconv.streams.course import Course, Stage


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
    _check_local(fcn)
    graph: fx.Graph = fcn.graph
    values, macs = probe.at_the_window(fcn)
    maps = probe.depending(graph)
    fixed = probe.fixed(fcn, maps)
    reading = Reading(fcn, len(fcn.window), fixed, maps, values)
    building = _Building(fcn, reading, macs, Aliases(graph, fcn, values))
    inner = vectors.inner_nodes(graph, maps)
    refusals: list[RefusedError] = []
    for node in graph.nodes:
        # Lists of maps are read where their pieces are, the checked image is the image itself.
        skipped = node in inner or node.op == "output" or node.target is runtime.check_image
        if node not in maps or skipped or not isinstance(values[node], Tensor):
            continue
        try:
            building.add(node)
        except RefusedError as refusal:
            where = _where(node)
            refusals.append(
                RefusedError(refusal.what, where=where, why=refusal.why, hint=refusal.hint)
            )
    if refusals:
        raise RefusedError.merge(refusals, "streamed")
    return building.finished()


def _check_local(fcn: FCN) -> None:
    """Raise RefusedError for ops that were told to see the whole image."""
    count, more = len(fcn.plan.contexts), ""
    if not count or fcn.plan.context != "image":
        return
    if count > 1:
        more = f"So do {count - 1} others. " if count > 2 else "So does another one. "
    where = fcn.plan.contexts[0].where
    raise RefusedError(surveys.WHOLE, where=where, hint=more + surveys.HINT)


@dataclass
class _Building:
    """Stages that are being put together, node by node."""

    fcn: FCN
    reading: Reading
    macs: Mapping[fx.Node, float]
    aliases: Aliases
    stages: list[Stage] = field(default_factory=list)
    workers: dict[str, Worker] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    samples: dict[str, Tensor] = field(default_factory=dict)

    def add(self, node: fx.Node) -> None:
        """The stages of a node: one, or one for its padding and one for itself."""
        value = self.reading.values[node]
        self.samples[node.name] = probe.sample(value, self.fcn)
        if node.op == "placeholder":
            cell = probe.bytes_of(value)
            self.stages.append(Stage(node.name, cell=cell, where="the image"))
            return
        worker = worker_of(node, self.reading)
        now = {source: self.aliases.now(source, node) for source in (*worker.maps, *worker.others)}
        others = tuple(now[source].name for source in worker.others)
        given = tuple(now[source].name for source in worker.maps)
        if worker.before is not None:
            name = f"{node.name}.before"
            before = self.reading.values[worker.maps[0]]
            self.samples[name] = self.samples[given[0]]
            self._stage(name, _where(node), worker.before, (*given, *others), given, before, 0.0)
            given, others = (name,), ()
        macs = self.macs.get(node, 0.0) / prod(value.shape[2:])
        self._stage(node.name, _where(node), worker, (*given, *others), given, value, macs)

    def _stage(
        self,
        name: str,
        where: str,
        worker: Worker,
        inputs: tuple[str, ...],
        given: tuple[str, ...],
        value: Tensor,
        macs: float,
    ) -> None:
        self.workers[name], self.sources[name] = worker, given
        self.stages.append(
            Stage(
                name,
                inputs,
                worker.reaches,
                worker.limits,
                probe.bytes_of(value),
                macs,
                *probe.beside(value, worker, self.fcn),
                pads=worker.pads,
                where=where,
            )
        )

    def finished(self) -> Streamed:
        """All stages that an answer needs."""
        output = self.fcn.graph.output_node()
        answers = tuple(self.aliases.now(node, output).name for node in output.all_input_nodes)
        course = _living(Course(tuple(self.stages), answers))
        return Streamed(self.fcn, course, self.workers, self.sources, self.samples)


def _where(node: fx.Node) -> str:
    return str(node.meta.get("where", node.name))


def _living(course: Course) -> Course:
    """The course without stages that no answer needs."""
    needed = set(course.answers)
    for stage in reversed(course.stages):
        if stage.name in needed:
            needed.update(stage.inputs)
    kept = tuple(s for s in course.stages if s.name in needed or s is course.image)
    return Course(kept, course.answers)
