"""From a classifier to an all-convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from fullconv.allconv.network import AllConvolutional
from fullconv.allconv.plan import AllConvPlan, make_plan
from fullconv.allconv.write import CONVS, apply
from fullconv.api.convert import Size
from fullconv.hosts.torch_fx.read import Reading, read
from fullconv.hosts.torch_fx.write import apply as make_fcn
from fullconv.surgery.plan import Plan
from fullconv.surgery.planner import make_plan as plan_fcn


def all_convolutional(
    model: nn.Module,
    window: Size = 224,
    *,
    pools: str = "conv",
    head: str = "gap",
    images: Tensor | None = None,
    example: Tensor | None = None,
) -> AllConvolutional:
    """A network of convolutions only that begins where a classifier is (Springenberg et al. 2015).

    Args:
        model: a CNN classifier, `(N, C, *window)` to `(N, K)`. It stays as it is.
        window: its input size in px; one number for all axes, or one per axis.
        pools: what becomes of the body's pools. "conv" (All-CNN): a convolution of all channels in
            their place, that begins as the average. "strided" (Strided-CNN): max pools are
            dropped and the convolution before them makes their steps; other pools as "conv".
            "convpool" (ConvPool-CNN): they stay, behind a convolution that begins as the identity.
            "keep": they stay.
        head: "gap", a 1×1 convolution to the scores and their mean over the map, or "exact", the FC
            layers as convolutions that compute the same, and the mean of the scores over the map.
        images: prepared images `(N, C, *space)` to which new layers are fitted by least squares.
        example: an input `(N, C, *space)`, needed only where the number of channels or axes cannot
            be found from the convolutions.

    Returns:
        An `nn.Module` in inference mode, `(N, C, *space)` to `(N, K)`, with parameters of its own.

    Raises:
        RefusedError: the network cannot be converted, or its head cannot be replaced so.
        UsageError: an argument does not fit.
    """
    reading, plan, changes = _planned(model, window, pools, head, example)
    network = apply(changes, reading, make_fcn(plan, reading))
    if images is not None:
        from fullconv.allconv.fitting import fit

        fit(network, model, images)
    return network


def plan(
    model: nn.Module,
    window: Size = 224,
    *,
    pools: str = "conv",
    head: str = "gap",
    example: Tensor | None = None,
) -> AllConvPlan:
    """The changes `all_convolutional` would make, without making them."""
    return _planned(model, window, pools, head, example)[2]


def _planned(
    model: nn.Module, window: Size, pools: str, head: str, example: Tensor | None
) -> tuple[Reading, Plan, AllConvPlan]:
    reading = read(model, window, example)
    fcn_plan = plan_fcn(reading.blueprint)
    counts = _Counts(reading)
    changes = make_plan(
        reading.blueprint,
        fcn_plan,
        pools=pools,
        head=head,
        parameters=counts.of,
        single=counts.is_layer,
    )
    return reading, fcn_plan, changes


class _Counts:
    """The parameters that nodes use."""

    def __init__(self, reading: Reading) -> None:
        self._model = reading.model
        self._nodes: dict[str, fx.Node] = {node.name: node for node in reading.graph.nodes}
        self._used: dict[str, set[torch.Tensor]] = {
            name: self._parameters(node) for name, node in self._nodes.items()
        }

    def of(self, names: frozenset[str]) -> int:
        """How many are used by these nodes and by no others; without names, all the network's."""
        if not names:
            return sum(p.numel() for p in set().union(*self._used.values()))
        # A constant is used where what reads it is.
        readers = {
            name: names if node.op == "get_attr" and self._only_read_by(node, names) else {name}
            for name, node in self._nodes.items()
        }
        mine: set[torch.Tensor] = set()
        others: set[torch.Tensor] = set()
        for name, used in self._used.items():
            (mine if readers[name] <= names else others).update(used)
        return sum(parameter.numel() for parameter in mine - others)

    def is_layer(self, name: str) -> bool:
        """Whether a node calls a convolution of PyTorch's that nobody else calls."""
        node = self._nodes[name]
        if node.op != "call_module":
            return False
        calls = [n for n in self._nodes.values() if n.op == node.op and n.target == node.target]
        return len(calls) == 1 and type(self._model.get_submodule(str(node.target))) in CONVS

    def _only_read_by(self, node: fx.Node, names: frozenset[str]) -> bool:
        users = list(node.users)
        return bool(users) and all(
            user.name in names or (user.op != "output" and self._only_read_by(user, names))
            for user in users
        )

    def _parameters(self, node: fx.Node) -> set[torch.Tensor]:
        if node.op == "call_module":
            return set(self._model.get_submodule(str(node.target)).parameters())
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            try:
                found = getattr(self._model.get_submodule(owner), name)
            except AttributeError:
                return set()  # a constant of the trace
            return {found} if isinstance(found, nn.Parameter) else set()
        return set()
