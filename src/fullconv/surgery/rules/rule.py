"""What a rule gets and what it returns.

A rule is a pure function `rule(op, node, inputs, setting) -> Outcome`. It gets an op, the node for
names and shapes, what is known of the inputs, and the setting of the walk. It returns what is
known of the result and the edit it wants, or raises RefusedError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from fullconv.blueprint import Node
from fullconv.errors import RefusedError
from fullconv.geometry import Axis, Sweep
from fullconv.surgery.edits import Edit
from fullconv.surgery.values import Map, Value


@dataclass(frozen=True, slots=True)
class Setting:
    """What holds for the whole walk.

    Attributes:
        stride: the stride wanted, px per axis; None while the native one is being found.
        last: names of the nodes after which nothing looks at neighbouring cells any more.
        window: the classifier's input size, for messages.
        batch: images in the trace: a reshape that changes it mixes images.
        fragments: where a stride is not taken, phases lie in the batch instead of interleaved.
        local: context ops see the window-sized box around every cell, not the whole map.
        contexts: names of the pools whose result meets the map they were pooled from.
    """

    stride: tuple[int, ...] | None
    last: frozenset[str]
    window: tuple[int, ...]
    batch: int
    fragments: bool = False
    local: bool = True
    contexts: frozenset[str] = frozenset()

    def keep(self, index: int, axis: Axis, sweep: Sweep) -> int:
        """The part of a layer's stride that may still step without overshooting the stride."""
        steps = sweep.stride * axis.dilation
        if self.stride is None:
            return sweep.stride if axis.dilation == 1 else 1
        wanted = self.stride[index]
        fits = (
            g for g in range(steps, 0, -1) if steps % g == 0 and wanted % (axis.stride * g) == 0
        )
        return next(fits, 1)

    def inner(self, axis: Axis, sweep: Sweep, keep: int | None = None) -> Sweep:
        """The sweep the FCN makes, see `Axis.inner`."""
        return axis.inner(sweep, keep=keep, fragments=self.fragments)

    def spread(self, axis: Axis) -> int:
        """FCN cells from one classifier cell to the next, in the tensor that the op gets."""
        return 1 if self.fragments else axis.dilation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule found.

    Attributes:
        value: the result.
        edit: what the node becomes; None keeps it.
        why: the reason for the edit.
        pads: cells at the rim see something that is not image (zero padding, or a pool that
            hangs over the end): there a crop and the map differ.
        meets: places of inputs that were pooled from the map they meet here, a context op; the
            walk finds the pools and asks again.
        context: the kind of context op this node is, if it is one.
    """

    value: Value
    edit: Edit | None = None
    why: str = ""
    pads: bool = False
    meets: tuple[int, ...] = ()
    context: str = ""


Rule = Callable[[Any, Node, tuple[Value, ...], Setting], Outcome]


def refuse(node: Node, what: str, *, why: str = "", hint: str = "") -> NoReturn:
    """Raise the refusal of one node."""
    raise RefusedError(what, where=node.where, why=why, hint=hint)


def only_map(node: Node, inputs: tuple[Value, ...]) -> Map:
    """The first input as a map, the others (weights, statistics) as constants; or a refusal."""
    x, *rest = inputs
    if not isinstance(x, Map) or any(isinstance(value, Map) for value in rest):
        refuse(
            node,
            "has weights that are computed from the image.",
            why="Every window would have weights of its own.",
        )
    return x


def plain_map(node: Node, value: Value) -> Map:
    """`value` as an ordinary `(N, C, *axes)` map, or a refusal."""
    if isinstance(value, Map) and value.is_plain:
        return value
    refuse(
        node,
        f"works on neighbouring cells, but its input is {value}, reshaped or reordered before.",
        why="Where its cells lie in the image is no longer known.",
        hint="Keep feature maps as (N, C, *space) up to here.",
    )


def check_fragments(node: Node, setting: Setting, axis: Axis, keep: int) -> None:
    """Phases in the batch cannot be partly kept; strides with several prime factors may ask so."""
    if setting.fragments and axis.dilation > 1 and keep > 1:
        refuse(
            node,
            "would step over a part of the phases in the batch.",
            hint='Pass method="dilate".',
        )
