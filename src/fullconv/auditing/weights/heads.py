"""The fully-connected layers of a head: what they hold, and what smaller ones would hold.

Kernel decimation is that of DeepLab (Chen et al. 2015, section 3.2): of the kernel that the first
FC layer becomes, every second or third tap stays, with holes between them; LargeFOV (section 5,
table 2) also has a quarter of the channels. Such a network begins from the weights that stay, and
is trained again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, prod

from torch import Tensor, fx, nn

from fullconv.allconv.surroundings import behind
from fullconv.auditing.subject import Subject
from fullconv.blueprint import Linear
from fullconv.hosts.torch_fx.read import Reading
from fullconv.surgery.edits import LinearToConv, bare
from fullconv.surgery.plan import Plan

FEWER = 4
"""LargeFOV has 1,024 channels where VGG-16 has 4,096."""


@dataclass(frozen=True, slots=True, eq=False)
class FcLayer:
    """A fully-connected layer, or the convolution that it becomes.

    Attributes:
        node: its name in the blueprint, or in the network where there is none.
        where: its path, for people.
        channels: input channels of the map that it is slid over; its inputs where it is not.
        outputs: how many.
        kernel: weights per axis of that map; () where there is none.
        cells: cells per axis that a cell of the FCN sees; more than `kernel` where pooling is
            folded into the weight.
        bias: how many parameters it has beside its weight.
        weight: the numbers themselves, `(outputs, inputs)`; None of a layer that is not there.
        offset: its bias, `(outputs,)`; None where it has none.
        itemsize: bytes of one of them.
    """

    node: str
    where: str
    channels: int
    outputs: int
    kernel: tuple[int, ...] = ()
    cells: tuple[int, ...] = ()
    bias: int = 0
    weight: Tensor | None = None
    offset: Tensor | None = None
    itemsize: int = 4

    @property
    def inputs(self) -> int:
        """Inputs of the FC layer: channels of all cells."""
        return self.channels * prod(self.kernel)

    @property
    def parameters(self) -> int:
        """Weight and bias."""
        return self.inputs * self.outputs + self.bias

    @property
    def bytes(self) -> int:
        """Of its parameters."""
        return self.parameters * self.itemsize

    @property
    def macs(self) -> int:
        """Of one cell of the map."""
        return self.channels * prod(self.cells) * self.outputs


def fc_layers(subject: Subject) -> tuple[FcLayer, ...]:
    """The FC layers behind the body, in the order of computation.

    Of a network that cannot be converted, where nobody knows the head, all that it has.
    """
    if subject.converted is None or subject.reading is None:
        return tuple(_all_of(subject.model))
    return tuple(_behind_the_cut(subject.reading, subject.converted.plan))


def total(layers: Sequence[FcLayer]) -> int:
    """Parameters of all layers."""
    return sum(layer.parameters for layer in layers)


def first_over_cells(layers: Sequence[FcLayer]) -> int | None:
    """The place of the first layer that sees several cells, fc6 of VGG-16; None without one."""
    return next((i for i, layer in enumerate(layers) if prod(layer.kernel) > 1), None)


def decimated(layers: Sequence[FcLayer], place: int, every: int) -> tuple[FcLayer, ...]:
    """The layers with every second, third … tap of the one at `place`."""
    layer = layers[place]
    kernel = tuple(ceil(k / every) for k in layer.kernel)
    smaller = replace(layer, kernel=kernel, cells=kernel, weight=None)
    return (*layers[:place], smaller, *layers[place + 1 :])


def narrowed(layers: Sequence[FcLayer], place: int) -> tuple[FcLayer, ...] | None:
    """The layers from `place` on with a quarter of the channels between them.

    None where they do not follow each other, or there is nothing between.
    """
    chain = layers[place:]
    pairs = list(pairwise(chain))
    if not pairs or any(a.outputs != b.inputs or a.outputs % FEWER for a, b in pairs):
        return None
    found = list(layers)
    for i in range(place, len(layers) - 1):
        few = layers[i].outputs // FEWER
        bias = few if found[i].bias else 0
        found[i] = replace(found[i], outputs=few, bias=bias, weight=None)
        found[i + 1] = replace(found[i + 1], channels=few, weight=None)
    return tuple(found)


def _all_of(model: nn.Module) -> Iterator[FcLayer]:
    seen: set[Tensor] = set()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module.weight not in seen:
            seen.add(module.weight)
            bias = 0 if module.bias is None else module.bias.numel()
            yield FcLayer(
                node=name,
                where=name,
                channels=module.in_features,
                outputs=module.out_features,
                bias=bias,
                itemsize=module.weight.element_size(),
            )


def _behind_the_cut(reading: Reading, plan: Plan) -> Iterator[FcLayer]:
    nodes = {node.name: node for node in reading.graph.nodes}
    rear = behind(reading.blueprint, [cut.node for cut in plan.cuts])
    seen: set[Tensor] = set()
    for node in reading.blueprint.nodes:
        op = node.op
        if node.name not in rear or not isinstance(op, Linear):
            continue
        held = [p for p in _held(nodes[node.name], reading.model) if p not in seen]
        weight = next((p for p in held if p.numel() == op.in_features * op.out_features), None)
        if weight is None:
            continue  # numbers that were counted before, or that are no parameters
        seen.update(held)
        edit = bare(plan.edits.get(node.name))
        single = tuple(1 for _ in plan.window)
        channels, kernel, cells = op.in_features, single, single
        if isinstance(edit, LinearToConv):
            channels, kernel, cells = edit.channels, edit.taps, edit.kernel
        offset = next((p for p in held if p is not weight and p.ndim == 1), None)
        is_plain = weight.shape == (op.out_features, op.in_features)
        yield FcLayer(
            node=node.name,
            where=node.where.partition(" (")[0],
            channels=channels,
            outputs=op.out_features,
            kernel=kernel,
            cells=cells,
            bias=sum(p.numel() for p in held) - weight.numel(),
            weight=weight.detach() if is_plain else None,
            offset=None if offset is None else offset.detach(),
            itemsize=weight.element_size(),
        )


def _held(node: fx.Node, model: nn.Module) -> list[nn.Parameter]:
    """The parameters that a node of the recorded graph uses."""
    if node.op == "call_module":
        return list(model.get_submodule(str(node.target)).parameters())
    found: list[nn.Parameter] = []
    for source in node.all_input_nodes:
        if source.op == "get_attr":
            value: object = model
            for name in str(source.target).split("."):
                value = getattr(value, name, None)
            if isinstance(value, nn.Parameter):
                found.append(value)
    return found


def parameters_of(network: nn.Module) -> tuple[int, int]:
    """How many parameters a network has, and their bytes; each counts once."""
    every = list(network.parameters())
    return sum(p.numel() for p in every), sum(p.nbytes for p in every)


def shared_with(one: nn.Module, other: nn.Module) -> int:
    """How many parameters of `one` lie in the same memory as those of `other`."""
    memory = {p.untyped_storage()._cdata for p in other.parameters()}
    return sum(p.numel() for p in one.parameters() if p.untyped_storage()._cdata in memory)
