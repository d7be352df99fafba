"""What somebody has added gets the vectors of all cells as a batch: a few nodes, one stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx

from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.streaming.inplace import on_its_own
from fullconv.hosts.torch_fx.streaming.worker import Places, Reading, Worker, called


def inner_nodes(graph: fx.Graph, maps: frozenset[fx.Node]) -> frozenset[fx.Node]:
    """The nodes whose values are vectors of cells, and no maps.

    Raises RefusedError where one is read as a map.
    """
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node not in maps or node.target is runtime.from_vectors:
            continue
        if node.target is runtime.vectors or found & set(node.all_input_nodes):
            if node.op == "output":
                raise RefusedError("it returns vectors of cells, and no map.")
            found.add(node)
    return frozenset(found)


def from_vectors(node: fx.Node, reading: Reading) -> Worker:
    """`runtime.from_vectors`, with all that is done to the vectors before."""
    last, like = node.args
    inner: list[fx.Node] = []
    sources: list[fx.Node] = []

    def collect(n: Any) -> None:
        if n in inner or n not in reading.maps:
            return
        if n.target is runtime.vectors:
            sources.append(n.args[0])
        else:
            for source in n.all_input_nodes:
                collect(source)
        inner.append(n)

    collect(last)
    maps = tuple(dict.fromkeys((like, *sources)))
    targets = {n: on_its_own(n, reading.tree) for n in inner}

    def run(pieces: Sequence[Tensor], places: Places, pads: Sequence[int]) -> Tensor:
        known: dict[Any, Any] = dict(zip(maps, pieces, strict=True))
        for n in inner:
            known[n] = called(n, *targets[n], known, reading)
        return runtime.from_vectors(known[last], known[like])

    return Worker(run, maps, reading.same())  # type: ignore[arg-type]
