"""One stage of a streamed network: what it needs, and how it is computed from a piece of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from fullconv.hosts.torch_fx.streaming.inplace import on_its_own
from fullconv.hosts.torch_fx.tracing import in_place as changes
from fullconv.streams.course import Limit
from fullconv.streams.places import Place
from fullconv.streams.reach import Reach, Same

Places = tuple[Place, ...]
Run = Callable[[Sequence[Tensor], Places, Sequence[int]], Tensor]
"""Gets what was read of the inputs `(N, C, *lengths)`, where along each axis, and the padding per
axis that is left to the op itself; returns the cells of the places."""


@dataclass(frozen=True)
class Worker:
    """How a stage is made.

    Attributes:
        run: the computation.
        maps: the nodes of the maps it is given.
        reaches: what it needs of them, per axis.
        fill: what its padding is made of; None where it has none.
        limits: as in `Stage`.
        pads: per axis the padding, alike on both sides, that the op can do itself; 0 for none.
        others: maps that only count: their cells bound its own.
        before: a worker between the inputs and this one, with a suffix for its name.
        weight: of a convolution.
        in_place: the same on a piece that nobody else reads, changing it; None for none.
        fresh: whether the result is a tensor of its own, in no case a view.
    """

    run: Run
    maps: tuple[fx.Node, ...]
    reaches: tuple[Reach, ...]
    fill: float | None = None
    limits: tuple[Limit | None, ...] = ()
    pads: tuple[int, ...] = ()
    others: tuple[fx.Node, ...] = ()
    before: Worker | None = None
    weight: Tensor | None = None
    in_place: Run | None = None
    fresh: bool = False


@dataclass
class Reading:
    """What the readers of a graph know: the modules, and the tensors that no image changes."""

    tree: nn.Module
    dims: int
    fixed: Mapping[fx.Node, Any]
    maps: frozenset[fx.Node]
    values: Mapping[fx.Node, Any] = field(default_factory=dict)

    def map_inputs(self, node: fx.Node) -> tuple[fx.Node, ...]:
        """The maps a node reads, in order."""
        return tuple(source for source in node.all_input_nodes if source in self.maps)

    def arguments(self, node: fx.Node, names: Sequence[str]) -> list[Any]:
        """Arguments of a call by name, positional or not, maps left as nodes; None if absent."""
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        return [
            fx.map_arg(given.get(name), lambda n: n if n in self.maps else self.fixed[n])
            for name in names
        ]

    def same(self) -> tuple[Reach, ...]:
        """The reaches of what works on every cell by itself."""
        return (Same(),) * self.dims


def evaluated(node: fx.Node, reading: Reading, *, in_place: bool = False) -> Run:
    """The node's own call, on pieces in the place of its maps, which stay as they are.

    With `in_place` it does what the network says, and may change the first of them.
    """
    maps = reading.map_inputs(node)
    target, keywords = on_its_own(node, reading.tree)
    if in_place:
        keywords = dict(node.kwargs)
        target = node.target
        if node.op == "call_module":
            target = reading.tree.get_submodule(str(node.target))

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        known = dict(zip(maps, pieces, strict=True))
        return called(node, target, keywords, known, reading)  # type: ignore[no-any-return]

    return run


def called(
    node: fx.Node,
    target: Any,
    keywords: Mapping[str, Any],
    known: Mapping[fx.Node, Any],
    reading: Reading,
) -> Any:
    """What `target` gives in the place of a node, of values that are `known` and of fixed ones."""
    args, kwargs = fx.map_arg(
        (node.args, dict(keywords)), lambda n: known[n] if n in known else reading.fixed[n]
    )
    if node.op == "call_method":
        return getattr(args[0], str(target))(*args[1:], **kwargs)
    return target(*args, **kwargs)


def cell_by_cell(node: fx.Node, reading: Reading, *, fresh: bool = False) -> Worker:
    """A worker for what every cell does by itself; `fresh` as in `Worker`."""
    run, maps = evaluated(node, reading), reading.map_inputs(node)
    changing = None
    if changes(node, reading.tree) and node.all_input_nodes[0] in reading.maps:
        changing = evaluated(node, reading, in_place=True)
    return Worker(run, maps, reading.same(), in_place=changing, fresh=fresh)
