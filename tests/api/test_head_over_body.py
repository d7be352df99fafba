"""The reference of the certificate: the classifier's own head, slid over its own body's map.

Compared here with the same done by hand, for every way to write a head.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fullconv
from by_hand import assert_same, head_map, whole_windows
from fullconv.api.head import head_over_body
from fullconv.hosts.torch_fx.read import read
from heads import CELLS, ENDS, FLAT, POOLED, members
from networks import Net, Split, noise, padded_body, ready, unpadded_body

BODIES = {"unpadded": (unpadded_body, 18), "padded": (padded_body, 12)}
HEADS = {
    **{name: lambda m, x, flat=flat: m.whole(flat(m, x)) for name, flat in FLAT.items()},
    **{name: lambda m, x, pool=pool: m.vector(pool(m, x)) for name, pool in POOLED.items()},
    **ENDS,
}


def reference(model: nn.Module, window, image: Tensor) -> Tensor:
    reading = read(model, window)
    with torch.no_grad():
        (scores,) = head_over_body(reading, fullconv.plan(model, window), image)
    return scores


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.filterwarnings("ignore:Implicit dimension choice:UserWarning")
def test_every_spelling(name, body):
    build, window = BODIES[body]
    model = ready(Split(build(), HEADS[name], **members()))
    image = noise(1, 3, window + 5, window + 3, seed=9)
    counts = whole_windows(image.shape[2:], (window,) * 2, (2, 2))
    with torch.no_grad():
        features = model.body(image)
    by_hand = head_map(model.head, torch.cat([features] * 2), (CELLS, CELLS), counts)[:1]
    assert_same(reference(model, window, image), by_hand)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size", [1, 2, 4, 6, (6, 4), (1, 5)], ids=str)
def test_adaptive_pooling(size, body):
    build, window = BODIES[body]
    rows, cols = (size, size) if isinstance(size, int) else size
    model = ready(
        Split(
            build(),
            lambda m, x: m.fc(m.pool(x).flatten(1)),
            pool=nn.AdaptiveAvgPool2d(size),
            fc=nn.Linear(5 * rows * cols, 4),
        )
    )
    image = noise(1, 3, window + 5, window + 3)
    with torch.no_grad():
        features = model.body(image)
    assert_same(
        reference(model, window, image), head_map(model.head, features, (CELLS, CELLS), (3, 2))
    )


def in_place_vgg() -> nn.Module:
    """As VGG was first written: everything in place, and no adaptive pool before the head."""
    return ready(
        nn.Sequential(
            nn.Sequential(*padded_body(), nn.ReLU(inplace=True)),
            nn.Flatten(),
            nn.Linear(180, 7),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(7, 4),
            nn.Hardtanh(inplace=True),
        )
    )


def test_layers_that_work_in_place():
    model = in_place_vgg()
    image = noise(1, 3, 17, 15)
    with torch.no_grad():
        features = model[0](image)
    assert_same(reference(model, 12, image), head_map(model[1:], features, (6, 6), (3, 2)))


def test_in_place_on_what_the_head_reads_twice():
    def head(m, x):
        y = x.clone()
        y.mul_(2)
        return m.fc(F.relu_(y.flatten(1))) + m.vector(x.amax((2, 3)))

    model = ready(Split(padded_body(), head, fc=nn.Linear(180, 4), vector=nn.Linear(5, 4)))
    image = noise(1, 3, 17, 15)
    with torch.no_grad():
        features = model.body(image)
    assert_same(reference(model, 12, image), head_map(model.head, features, (6, 6), (3, 2)))


def test_a_head_that_reads_two_maps():
    """A map and the map of the layer after it, one cell a side smaller."""

    def forward(m, x):
        y = m.body(x)
        return m.vector(y.mean((2, 3))) + m.other(m.conv(y).amax((2, 3)))

    model = ready(
        Net(
            forward,
            body=padded_body(),
            conv=nn.Conv2d(5, 4, 2),
            vector=nn.Linear(5, 3),
            other=nn.Linear(4, 3),
        )
    )
    image = noise(1, 3, 17, 15)
    with torch.no_grad():
        y = model.body(image)
        z = model.conv(y)
        ours = reference(model, 12, image)
        for row in range(3):
            for col in range(2):
                first = y[:, :, row : row + 6, col : col + 6].mean((2, 3))
                second = z[:, :, row : row + 5, col : col + 5].amax((2, 3))
                theirs = model.vector(first) + model.other(second)
                assert_same(ours[:, :, row, col], theirs)


def test_the_body_runs_once_however_many_windows_there_are():
    model = in_place_vgg()
    calls = []
    model[0][0].register_forward_pre_hook(lambda *_: calls.append(1))
    reference(model, 12, noise(1, 3, 40, 40))
    assert len(calls) <= 1 + 1


def test_it_is_independent_of_the_fcn():
    """Another network's FCN is found out."""
    model = ready(Split(padded_body(), lambda m, x: m.fc(x.flatten(1)), fc=nn.Linear(180, 4)))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.body[0].weight[0, 0, 0, 0] += 0.1
    assert not fullconv.verify(other, fullconv.convert(model, 12)).ok
