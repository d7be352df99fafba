"""Networks with ops that nobody has described, and descriptions of them."""

from dataclasses import dataclass

import torch
from torch import nn

import fullconv
from by_hand import TOLERANCE, crop_map
from fullconv.blueprint import Op
from fullconv.errors import RefusedError
from fullconv.surgery.edits import Edit
from fullconv.surgery.rules import Outcome
from networks import Net
from streamed import stream


def network(forward, **members):
    """An unpadded body, `forward` on its map `(N, 4, 4, 4)`, a linear layer."""
    return Net(
        lambda m, x: m.fc(forward(m, m.body(x)).flatten(1)),
        body=nn.Conv2d(3, 4, 3, stride=2),
        fc=nn.Linear(64, 5),
        **members,
    ).double()


def check(model, *, streams=True, **options):
    """The FCN, equal to the classifier on every crop."""
    fcn = fullconv.convert(model, 9, **options)
    image = torch.randn(2, 3, 14, 13, dtype=torch.float64)
    expected = crop_map(model, image, (9, 9), fcn.stride)
    with torch.no_grad():
        scores = fcn(image)
    assert scores.shape == expected.shape
    assert (scores - expected).abs().max() <= TOLERANCE * expected.abs().max()
    try:
        found = stream(fcn, image, 2, 3)[0]
    except RefusedError as refusal:  # an edit of somebody's own: its reach is not known
        assert streams is False, refusal
    else:
        assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
    return fcn


class Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        return x * y.tanh()


class Gate(nn.Module):
    def forward(self, x, y=None):
        return Opaque.apply(x, x if y is None else y)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(5))

    def forward(self, x):
        assert x.ndim == 2  # a map would be scaled along its rows
        return Opaque.apply(x, self.scale)


@dataclass(frozen=True)
class Mirror(Op):
    """The channels in the opposite order."""


@dataclass(frozen=True)
class MirrorChannels(Edit):
    def __str__(self):
        return "mirrored channels"


def mirrored(op, node, inputs, setting):
    return Outcome(inputs[0], None if inputs[0].is_plain else MirrorChannels(), "mirrored")


def mirror(work, node, edit):
    work.call(node, torch.flip, work.input(node), (1,))


def mirroring():
    model = network(lambda m, x: torch.flip(x, (1,)))
    return Net(lambda m, x: torch.flip(m.inner(x), (1,)), inner=model)


def read_flip(input, dims):
    return (Mirror(), (input,)) if dims == (1,) else None
