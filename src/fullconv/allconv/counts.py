"""The parameters that a recorded network computes with."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, fx, nn

from fullconv.hosts.torch_fx.read import Reading
from fullconv.hosts.torch_fx.runtime import CONV

CONVS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Counts:
    """How many parameters the nodes of a recorded network use; each counts once."""

    def __init__(self, reading: Reading) -> None:
        """For a classifier that was read."""
        self._model = reading.model
        self._nodes: dict[str, fx.Node] = {node.name: node for node in reading.graph.nodes}

    @property
    def all(self) -> int:
        """Those of the classifier, also where no answer is computed with them."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    def used(self, names: Iterable[str]) -> int:
        """Those that the nodes of these names are computed with."""
        seen: set[fx.Node] = set()
        frontier = [self._nodes[name] for name in names]
        parameters: set[Tensor] = set()
        while frontier:
            node = frontier.pop()
            if node not in seen:
                seen.add(node)
                frontier += node.all_input_nodes
                parameters.update(self._of(node))
        return sum(parameter.numel() for parameter in parameters)

    def is_own_convolution(self, name: str) -> bool:
        """Whether a node calls a convolution that is PyTorch's own, as a layer or a function."""
        node = self._nodes[name]
        if node.op == "call_module":
            return type(self._model.get_submodule(str(node.target))) in CONVS
        return node.target in CONV

    def _of(self, node: fx.Node) -> Iterable[Tensor]:
        if node.op == "call_module":
            return self._model.get_submodule(str(node.target)).parameters()
        if node.op != "get_attr":
            return ()
        owner, _, name = str(node.target).rpartition(".")
        found = self._model.get_submodule(owner)._parameters.get(name)
        return () if found is None else (found,)
