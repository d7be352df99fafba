"""The last features of a network, and what is made of them, as images grow.

A network trained at one size sees other statistics at another: objects are larger, and an average
over a larger map is less sparse (Touvron, Vedaldi, Douze and Jégou 2019, Fixing the train-test
resolution discrepancy, section 3).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from fullconv.auditing.answers.samples import Named, noise, patch, scaled, top_classes
from fullconv.auditing.measuring.timing import Say
from fullconv.evaluate.scoring import probabilities_of
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import FCN, copy_graph, tensors_of
from fullconv.surgery.plan import Cut

FACTORS = (1.0, 1.25, 1.5, 2.0, 3.0)
"""Sizes in windows, rounded to whole strides above the window."""

MOST_IMAGES = 32

NOISES = 8
"""How many random images there are, for want of real ones."""

MOST_SECONDS = 0.9
"""Share of the seconds that the passes may take; the rest is for what is made of them."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of numbers: mean, standard deviation, share of exact zeros.

    Attributes:
        shift: mean absolute difference of the means per channel from those at the window, in the
            standard deviation of that channel at the window; None where none of them varies, and
            of single images of noise: they are other ones at every size.
    """

    mean: float
    sd: float
    zeros: float
    shift: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One size of image.

    Attributes:
        size: px per axis.
        cells: of the map of features, per axis.
        features: the last features, over all their cells.
        pooled: the vector of every image that is their mean over the map.
        confidence: mean probability of the top class of the averaged scores.
        agreement: share of images with the top class that they have at the window; None of noise,
            which is another one at every size.
    """

    size: tuple[int, ...]
    cells: tuple[int, ...]
    features: Spread
    pooled: Spread
    confidence: float
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Shift:
    """How features and answers change as the same images grow.

    Attributes:
        rows: by size, the window first; none where there is a `problem`.
        node: the op whose result the features are.
        channels: how many there are.
        cuts: how many maps the body hands to the head; the first one is looked at.
        images: how many were looked at; `noise` where they were random numbers.
        given: how many images there were.
        contexts: ops that look at the whole map.
        context: what those see: the "window" around every cell, or the "image".
        problem: why nothing can be said.
    """

    rows: tuple[Row, ...]
    node: str
    channels: int
    cuts: int
    images: int
    noise: bool
    contexts: tuple[str, ...]
    context: str
    given: int = 0
    problem: str = ""

    @property
    def same(self) -> int:
        """How many images have the answer of the window at the largest size."""
        return round((self.rows[-1].agreement or 0.0) * self.images)

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable."""
        return asdict(self)


def sizes_of(fcn: FCN) -> list[tuple[int, ...]]:
    """The window and sizes about 1.25, 1.5, 2 and 3 times as large, whole strides above it."""
    found = []
    for factor in FACTORS:
        pairs = zip(fcn.window, fcn.plan.native_stride, strict=True)
        size = tuple(w + round((factor - 1) * w / s) * s for w, s in pairs)
        if size not in found:
            found.append(size)
    return found


def measure(fcn: FCN, images: Sequence[Named], *, seconds: float, say: Say) -> Shift:
    """Run the middle of every image, of the window's proportions, at growing sizes.

    Args:
        fcn: the network, in any dtype.
        images: prepared for it. Without any, noise is drawn anew at every size: its statistics are
            the same at all of them.
        seconds: how long it may take, about; fewer images are looked at where they are few.
        say: told what is being measured.
    """
    sizes, cut = sizes_of(fcn), fcn.plan.cuts[0]
    network = _with_features(fcn, cut)
    count = len(images) or NOISES
    began = time.perf_counter()
    gathered = [_Gathered() for _ in sizes]
    done, problem = 0, ""
    for index in range(min(count, MOST_IMAGES)):
        spent = time.perf_counter() - began
        if done and spent * (done + 1) / done > MOST_SECONDS * seconds:
            break
        for place, size in enumerate(sizes):  # noise: its statistics are the same at all sizes
            say(f"features of image {index + 1} of {count} at {times(size)} px")
            x = _resized(images[index].pixels, fcn.window, size) if images else None
            x = (
                noise(fcn.plan.channels, size, index * len(sizes) + place).pixels
                if x is None
                else x
            )
            features, scores = _run(network, cut, x)
            if not bool(torch.isfinite(features).all() and torch.isfinite(scores).all()):
                problem = f"features or scores of {times(size)} px are not finite"
                break
            gathered[place].add(features, scores)
        if problem:
            break
        done += 1
    rows = [
        _row(size, one, gathered[0], fcn, same_images=bool(images))
        for size, one in zip(sizes, gathered, strict=True)
        if not problem
    ]
    return Shift(
        tuple(rows),
        cut.node,
        cut.channels,
        len(fcn.plan.cuts),
        done,
        not images,
        tuple(context.where for context in fcn.plan.contexts),
        fcn.plan.context,
        len(images),
        problem,
    )


class _Gathered:
    """Sums over images at one size, in float64."""

    def __init__(self) -> None:
        self.total: Tensor = torch.zeros(0)
        self.squares: Tensor = torch.zeros(0)
        self.zeros = self.count = 0
        self.cells: tuple[int, ...] = ()
        self.pooled: list[Tensor] = []
        self.scores: list[Tensor] = []

    def add(self, features: Tensor, scores: Tensor) -> None:
        """One image: features `(C, *cells)` and the mean of its scores, `(K,)`."""
        flat = features.double().flatten(1)
        total, squares = flat.sum(1), flat.square().sum(1)
        self.total = self.total + total if self.count else total
        self.squares = self.squares + squares if self.count else squares
        self.zeros += int((flat == 0).sum())
        self.count += flat.shape[1]
        self.cells = tuple(features.shape[1:])
        self.pooled.append(flat.mean(1))
        self.scores.append(scores.double())

    @property
    def means(self) -> Tensor:
        """Of every channel, over cells and images."""
        return self.total / self.count

    @property
    def sds(self) -> Tensor:
        """Of every channel, likewise."""
        return (self.squares / self.count - self.means.square()).clamp(min=0).sqrt()


def _row(
    size: tuple[int, ...], one: _Gathered, window: _Gathered, fcn: FCN, *, same_images: bool
) -> Row:
    channels = len(one.total)
    mean = float(one.means.mean())
    variance = float(one.squares.sum()) / one.count / channels - mean**2
    pooled, before = torch.stack(one.pooled), torch.stack(window.pooled)  # (images, C)
    # Over images and channels: few images say little of how far a single channel varies.
    unit = before.std(unbiased=False).expand(channels)
    scores = torch.stack(one.scores)
    probabilities = probabilities_of(fcn, scores)
    top = probabilities.amax(1)
    if scores.shape[1] == 1:
        top = torch.maximum(top, 1 - top)
    given = fcn.plan.probabilities
    same = top_classes(scores, probabilities=given) == top_classes(
        torch.stack(window.scores), probabilities=given
    )
    return Row(
        size,
        one.cells,
        Spread(
            mean,
            sqrt(max(0.0, variance)),
            one.zeros / one.count / channels,
            _shift(one.means - window.means, window.sds),
        ),
        Spread(
            float(pooled.mean()),
            float(pooled.std(unbiased=False)),
            float((pooled == 0).double().mean()),
            _shift(pooled - before, unit) if same_images else None,
        ),
        float(top.mean()),
        float(same.double().mean()) if same_images else None,
    )


def _shift(differences: Tensor, units: Tensor) -> float | None:
    """The mean of absolute differences `(..., C)` in units per channel, of those that vary."""
    vary = units > 0
    if not bool(vary.any()):
        return None
    return float((differences.abs()[..., vary] / units[vary]).mean())


def _with_features(fcn: FCN, cut: Cut) -> FCN:
    """The FCN, optimized, giving its last features besides its maps."""
    graph = copy_graph(fcn.graph)
    node = next(node for node in graph.nodes if node.name == cut.node)
    with graph.inserting_after(node):
        kept = graph.call_method("clone", (node,))  # what follows may work in place
    end = graph.output_node()
    end.args = ((kept, end.args[0]),)
    return FCN(fcn, graph, fcn.plan).optimize()


def _run(network: FCN, cut: Cut, x: Tensor) -> tuple[Tensor, Tensor]:
    """The features `(C, *cells)` of an image, and the mean of its scores over the map, `(K,)`."""
    features, answer = network(x.to(next(network.parameters(), x).device))
    scores = tensors_of(answer)[0][0].flatten(1).mean(1)
    return _channels_first(features, cut)[0].cpu(), scores.cpu()


def _channels_first(features: Tensor, cut: Cut) -> Tensor:
    """Features as `(N, C, ...)`, whatever the layout of the classifier is."""
    for axis, group in enumerate(cut.layout, 1):
        if 0 in group:
            parts = features.movedim(axis, 1)
            return parts.reshape(len(parts), cut.channels, -1) if len(group) > 1 else parts
    return features


def _resized(image: Tensor, window: Sequence[int], size: tuple[int, ...]) -> Tensor:
    """The largest middle of an image that has the window's proportions, at `size` px."""
    factor = min(n / w for n, w in zip(image.shape[2:], window, strict=True))
    return scaled(patch(image, [max(1, int(w * factor)) for w in window]), size)
