"""The all-convolutional network: an `nn.Module` from images of any size to one score vector."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, fx, nn

from fullconv.allconv.plan import AllConvPlan
from fullconv.errors import FullconvError
from fullconv.hosts.torch_fx.fcn import check_names, copy_graph

STORES = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")


class AllConvolutional(fx.GraphModule):
    """Convolutions and a mean over the map: `(N, C, *space)` to `(N, K)`, for images of any size.

    An ordinary module with parameters of its own: train it, save its `state_dict()`, copy it with
    `copy.deepcopy`, or give it to `fullconv.convert` for a score map. Layers that were kept have
    the names they had in the classifier. `plan` says what changed, and where the new layers lie;
    `code` shows what is computed.

    Raises InputError when called with an image of another shape.
    """

    def __init__(self, tree: nn.Module, graph: fx.Graph, plan: AllConvPlan) -> None:
        """A network over the parameters of `tree`."""
        check_names("AllConvolutional", type(self), tree, graph)
        super().__init__(tree, graph, class_name="AllConvolutional")
        for store in STORES:  # with the types of the modules around the layers
            self.__dict__[store] = tree.__dict__[store]
        self.training = tree.training
        self.meta["plan"] = plan

    @property
    def plan(self) -> AllConvPlan:
        """What changed, and how new layers begin."""
        plan: AllConvPlan = self.meta["plan"]
        return plan

    @property
    def window(self) -> tuple[int, ...]:
        """The classifier's input size, px per axis."""
        return self.plan.window

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> AllConvolutional:
        memo = {} if memo is None else memo
        tree = nn.Module()
        for store in STORES:
            tree.__dict__[store] = copy.deepcopy(self.__dict__[store], memo)
        tree.training = self.training
        twin = AllConvolutional(tree, copy_graph(self.graph), self.plan)
        memo[id(self)] = twin
        return twin

    def __reduce__(self) -> Any:
        raise FullconvError(
            "an all-convolutional network is not pickled: reading a pickle can run code.",
            hint="Save its state_dict(), or the FCN that fullconv.convert makes of it.",
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Scores `(N, K)` of images `(N, C, *space)`, averaged over all of each image."""
        scores: Tensor = super().__call__(images)
        return scores
