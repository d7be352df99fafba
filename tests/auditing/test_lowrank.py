"""Answers of layers of low rank, against networks in which the layer really has that rank."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from fc_networks import Functional, Twice, Wide, quiet, subject
from torch import nn

from fullconv.auditing.answers.samples import noise as random_image
from fullconv.auditing.weights import lowrank
from fullconv.auditing.weights.heads import fc_layers, first_over_cells
from fullconv.auditing.weights.lowrank import low_rank
from networks import noise

IMAGES = [noise(3, 14, 16, seed=seed) for seed in range(3)]
"""Their shortest side is 14 px for a window of 12: scaled to 12 * 8 / 7 = 13.7, rounded 14."""


def tried(model: nn.Module, images=IMAGES, seconds: float = 60.0, window: int = 12):
    found = subject(model, window, images=images)
    layers = fc_layers(found)
    return low_rank(found, layers[first_over_cells(layers)], seconds, quiet)


def cut_to(weight: torch.Tensor, rank: int) -> torch.Tensor:
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    return left[:, :rank] * values[:rank] @ right[:rank]


def views(images=IMAGES, window: int = 12) -> torch.Tensor:
    """Middle and corners, by hand; images have the size that is asked for."""
    found = []
    for image in images:
        height, width = image.shape[1:]
        image = F.interpolate(
            image[None].float(), (14, 16), mode="bilinear", antialias=True, align_corners=False
        ).double()[0]
        assert (height, width) == (14, 16)
        for top, left in ((1, 2), (0, 0), (2, 0), (0, 4), (2, 4)):
            found.append(image[:, top : top + window, left : left + window])
    return torch.stack(found)


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (lambda: Wide(), "head.1"),
        (lambda: Wide((200, 12)), "head.1"),  # more outputs than inputs
        (lambda: Wide(bias=False), "head.1"),
        (lambda: Functional(), ""),
        (lambda: Twice(), "first"),
    ],
    ids=["outputs", "inputs", "no bias", "function", "twice"],
)
def test_answers_are_those_of_a_layer_of_that_rank(model, layer):
    model = model().double().eval()
    found = tried(model)
    assert (found.views, found.images, found.noise) == (15, 3, False)
    assert [cut.rank for cut in found.cuts] == sorted({cut.rank for cut in found.cuts})
    with torch.no_grad():
        theirs = model(views())
        for cut in found.cuts:
            twin = copy.deepcopy(model)
            holder = twin.get_submodule(layer) if layer else twin
            weight = holder.weight
            weight.copy_(cut_to(weight, cut.rank))
            answers = twin(views())
            squares = torch.linalg.svdvals(model.get_submodule(layer).weight).square()
            assert cut.kept == pytest.approx(float(squares[: cut.rank].sum() / squares.sum()))
            assert cut.same == int((answers.argmax(1) == theirs.argmax(1)).sum())
            far = (answers - theirs).abs().max() / theirs.abs().max()
            assert cut.difference == pytest.approx(float(far), rel=1e-5)
            out, into = weight.shape
            bias = out if layer != "head.1" or model.head[1].bias is not None else 0
            assert cut.parameters == cut.rank * (out + into) + bias


def test_the_ranks_that_are_looked_at():
    model = Wide().double()
    found = tried(model)
    shares = torch.linalg.svdvals(model.head[1].weight).square().cumsum(0)
    ranks = {int((shares < kept * shares[-1]).sum()) + 1 for kept in (0.9, 0.99)} | {4}
    own = 180 * 16 + 16
    few = {rank for rank in ranks if rank * (180 + 16) + 16 < own}
    assert [cut.rank for cut in found.cuts] == sorted(few)
    assert found.saving_none == tuple(sorted(ranks - few))
    assert found.saving_none  # two layers of rank 15 hold more than the one
    assert all(cut.parameters < own for cut in found.cuts)
    assert (found.full, found.found) == (16, 16)


def test_a_layer_of_low_rank_loses_nothing():
    model = Wide().double()
    with torch.no_grad():
        model.head[1].weight.copy_(noise(16, 3) @ noise(3, 180, seed=1))
    last = tried(model).cuts[-1]
    assert last.rank <= 4
    kept = next(cut for cut in tried(model).cuts if cut.rank >= 3)
    assert kept.kept == pytest.approx(1)
    assert kept.difference <= 1e-10
    assert kept.same == 15
    assert kept.random > 10  # random numbers need nearly all of 16


def test_the_classifier_stays_as_it_is():
    model = Wide().double().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tried_model = subject(model, images=IMAGES)
    model.train()
    low_rank(tried_model, fc_layers(tried_model)[0], 60, quiet)
    assert model.training
    assert model.head[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_noise_where_there_are_no_images():
    model = Wide().double().eval()
    found = tried(model, images=None)
    assert (found.views, found.images, found.noise) == (lowrank.NOISES, 0, True)
    x = torch.cat([random_image(3, (12, 12), seed).pixels for seed in range(found.views)]).double()
    with torch.no_grad():
        theirs = model(x)
        model.head[1].weight.copy_(cut_to(model.head[1].weight, found.cuts[0].rank))
        far = (model(x) - theirs).abs().max() / theirs.abs().max()
    assert found.cuts[0].difference == pytest.approx(float(far), rel=1e-9)


@pytest.mark.parametrize("axes", [1, 3])
def test_any_number_of_axes(axes):
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[axes]
    model = nn.Sequential(conv(1, 2, 3), nn.Flatten(), nn.Linear(2 * 4**axes, 8), nn.Linear(8, 3))
    image = noise(1, *(7,) * axes)
    found = tried(model, [image], window=6)
    assert found.views == 1 + 2**axes
    assert found.cuts[-1].difference < 1


def test_little_time_is_enough_for_a_batch():
    found = tried(Wide(), seconds=1e-6)
    assert found.foreseen is None  # one block of products
    assert found.views == lowrank.CROP_BATCH
    assert all(cut.same is not None for cut in found.cuts)


def test_many_images_are_not_all_looked_at(monkeypatch):
    monkeypatch.setattr(lowrank, "MOST_IMAGES", 2)
    found = tried(Wide())
    assert (found.views, found.images) == (10, 2)


def test_where_the_answer_is_a_probability():
    model = Wide()
    model.head.append(nn.Softmax(1))
    found = tried(model)
    assert all(0 < cut.difference <= 1 for cut in found.cuts)


def test_a_single_score_says_yes_or_no():
    class Binary(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.one = nn.Conv2d(3, 4, 3), nn.Linear(400, 8)
            self.two = nn.Linear(8, 1)

        def forward(self, x):
            return self.two(self.one(self.conv(x).flatten(1)).relu())

    model = Binary().double().eval()
    found = tried(model)
    with torch.no_grad():
        theirs = model(views()) > 0
        model.one.weight.copy_(cut_to(model.one.weight, found.cuts[0].rank))
        same = int(((model(views()) > 0) == theirs).sum())
    assert found.cuts[0].same == same


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_weights_without_singular_values(value):
    found = subject(Wide(), images=IMAGES)
    nn.init.constant_(found.model.head[1].weight, value)
    layers = fc_layers(found)
    found = low_rank(found, layers[first_over_cells(layers)], 60, quiet)
    assert not found.cuts
    assert found.problem == "its weight is all zeros, or not finite"


def test_scores_that_are_no_numbers_are_not_compared():
    """Weights are finite, and what they make is not."""
    model = Wide().double()
    for place in (3, 5):
        nn.init.constant_(model.head[place].weight, 1e300)
    found = tried(model)
    assert found.cuts
    assert found.views == 0
    assert found.problem == "the scores are not finite"
    assert all(cut.same is None and cut.difference is None for cut in found.cuts)


def test_numbers_that_are_not_there():
    with torch.device("meta"):
        model = Wide()
    found = tried(model, images=None)
    assert not found.cuts
    assert found.problem == "its weight is not there to be looked at"
