"""A fully-connected layer as two smaller ones: of what rank, and what that does to the answers.

With `U` the left singular vectors of the r largest singular values, the best approximation of rank
r computes `U Uᵀ (W x)`: what the layer makes, projected, so that no new layer has to be built in
order to try it. Where a layer has fewer inputs than outputs, the inputs are projected instead.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from fullconv.auditing.answers.samples import CROP_BATCH, Named, noise, patch, scaled, top_classes
from fullconv.auditing.measuring.timing import Deadline, Say
from fullconv.auditing.subject import Subject
from fullconv.auditing.weights.heads import FcLayer
from fullconv.auditing.weights.spectra import Spectrum, random_rank, spectrum
from fullconv.hosts.torch_fx.fcn import tensors_of
from fullconv.hosts.torch_fx.sharing import share
from fullconv.hosts.torch_fx.tracing import in_eval

KEPT = (0.9, 0.99)
"""Shares of the squared singular values that are looked at."""

RANK_PART = 4
"""A quarter of the full rank is looked at too: 1,024 for fc6, as in Fast R-CNN (Girshick 2015)."""

MOST_SECONDS = 0.8
"""Share of the seconds that singular values may take; the rest is for answers."""

MARGIN = 8 / 7
"""Views are cut from images whose shortest side is so many windows: 256 px for 224."""

MOST_IMAGES = 32
NOISES = 16


@dataclass(frozen=True, slots=True)
class Cut:
    """What is left of the answers where a layer is cut to a rank.

    Attributes:
        rank: the rank.
        kept: share of the squared singular values.
        parameters: of the two layers in its place.
        random: the rank that random numbers of this shape need to keep as much.
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
    """A layer at lower ranks.

    Attributes:
        cuts: by rank; none where the singular values were not found.
        full: the rank it has now, at most.
        found: how many singular values were found; all, or the largest by random projection.
        views: how many views the answers were compared on; from `images` images, or noise.
        foreseen: seconds that the singular values would take, where that was too long.
        problem: why there are none beside that; or, where there are, why answers were not compared.
        saving_none: ranks that were left out, since two layers of that rank hold no less than one.
    """

    cuts: tuple[Cut, ...] = ()
    full: int = 0
    found: int = 0
    views: int = 0
    images: int = 0
    noise: bool = False
    foreseen: float | None = None
    problem: str = ""
    saving_none: tuple[int, ...] = ()


def low_rank(subject: Subject, layer: FcLayer, seconds: float, say: Say) -> LowRank:
    """The ranks that keep 90 and 99 % of a layer, a quarter of its rank, and what they answer."""
    weight, full = layer.weight, min(layer.inputs, layer.outputs)
    if weight is None or weight.is_meta:
        return LowRank(full=full, problem="its weight is not there to be looked at")
    if not bool(torch.isfinite(weight).all()) or not bool(weight.any()):
        return LowRank(full=full, problem="its weight is all zeros, or not finite")
    deadline = Deadline(seconds)
    say(f"singular values of {layer.where}")
    found = spectrum(weight, MOST_SECONDS * seconds)
    if isinstance(found, float):
        return LowRank(full=full, foreseen=found)
    wanted = [max(1, full // RANK_PART), *map(found.rank, KEPT)]
    ranks = {rank for rank in wanted if rank is not None}
    every = [_cut(layer, found, rank) for rank in sorted(ranks)]
    cuts = [cut for cut in every if cut.parameters < layer.parameters]
    say(f"answers with {layer.where} at lower ranks")
    answers = _answers(subject, layer, found, cuts, deadline)
    return LowRank(
        tuple(answers.of(place, cut) for place, cut in enumerate(cuts)),
        full,
        len(found.squares),
        answers.views,
        min(MOST_IMAGES, len(subject.images)),
        not subject.images,
        problem=answers.problem,
        saving_none=tuple(cut.rank for cut in every if cut not in cuts),
    )


def _cut(layer: FcLayer, found: Spectrum, rank: int) -> Cut:
    kept = found.share(rank)
    short, long = sorted((layer.inputs, layer.outputs))
    parameters = rank * (layer.inputs + layer.outputs) + layer.bias
    return Cut(rank, kept, parameters, random_rank(short, long, kept))


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


class _Answers:
    """What was compared, view by view."""

    def __init__(self, cuts: int, problem: str = "") -> None:
        self.views, self.problem = 0, problem
        self._same, self._largest, self._scale = [0] * cuts, [0.0] * cuts, 0.0

    def of(self, place: int, cut: Cut) -> Cut:
        """The cut with its answers."""
        far = self._largest[place] / (self._scale or 1.0)
        return replace(cut, same=self._same[place], difference=far) if self.views else cut

    def add(self, ours: Sequence[Tensor], scores: Tensor, *, probabilities: bool) -> None:
        """Scores `(N, K)` at every cut, and those of the network as it is."""
        top = top_classes(scores, probabilities=probabilities)
        self.views += len(scores)
        self._scale = max(self._scale, float(scores.abs().max()))
        for place, cut in enumerate(ours):
            self._same[place] += int((top_classes(cut, probabilities=probabilities) == top).sum())
            far = float((cut - scores).abs().max())
            self._largest[place] = max(self._largest[place], far)


def _answers(
    subject: Subject, layer: FcLayer, found: Spectrum, cuts: Sequence[Cut], deadline: Deadline
) -> _Answers:
    """Compare as many views as there is time for, and at least a batch of them."""
    reading = subject.reading
    assert reading is not None
    network = fx.GraphModule(share(reading.model, reading.constants), reading.graph)
    replay = _Replay(network, layer.node, reading.blueprint.by_name[layer.node].inputs[0])
    like = next(subject.model.parameters())
    vectors = found.vectors.to(like)
    views, answers, took = _views(subject), _Answers(len(cuts)), 0.0
    with in_eval(network), torch.inference_mode():
        for first in range(0, len(views), CROP_BATCH):
            if answers.views and took > deadline.left:
                break
            began = time.perf_counter()
            replay.run(torch.cat(views[first : first + CROP_BATCH]).to(like))
            given, made = replay.given, replay.made
            scores = replay.again(made.clone())
            ours = [
                replay.again(_projected(layer, found, vectors[:, : cut.rank], given, made))
                for cut in cuts
            ]
            if not all(bool(torch.isfinite(one).all()) for one in (scores, *ours)):
                return _Answers(len(cuts), "the scores are not finite")
            answers.add(ours, scores, probabilities=subject.fcn.plan.probabilities)
            took = time.perf_counter() - began
    return answers


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
