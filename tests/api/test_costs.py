"""MACs against counts by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fullconv.api.costs import macs
from networks import Net, noise

CELLS, WIDTH = 12, 8


def cells(x):
    """A map `(N, C, H, W)` as `(N, positions, C)`."""
    return x.flatten(2).mT


ATTENTION = {
    "fused": Net(lambda self, x: F.scaled_dot_product_attention(*[cells(x)[:, None]] * 3)),
    "spelled out": Net(lambda self, x: (cells(x) @ cells(x).mT).softmax(-1) @ cells(x)),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name):
    products = 2 * CELLS * CELLS * WIDTH
    assert macs(ATTENTION[name], (1, WIDTH, 3, 4)) == products
    assert macs(ATTENTION[name], (3, WIDTH, 3, 4)) == 3 * products


def test_keys_and_values_of_other_sizes():
    def forward(self, x):
        q, k, v = x[:, :, :5, :3], x[:, :, :7, :3], x[:, :, :7]
        return F.scaled_dot_product_attention(q, k, v)

    net = Net(forward)
    assert net(noise(2, 4, 9, 6)).shape == (2, 4, 5, 6)
    assert macs(net, (2, 4, 9, 6)) == 2 * 4 * 5 * 7 * (3 + 6)


def test_layers_of_attention():
    attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    net = Net(lambda self, x: self.a(cells(x), cells(x), cells(x))[0], a=attention)
    projections = CELLS * WIDTH * 4 * WIDTH
    fused = torch.backends.mha.get_fastpath_enabled()
    assert macs(net, (1, WIDTH, 3, 4)) == projections + 2 * CELLS * CELLS * WIDTH
    assert torch.backends.mha.get_fastpath_enabled() == fused


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_layers(kind, gates, directions):
    layer = kind(WIDTH, 5, batch_first=True, bidirectional=directions == 2)
    net = Net(lambda self, x: self.layer(cells(x))[0], layer=layer)
    assert macs(net, (2, WIDTH, 3, 4)) == 2 * CELLS * directions * gates * 5 * (WIDTH + 5)


def test_the_fast_way_of_attention_comes_back_after_an_error():
    def forward(self, x):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        macs(Net(forward), (1, WIDTH, 3, 4))
    assert torch.backends.mha.get_fastpath_enabled()
