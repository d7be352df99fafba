"""The classifier's own body on a larger image.

A reference, written from the definition and slow. Sizes that `forward` put into a reshape are those
of the window; here they grow with the map. Context ops that see boxes are run on every box of their
input by themselves, and what follows from a box is used for the cells whose nearest box it is. Of
the plan it knows only which nodes are context ops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

Box = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Boxed:
    """A value that every box of a map has for itself; `sizes` are (cells, box) per axis."""

    of: dict[Box, Any]
    sizes: tuple[tuple[int, int], ...]


class Body(fx.Interpreter):
    """Runs a recorded graph on an image larger than the window it was recorded at.

    The context ops, by name with their sizes, see boxes as large as their map was at the window.
    """

    def __init__(self, module: fx.GraphModule, contexts: Mapping[str, Box]) -> None:
        # Shapes of earlier values are looked up, so all of them are kept.
        super().__init__(module, garbage_collect_values=False)
        self._contexts = contexts

    def run_node(self, n: fx.Node) -> Any:
        """One node: on the map, on every box, or where boxes meet the map."""
        inputs = [self.env[source] for source in n.all_input_nodes]
        boxed = next((value for value in inputs if isinstance(value, _Boxed)), None)
        if n.name in self._contexts:
            weighs = len(inputs) == 2 and all(isinstance(x, Tensor) for x in inputs)
            weighs = weighs and "matmul" in str(getattr(n.target, "__name__", n.target))
            return self._attend(n) if weighs else self._survey(n)
        if boxed is None:
            resized = self._resized(n)
            return super().run_node(n) if resized is None else resized
        if n.target == "expand":
            return boxed  # it will meet the map, which repeats it
        maps = [source for source in n.all_input_nodes if _spatial(source, self.env[source])]
        if maps:
            return self._meet(n, maps, boxed)
        return _Boxed({box: self._run(n, box, {}) for box in boxed.of}, boxed.sizes)

    def _resized(self, n: fx.Node) -> Tensor | None:
        """A reshape or a resize whose sizes were written down at the window, on a larger map."""
        name = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", "")
        op = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if isinstance(op, nn.LayerNorm) or name == "layer_norm":
            return self._whole_norm(n, op)
        if name not in ("view", "reshape", "unflatten", "interpolate") or n.op == "call_module":
            return None
        source = n.all_input_nodes[0]
        x: Tensor = self.env[source]
        before, after = source.meta["value"].shape, n.meta["value"].shape
        if name == "interpolate":
            factors = [new // old for new, old in zip(after[2:], before[2:], strict=True)]
            y: Tensor = torch.nn.functional.interpolate(x, scale_factor=[float(f) for f in factors])
            return y
        return x.reshape(grown(tuple(before), tuple(x.shape), tuple(after), self._known()))

    def _whole_norm(self, n: fx.Node, op: Any) -> Tensor | None:
        """A layer norm over a map that has grown, which has no weights then."""
        source = n.all_input_nodes[0]
        x: Tensor = self.env[source]
        names = ("input", "normalized_shape", "weight", "bias", "eps")
        given: dict[str, Any] = {**dict(zip(names, n.args, strict=False)), **n.kwargs}
        last = len(given["normalized_shape"] if op is None else op.normalized_shape)
        if not any(axis >= x.ndim - last for axis in _spatial(source, x)):
            return None
        eps = given.get("eps", 1e-5) if op is None else op.eps
        return torch.nn.functional.layer_norm(x, x.shape[-last:], eps=eps)

    def _run(self, n: fx.Node, box: Box, instead: dict[fx.Node, Any]) -> Any:
        """A node with the values of one box; `instead` replaces inputs."""
        env = self.env
        self.env = {
            source: instead[source]
            if source in instead
            else value.of[box]
            if isinstance(value, _Boxed)
            else value
            for source, value in ((s, env[s]) for s in n.all_input_nodes)
        }
        try:
            return super().run_node(n)
        finally:
            self.env = env

    def _attend(self, n: fx.Node) -> _Boxed:
        """A product with softmax weights over the flattened map, on every box of it.

        The weights sum to one over the whole map; those of a box are divided by their sum.
        """
        then = self._contexts[n.name]
        left, right = (self.env[source] for source in n.all_input_nodes)
        now = tuple(_like(then, left.shape[-1], self._known()) or then)
        left = left.unflatten(-1, now)  # (..., *cells)
        right = right.movedim(-2, -1).unflatten(-1, now)
        sizes = tuple(zip(now, then, strict=True))
        weights_left = left.shape[-1 - len(now)] == 1
        found: dict[Box, Any] = {}
        for box in product(*(range(cells - kernel + 1) for cells, kernel in sizes)):
            spans = [slice(start, start + k) for start, (_, k) in zip(box, sizes, strict=True)]
            a = left[(..., *spans)].flatten(-len(now))
            b = right[(..., *spans)].flatten(-len(now)).movedim(-1, -2)
            share = (a if weights_left else b).sum((-2, -1), keepdim=True)
            found[box] = torch.matmul(a, b) / share
        return _Boxed(found, sizes)

    def _known(self) -> list[tuple[Box, Box]]:
        """The shapes of all values so far: at the window, and now."""
        return [
            (tuple(node.meta["value"].shape), tuple(value.shape))
            for node, value in self.env.items()
            if isinstance(value, Tensor) and isinstance(node.meta.get("value"), Tensor)
        ]

    def _survey(self, n: fx.Node) -> Any:
        """A context op on every box of its map."""
        source = n.all_input_nodes[0]
        x = self.env[source]
        axes = _spatial(source, x)
        sizes = tuple((x.shape[a], source.meta["value"].shape[a]) for a in axes)
        then, flat = self._contexts[n.name], 0
        if len(axes) == 1 and sum(cells > 1 for cells in then) > 1 and sizes[0][1] == prod(then):
            (flat,) = axes  # all of space in one axis
            now = tuple(_like(then, x.shape[flat], self._known()) or then)
            x, sizes = x.unflatten(flat, now), tuple(zip(now, then, strict=True))
            axes = list(range(flat, flat + len(then)))
        found: dict[Box, Any] = {}
        for box in product(*(range(cells - kernel + 1) for cells, kernel in sizes)):
            inside = _cut(
                x, axes, [(start, start + k) for start, (_, k) in zip(box, sizes, strict=True)]
            )
            inside = inside.flatten(flat, axes[-1]) if flat else inside
            found[box] = self._run(n, box, {source: inside})
        if n.meta["value"].shape != source.meta["value"].shape:
            return _Boxed(found, sizes)
        y = torch.empty_like(x)  # a norm: every cell takes its own place in its box
        for box, cells in _owned(sizes):
            own = [
                (low - start, high - start) for (low, high), start in zip(cells, box, strict=True)
            ]
            _cut(y, axes, cells).copy_(_cut(found[box], axes, own))
        return y

    def _meet(self, n: fx.Node, maps: list[fx.Node], boxed: _Boxed) -> Tensor:
        """Each box with the cells that it is the nearest box of."""
        now = [cells for cells, _ in boxed.sizes]
        axes = _spatial(maps[0], self.env[maps[0]])
        flat = len(axes) < len(now)  # all of space lies in one tensor axis
        first, last = axes[0], axes[0] + len(now) - 1
        seen = {m: torch.unflatten(self.env[m], first, now) if flat else self.env[m] for m in maps}
        axes = list(range(first, last + 1)) if flat else axes
        whole: Tensor | None = None
        for box, cells in _owned(boxed.sizes):
            cut = {m: _cut(x, axes if flat else _spatial(m, x), cells) for m, x in seen.items()}
            part: Tensor = self._run(
                n, box, {m: x.flatten(first, last) if flat else x for m, x in cut.items()}
            )
            if flat:
                part = torch.unflatten(part, first, [high - low for low, high in cells])
            if whole is None:
                shape = list(part.shape)
                for axis, size in zip(axes, now, strict=True):
                    shape[axis] = size
                whole = part.new_empty(shape)
            _cut(whole, axes, cells).copy_(part)
        assert whole is not None
        return whole.flatten(first, last) if flat else whole


def grown(
    before: Box, now: Box, after: Box, known: Sequence[tuple[Box, Box]] = ()
) -> tuple[int, ...]:
    """The shape that a reshape of `before` to `after` gives to a map that grew to `now`.

    Axes that a reshape leaves at the end stay as they are; runs before them that hold the same
    numbers are looked at one by one. In each the first axis takes the growth; where a run becomes
    several axes that another tensor had, as (before, now) in `known`, they are as long as there.
    """
    same = 0
    while same < min(len(before), len(after)) and before[-1 - same] == after[-1 - same]:
        same += 1
    kept = now[len(now) - same :]
    before, after = before[: len(before) - same], after[: len(after) - same]
    shape: list[int] = []
    i = j = 0
    while i < len(before) or j < len(after):
        first, last = i, j
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while prod(before[first:i]) != prod(after[last:j]):
            if prod(before[first:i]) < prod(after[last:j]):
                i += 1
            else:
                j += 1
        size, sizes = prod(now[first:i]), list(after[last:j])
        if size != prod(sizes):
            sizes = _like(tuple(sizes), size, known) or [size // prod(sizes[1:]), *sizes[1:]]
        shape += sizes
    return (*shape, *kept)


def _like(sizes: Box, product: int, known: Sequence[tuple[Box, Box]]) -> list[int] | None:
    """The lengths that axes of `sizes` have in a tensor that has grown, if one has them."""
    for then, now in known:
        for place in range(len(then) - len(sizes) + 1):
            run = slice(place, place + len(sizes))
            if then[run] == sizes and prod(now[run]) == product:
                return list(now[run])
    return None


def _spatial(node: fx.Node, value: Any) -> list[int]:
    """The tensor axes that are longer than at the window."""
    at_window = node.meta.get("value")
    if not isinstance(value, Tensor) or not isinstance(at_window, Tensor):
        return []
    pairs = enumerate(zip(value.shape, at_window.shape, strict=True))
    return [axis for axis, (size, then) in pairs if size != then]


def _cut(x: Tensor, axes: list[int], spans: list[tuple[int, int]]) -> Tensor:
    for axis, (low, high) in zip(axes, spans, strict=True):
        x = x.narrow(axis, low, high - low)
    return x


def _owned(sizes: tuple[tuple[int, int], ...]) -> Iterator[tuple[Box, list[tuple[int, int]]]]:
    """Every box with the cells, as spans, that it is the nearest one of."""
    each = []
    for cells, kernel in sizes:
        owner = [max(0, min(i - (kernel - 1) // 2, cells - kernel)) for i in range(cells)]
        spans = []
        for start in range(cells - kernel + 1):
            mine = [i for i, box in enumerate(owner) if box == start]
            spans.append((start, (mine[0], mine[-1] + 1)))
        each.append(spans)
    for entries in product(*each):
        yield tuple(start for start, _ in entries), [span for _, span in entries]
