"""A fully-connected layer as two smaller ones: of what rank, and what that does to the answers.

The best approximation of rank r keeps the r largest singular values (Eckart & Young 1936). With
`U` their left singular vectors, it computes `U Uᵀ (W x)`: the answers of the layer projected, so
that no new layer has to be built in order to try it. Where a layer has fewer inputs than outputs
the inputs are projected instead.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from fullconv.auditing.heads import FcLayer
from fullconv.auditing.measuring.timing import Deadline, Say
from fullconv.auditing.samples import CROP_BATCH, Named, noise, patch, scaled, top_classes
from fullconv.auditing.subject import Subject
from fullconv.hosts.torch_fx.fcn import tensors_of
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.tracing import in_eval

KEPT = (0.9, 0.99)
"""Shares of the squared singular values that are looked at."""

SAMPLE = 512
"""Rows that are tried first, to foresee how long all of them take."""

MARGIN = 8 / 7
"""Views are cut from images whose shortest side is so many windows: 256 px for 224."""

MOST_IMAGES = 32
NOISES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """The squared singular values of a weight.

    Attributes:
        squares: of all singular values, largest first, in float64.
        vectors: the singular vectors of the shorter side as columns, in the same order.
        of_inputs: whether that side is the inputs.
    """

    squares: Tensor
    vectors: Tensor
    of_inputs: bool

    def rank(self, kept: float) -> int:
        """The least rank that keeps this share of the sum of squares."""
        sums = self.squares.cumsum(0)
        return min(len(sums), 1 + int((sums < kept * sums[-1]).sum()))

    def share(self, rank: int) -> float:
        """What a rank keeps."""
        return float(self.squares[:rank].sum() / self.squares.sum())


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left of the answers where a layer is cut to a rank.

    Attributes:
        rank: the rank.
        kept: share of the squared singular values.
        parameters: of the two layers in its place.
        random: the rank that random numbers of this shape would need.
        same: views with the same top class; None where answers were not compared.
        difference: largest difference of a score, relative to the largest score; likewise.
    """

    rank: int
    kept: float
    parameters: int
    random: int
    same: int | None = None
    difference: float | None = None


@dataclass(frozen=True, slots=True)
class LowRank:
    """A layer at the ranks of `KEPT`.

    Attributes:
        cuts: one for each; none where the singular values were not found.
        views: how many views the answers were compared on; from `images` images, or noise.
        foreseen: seconds that the singular values would take, where that was too long.
        problem: why there are none beside that.
    """

    cuts: tuple[Cut, ...] = ()
    views: int = 0
    images: int = 0
    noise: bool = False
    foreseen: float | None = None
    problem: str = ""


def low_rank(subject: Subject, layer: FcLayer, seconds: float, say: Say) -> LowRank:
    """The ranks that keep 90 and 99 % of a layer, and how answers change, in so many seconds."""
    weight = layer.weight
    if weight is None or weight.is_meta:
        return LowRank(problem="its weight is not there to be looked at")
    if not bool(torch.isfinite(weight).all()) or not bool(weight.any()):
        return LowRank(problem="its weight is all zeros, or not finite")
    deadline = Deadline(seconds)
    say(f"singular values of {layer.where}")
    found = spectrum(weight, 0.7 * seconds)
    if isinstance(found, float):
        return LowRank(foreseen=found)
    cuts = [_cut(layer, found, kept) for kept in KEPT]
    say(f"answers with {layer.where} at lower ranks")
    views = _views(subject)
    compared, same, largest = _compared(subject, layer, found, cuts, views, deadline)
    return LowRank(
        tuple(
            Cut(cut.rank, cut.kept, cut.parameters, cut.random, right, difference)
            for cut, right, difference in zip(cuts, same, largest, strict=True)
        )
        if compared
        else tuple(cuts),
        compared,
        min(MOST_IMAGES, len(subject.images)),
        not subject.images,
    )


def spectrum(weight: Tensor, seconds: float) -> Spectrum | float:
    """The singular values of `(out, in)`, from the products of its rows, or of its columns.

    Or the seconds that it would take, where those are more than there are.
    """
    numbers = weight if weight.dtype == torch.float64 else weight.float()
    of_inputs = weight.shape[0] > weight.shape[1]
    rows = numbers.T if of_inputs else numbers  # (short, long)
    count = len(rows)
    if count > SAMPLE:
        began = time.perf_counter()
        few = rows[:SAMPLE]
        product = few @ few.T
        between = time.perf_counter()
        torch.linalg.eigh(product)
        ended = time.perf_counter()
        larger = count / SAMPLE
        foreseen = larger**2 * (between - began) + larger**3 * (ended - between)
        if foreseen > seconds:
            return foreseen
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    return Spectrum(values.double().clamp(min=0).flip(0), vectors.flip(1), of_inputs)


def random_rank(short: int, long: int, kept: float) -> int:
    """The rank that a matrix of independent random numbers needs (Marchenko & Pastur 1967)."""
    ratio = short / long
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2
    edges = np.linspace(0, np.pi, 20001)
    middle = (edges[1:] + edges[:-1]) / 2
    # Evenly spaced angles, so that the density has no spikes at its ends; largest values first.
    x = (low + high) / 2 + (high - low) / 2 * np.cos(middle)
    density = np.sin(middle) ** 2 / x
    density /= density.sum()
    energy = np.cumsum(x * density) / np.sum(x * density)
    return max(1, round(short * float(np.interp(kept, energy, np.cumsum(density)))))


def _cut(layer: FcLayer, found: Spectrum, kept: float) -> Cut:
    rank = found.rank(kept)
    short, long = sorted((layer.inputs, layer.outputs))
    return Cut(
        rank,
        found.share(rank),
        rank * (layer.inputs + layer.outputs) + layer.bias,
        random_rank(short, long, kept),
    )


def _views(subject: Subject) -> list[Tensor]:
    """Middle and corners of every image, a window each, as (Krizhevsky et al. 2012) took them."""
    window, dims = subject.window, len(subject.window)
    if not subject.images:
        return [noise(subject.channels, window, seed).pixels for seed in range(NOISES)]
    found = []
    for name, pixels in subject.images[:MOST_IMAGES]:
        image = Named(name, pixels)
        factor = max(w * MARGIN / n for w, n in zip(window, image.size, strict=True))
        size = [max(w, round(n * factor)) for w, n in zip(window, image.size, strict=True)]
        whole = scaled(pixels, size)
        found.append(patch(whole, window))
        for corner in range(2**dims):
            spans: list[Any] = [
                slice(n - w, n) if corner >> axis & 1 else slice(0, w)
                for axis, (n, w) in enumerate(zip(size, window, strict=True))
            ]
            found.append(whole[(..., *spans)])
    return found


def _compared(
    subject: Subject,
    layer: FcLayer,
    found: Spectrum,
    cuts: Sequence[Cut],
    views: Sequence[Tensor],
    deadline: Deadline,
) -> tuple[int, list[int], list[float]]:
    """How many views were compared; for each cut how many kept their class, and how far they are.

    As many views as there is time for, and at least a batch of them.
    """
    reading = subject.reading
    assert reading is not None
    network = fx.GraphModule(share(reading.model, reading.constants), reading.graph)
    replay = _Replay(network, layer.node, reading.blueprint.by_name[layer.node].inputs[0])
    like = next(subject.model.parameters())
    of_model = subject.fcn.plan.probabilities
    vectors = found.vectors.to(like)
    same, largest, scale, done = [0] * len(cuts), [0.0] * len(cuts), 0.0, 0
    took = 0.0
    with in_eval(network), torch.inference_mode():
        for first in range(0, len(views), CROP_BATCH):
            if done and took > deadline.left:
                break
            began = time.perf_counter()
            batch = torch.cat(list(views[first : first + CROP_BATCH])).to(like)
            replay.run(batch)
            given, made = replay.given, replay.made
            scores = replay.again(made.clone())
            scale = max(scale, float(scores.abs().max()))
            for index, cut in enumerate(cuts):
                ours = replay.again(_projected(layer, found, vectors[:, : cut.rank], given, made))
                classes = [top_classes(s, probabilities=of_model) for s in (ours, scores)]
                same[index] += int((classes[0] == classes[1]).sum())
                largest[index] = max(largest[index], float((ours - scores).abs().max()))
            done += len(batch)
            took = time.perf_counter() - began
    return done, same, [value / (scale or 1.0) for value in largest]


def _projected(
    layer: FcLayer, found: Spectrum, basis: Tensor, given: Tensor, made: Tensor
) -> Tensor:
    """What the layer makes `(…, out)` of what it is given `(…, in)` where only `basis` is left."""
    if found.of_inputs:
        assert layer.weight is not None
        return F.linear(given @ basis @ basis.T, layer.weight, layer.offset)
    offset = 0.0 if layer.offset is None else layer.offset
    return (made - offset) @ basis @ basis.T + offset


class _Replay(fx.Interpreter):
    """Runs a network, keeps what a layer is given and makes, and goes on from there with another.

    Work in place does not reach what is kept.
    """

    def __init__(self, network: fx.GraphModule, layer: str, source: str) -> None:
        super().__init__(network, garbage_collect_values=False)
        named = {node.name: node for node in network.graph.nodes}
        self._layer, self._source = named[layer], named[source]
        self.given = self.made = torch.zeros(0)

    def run_node(self, n: fx.Node) -> Any:
        """As the network does it."""
        if n is self._layer:
            self.given = self.env[self._source].clone()
        value = super().run_node(n)
        if n is self._layer:
            self.made = value.clone()
        return value

    def again(self, made: Tensor) -> Tensor:
        """The scores `(N, K)` where the layer makes something else."""
        behind = {self._layer}
        self.env[self._layer] = made
        answer: Any = None
        for node in self.graph.nodes:
            if behind & set(node.all_input_nodes):
                behind.add(node)
                answer = self.env[node] = super().run_node(node)
        scores = tensors_of(answer)[0]
        return scores.reshape(len(scores), -1)
