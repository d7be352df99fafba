"""Operations that work in place, on maps that others read too.

A classifier's flatten is a view or a copy; what changes one changes the other, or does not.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from by_hand import assert_at_window, assert_same, crop_map
from networks import Net, noise, ready, unpadded_body
from streamed import stream


def both(m, a, y):
    """A head that reads what was worked on and what it came from."""
    return m.fc(a.flatten(1)) + m.vector(y.mean((2, 3)))


def in_place(x):
    return x.mul_(-0.7).add_(0.1)


FORWARDS = {
    "the map itself": lambda m, y: both(m, in_place(y), y),
    "a flattened view": lambda m, y: both(m, in_place(y.flatten(1)), y),
    "a view": lambda m, y: both(m, in_place(y.view(y.size(0), -1)), y),
    "a view, its result unused": lambda m, y: (y.view(y.size(0), -1).mul_(-0.7), both(m, y, y))[1],
    "a permuted view": lambda m, y: both(m, in_place(y.permute(0, 2, 3, 1)), y),
    "a permuted copy": lambda m, y: both(m, in_place(y.permute(0, 2, 3, 1).flatten(1)), y),
    "a contiguous copy": lambda m, y: both(m, in_place(y.transpose(2, 3).contiguous()), y),
    "a clone": lambda m, y: both(m, in_place(y.clone()), y),
    "after dropout": lambda m, y: both(m, in_place(F.dropout(y, 0.5, False)), y),
    "after an identity": lambda m, y: both(m, in_place(m.identity(y)), y),
    "after an adaptive pool that does nothing": lambda m, y: both(m, in_place(m.pool(y)), y),
    "after a mean of one cell": lambda m, y: both_vectors(m, y.amax((2, 3), keepdim=True)),
    "a ReLU module": lambda m, y: both(m, m.relu(y), y),
    "a ReLU module on a view": lambda m, y: both(m, m.relu(m.flat(y)), y),
    "a ReLU module, its result unused": lambda m, y: (m.relu(y), both(m, y, y))[1],
    "relu_": lambda m, y: both(m, F.relu_(y.flatten(1)), y),
    "an inplace argument": lambda m, y: both(m, F.relu(y.flatten(1), inplace=True), y),
    "read before": lambda m, y: m.vector(y.mean((2, 3))) + m.fc(in_place(y).flatten(1)),
    "added in place": lambda m, y: both(m, y.__iadd__(y * 0.5), y),
    "on the scores": lambda m, y: in_place(m.fc(y.flatten(1))),
    "on squeezed scores": lambda m, y: on_scores(m.fc(y.flatten(1))[:, :1]),
}


def both_vectors(m, v):
    w = v.mean((2, 3))
    in_place(w)
    return m.vector(v.flatten(1)) + m.vector(w)


def on_scores(s):
    t = s.squeeze(1)
    t.mul_(2)
    return s + t.unsqueeze(1)


@pytest.mark.parametrize("name", FORWARDS)
def test_in_place(name):
    forward = FORWARDS[name]
    model = ready(
        Net(
            lambda m, x: forward(m, m.body(x)),
            body=unpadded_body(),
            fc=nn.Linear(180, 4),
            vector=nn.Linear(5, 4),
            pool=nn.AdaptiveAvgPool2d(6),
            identity=nn.Identity(),
            flat=nn.Flatten(),
            relu=nn.ReLU(inplace=True),
        )
    )
    fcn = fullconv.convert(model, 18)
    assert_at_window(model, fcn, noise(2, 3, 18, 18))
    image = noise(2, 3, 23, 21)
    before = image.clone()
    with torch.no_grad():
        theirs = crop_map(lambda x: model(x.clone()), image, (18, 18), (2, 2))
        assert_same(fcn(image), theirs)
    assert torch.equal(image, before)
    for height, width in ((1, 2), (2, 1), (9, 9)):
        assert_same(stream(fcn, image, height, width)[0], theirs)


def test_in_place_work_on_the_image():
    """The classifier changes its input; of windows that overlap only one could be changed."""
    model = ready(
        Net(
            lambda m, x: m.fc(m.body(x.sub_(0.5)).flatten(1)),
            body=unpadded_body(),
            fc=nn.Linear(180, 4),
        )
    )
    fcn = fullconv.convert(model, 18)
    image = noise(1, 3, 23, 21)
    with torch.no_grad():
        theirs = crop_map(lambda x: model(x.clone()), image, (18, 18), (2, 2))
        assert_same(fcn(image.clone()), theirs)
    assert_same(stream(fcn, image, 2, 1)[0], theirs)
