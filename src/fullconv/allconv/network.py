"""The all-convolutional network: an `nn.Module` from images of any size to one score vector."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, fx, nn

from fullconv.allconv.plan import AllConvPlan
from fullconv.hosts.torch_fx.fcn import copy_graph

_STORES = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")


class AllConvolutional(fx.GraphModule):
    """Convolutions and an average: `(N, C, *space)` to `(N, K)`, for images of any size.

    An ordinary module with parameters of its own: train it, save its `state_dict()`, or give it to
    `fullconv.convert` for a score map. Layers that were kept have their old names. `plan` says what
    changed, `layers` where the new layer of a step lies; `code` shows what is computed.
    """

    def __init__(
        self, tree: nn.Module, graph: fx.Graph, plan: AllConvPlan, layers: dict[str, str]
    ) -> None:
        """A network over the parameters of `tree`; `layers` are paths in it by the steps' nodes."""
        super().__init__(tree, graph, class_name="AllConvolutional")
        self.plan = plan
        self.layers = layers
        self.training = tree.training

    @property
    def window(self) -> tuple[int, ...]:
        """The classifier's input size, px per axis."""
        return self.plan.window

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> AllConvolutional:
        memo = {} if memo is None else memo
        tree = nn.Module()
        for store in _STORES:
            tree.__dict__[store] = copy.deepcopy(self.__dict__[store], memo)
        tree.training = self.training
        twin = AllConvolutional(tree, copy_graph(self.graph), self.plan, self.layers)
        memo[id(self)] = twin
        return twin

    def __call__(self, images: Tensor) -> Tensor:
        """Scores `(N, K)` of images `(N, C, *space)`, averaged over all of each image."""
        scores: Tensor = super().__call__(images)
        return scores
