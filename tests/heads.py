"""Every way people write "flatten, then linear": heads for a map of five channels, six cells a side.

Each is a function of a network's members and the body's map. FLAT ones give the flattened map,
POOLED ones a vector; the others are whole heads. `members()` makes what they use.
"""

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS, CELLS, CLASSES = 5, 6, 4
AREA = CELLS * CELLS
FLATTENED = CHANNELS * AREA


class Scaled(nn.Linear):
    """A linear layer of one's own, that calls F.linear."""

    def forward(self, x):
        return F.linear(x, self.weight * 2, self.bias)


def members() -> dict[str, nn.Module]:
    """What the heads below are made of."""
    c, k = CHANNELS, CLASSES
    return {
        "flat": nn.Flatten(),
        "whole": nn.Linear(FLATTENED, k),
        "vector": nn.Linear(c, k),
        "wide": nn.Linear(FLATTENED, 7),
        "narrow": nn.Linear(7, k),
        "one": nn.Linear(FLATTENED, 1),
        "own": Scaled(FLATTENED, k),
        "drop": nn.Dropout(),
        "norm": nn.BatchNorm1d(7),
        "plain_norm": nn.BatchNorm1d(7, affine=False),
        "cells": nn.Linear(c, 3),
        "of_cells": nn.Linear(3 * AREA, k),
        "cover": nn.Conv2d(c, 7, CELLS),
        "point": nn.Conv2d(7, k, 1),
        "each": nn.Conv2d(c, k, 1),
        "weight": nn.Parameter(torch.randn(k, FLATTENED) / 10),
        "bias": nn.Parameter(torch.randn(k)),
        "temperature": nn.Parameter(torch.tensor(1.7)),
        "scales": nn.Parameter(torch.randn(k)),
        "shift": torch.randn(1, k),
        "average_all": nn.AvgPool2d(CELLS),
        "max_all": nn.MaxPool2d(CELLS),
        "global_average": nn.AdaptiveAvgPool2d(1),
        "global_max": nn.AdaptiveMaxPool2d(1),
        "softmax": nn.Softmax(dim=1),
        "softmax_last": nn.Softmax(dim=-1),
        "softmax_none": nn.Softmax(dim=None),
        "log_softmax": nn.LogSoftmax(dim=1),
        "sigmoid": nn.Sigmoid(),
        "relu": nn.ReLU(inplace=True),
    }


def _unpacked(m, x):
    n, c, h, w = x.shape
    return x.view(n, c * h * w)


def _by_hand(m, x):
    features = 1
    for size in x.size()[1:]:
        features *= size
    return x.view(-1, features)


FLAT = {
    "nn.Flatten": lambda m, x: m.flat(x),
    "torch.flatten": lambda m, x: torch.flatten(x, 1),
    "torch.flatten by keyword": lambda m, x: torch.flatten(x, start_dim=1),
    "x.flatten(1)": lambda m, x: x.flatten(1),
    "x.flatten(start_dim=1)": lambda m, x: x.flatten(start_dim=1),
    "x.flatten(-3)": lambda m, x: x.flatten(-3),
    "flatten twice": lambda m, x: x.flatten(2).flatten(1),
    "view(x.size(0), -1)": lambda m, x: x.view(x.size(0), -1),
    "view(x.shape[0], -1)": lambda m, x: x.view(x.shape[0], -1),
    "view(x.size()[0], -1)": lambda m, x: x.view(x.size()[0], -1),
    "view((x.size(0), -1))": lambda m, x: x.view((x.size(0), -1)),
    "view(-1, number)": lambda m, x: x.view(-1, FLATTENED),
    "view(-1, features of x)": lambda m, x: x.view(-1, x.size(1) * x.size(2) * x.size(3)),
    "view(-1, product)": _by_hand,
    "view(n, c * h * w)": _unpacked,
    "view(*sizes, -1)": lambda m, x: x.view(*x.shape[:1], -1),
    "view(x.size(0), numel)": lambda m, x: x.view(x.size(0), x.numel() // x.size(0)),
    "reshape(len(x), -1)": lambda m, x: x.reshape(len(x), -1),
    "reshape(x.size(0), -1)": lambda m, x: x.reshape(x.size(0), -1),
    "reshape(-1, number)": lambda m, x: x.reshape(-1, FLATTENED),
    "torch.reshape": lambda m, x: torch.reshape(x, (x.shape[0], -1)),
    "contiguous().view": lambda m, x: x.contiguous().view(x.size(0), -1),
    "squeeze of nothing": lambda m, x: x.squeeze().flatten(1),
}

POOLED = {
    "AdaptiveAvgPool2d(1)": lambda m, x: m.global_average(x).flatten(1),
    "AdaptiveMaxPool2d(1)": lambda m, x: m.global_max(x).flatten(1),
    "adaptive_avg_pool2d, squeeze twice": lambda m, x: (
        F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)
    ),
    "adaptive_avg_pool2d, squeeze()": lambda m, x: F.adaptive_avg_pool2d(x, (1, 1)).squeeze(),
    "adaptive_max_pool2d": lambda m, x: F.adaptive_max_pool2d(x, 1).flatten(1),
    "adaptive_avg_pool2d, [:, :, 0, 0]": lambda m, x: F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0],
    "mean, [..., 0, 0]": lambda m, x: x.mean((2, 3), keepdim=True)[..., 0, 0],
    "mean((2, 3))": lambda m, x: x.mean((2, 3)),
    "mean([-1, -2])": lambda m, x: x.mean([-1, -2]),
    "mean(dim=)": lambda m, x: x.mean(dim=(-2, -1)),
    "mean(axis=)": lambda m, x: x.mean(axis=(2, 3)),
    "mean(keepdims=)": lambda m, x: x.mean((2, 3), keepdims=True).flatten(1),
    "torch.mean": lambda m, x: torch.mean(x, (2, 3)),
    "mean(-1).mean(-1)": lambda m, x: x.mean(-1).mean(-1),
    "mean(2).mean(2)": lambda m, x: x.mean(2).mean(2),
    "mean keepdim": lambda m, x: x.mean((2, 3), keepdim=True).flatten(1),
    "mean of flattened space": lambda m, x: x.flatten(2).mean(-1),
    "mean of viewed space": lambda m, x: x.view(x.size(0), x.size(1), -1).mean(2),
    "mean channels last": lambda m, x: x.permute(0, 2, 3, 1).mean((1, 2)),
    "amax": lambda m, x: x.amax((2, 3)),
    "amax keepdim": lambda m, x: x.amax((-2, -1), keepdim=True).squeeze(3).squeeze(2),
    "avg_pool2d(x, x.shape[-1])": lambda m, x: F.avg_pool2d(x, x.shape[-1]).flatten(1),
    "avg_pool2d(x, x.shape[2:])": lambda m, x: F.avg_pool2d(x, x.shape[2:]).flatten(1),
    "avg_pool2d(x, x.size()[2:])": lambda m, x: F.avg_pool2d(x, x.size()[2:]).flatten(1),
    "avg_pool2d(kernel_size=)": lambda m, x: F.avg_pool2d(x, kernel_size=CELLS).flatten(1),
    "max_pool2d(x, x.shape[2:])": lambda m, x: F.max_pool2d(x, x.shape[2:]).flatten(1),
    "AvgPool2d of all": lambda m, x: m.average_all(x).flatten(1),
    "MaxPool2d of all": lambda m, x: m.max_all(x).flatten(1),
    "average plus maximum": lambda m, x: x.mean((2, 3)) + x.amax((2, 3)),
    "squeeze and unsqueeze": lambda m, x: x.mean((2, 3)).unsqueeze(-1).squeeze(-1),
}

ENDS = {
    "two layers": lambda m, x: m.narrow(F.relu(m.wide(m.flat(x)))),
    "dropout module": lambda m, x: m.narrow(m.drop(m.wide(m.drop(m.flat(x))))),
    "dropout function": lambda m, x: m.narrow(
        F.dropout(m.wide(m.flat(x)), 0.5, training=m.training)
    ),
    "relu in place": lambda m, x: m.narrow(m.relu(m.wide(m.flat(x)))),
    "batch norm between": lambda m, x: m.narrow(F.relu(m.norm(m.wide(m.flat(x))))),
    "batch norm without weights": lambda m, x: m.narrow(m.plain_norm(m.wide(m.flat(x)))),
    "softmax module": lambda m, x: m.softmax(m.whole(m.flat(x))),
    "softmax module, last": lambda m, x: m.softmax_last(m.whole(m.flat(x))),
    "softmax module, None": lambda m, x: m.softmax_none(m.whole(m.flat(x))),
    "log softmax module": lambda m, x: m.log_softmax(m.whole(m.flat(x))),
    "softmax(dim=1)": lambda m, x: F.softmax(m.whole(m.flat(x)), dim=1),
    "softmax(-1)": lambda m, x: m.whole(m.flat(x)).softmax(-1),
    "torch.softmax": lambda m, x: torch.softmax(m.whole(m.flat(x)), 1),
    "softmax(None)": lambda m, x: F.softmax(m.whole(m.flat(x)), dim=None),
    "log_softmax(dim=1)": lambda m, x: F.log_softmax(m.whole(m.flat(x)), dim=1),
    "log_softmax(-1)": lambda m, x: m.whole(m.flat(x)).log_softmax(-1),
    "log_softmax(None)": lambda m, x: F.log_softmax(m.whole(m.flat(x))),
    "log_softmax, exp": lambda m, x: F.log_softmax(m.whole(m.flat(x)), 1).exp(),
    "times a number": lambda m, x: m.whole(m.flat(x)) * 100 / 3 - 1,
    "times a parameter": lambda m, x: m.temperature.exp() * m.whole(m.flat(x)),
    "times a parameter each": lambda m, x: m.whole(m.flat(x)) * m.scales + m.shift,
    "F.linear": lambda m, x: F.linear(m.flat(x), m.weight, m.bias),
    "F.linear by keyword": lambda m, x: F.linear(m.flat(x), weight=m.weight, bias=m.bias),
    "F.linear without bias": lambda m, x: F.linear(x.flatten(1), m.weight),
    "a linear layer of one's own": lambda m, x: m.own(m.flat(x)),
    "one score": lambda m, x: m.one(m.flat(x)),
    "one score, sigmoid": lambda m, x: m.sigmoid(m.one(m.flat(x))),
    "one score, squeeze(1)": lambda m, x: m.one(m.flat(x)).squeeze(1),
    "one score, squeeze(-1)": lambda m, x: m.one(m.flat(x)).squeeze(-1),
    "one score, [:, 0]": lambda m, x: m.one(m.flat(x))[:, 0],
    "one score, view(-1)": lambda m, x: m.one(m.flat(x)).view(-1),
    "one score, flatten()": lambda m, x: m.one(m.flat(x)).flatten(),
    "ends in (N, K, 1, 1)": lambda m, x: m.point(F.relu(m.cover(x))),
    "ends in (N, K, 1, 1), flattened": lambda m, x: m.point(F.relu(m.cover(x))).flatten(1),
    "ends in (N, K, 1, 1), pooled": lambda m, x: F.adaptive_avg_pool2d(m.each(x), 1),
    "1×1 convolution, then mean": lambda m, x: m.each(x).mean((2, 3)),
    "1×1 after the mean": lambda m, x: m.each(x.mean((2, 3), keepdim=True)),
    "linear at every cell, then mean": lambda m, x: m.vector(x.permute(0, 2, 3, 1)).mean((1, 2)),
    "linear at every cell, then flatten": lambda m, x: m.of_cells(
        m.cells(x.permute(0, 2, 3, 1)).flatten(1)
    ),
    "height, width, channel": lambda m, x: m.whole(x.permute(0, 2, 3, 1).flatten(1)),
    "width, height, channel": lambda m, x: m.whole(x.permute(0, 3, 2, 1).reshape(-1, FLATTENED)),
    "channel, width, height": lambda m, x: m.whole(x.transpose(2, 3).flatten(1)),
    "height, width, channel by transposes": lambda m, x: m.whole(
        x.transpose(1, 2).transpose(2, 3).reshape(x.size(0), -1)
    ),
    "some channels": lambda m, x: F.linear(x[:, 1:4].flatten(1), m.weight[:, : 3 * AREA]),
    "every other channel": lambda m, x: F.linear(x[:, ::2].flatten(1), m.weight[:, : 3 * AREA]),
    "the last channels": lambda m, x: F.linear(x[:, -3:].flatten(1), m.weight[:, : 3 * AREA]),
    "more channels than there are": lambda m, x: m.whole(x[:, -100:].flatten(1)),
    "one channel, flattened": lambda m, x: F.linear(x[:, 2:3].flatten(1), m.weight[:, :AREA]),
    "some scores": lambda m, x: m.whole(m.flat(x))[:, 1:],
    "scores side by side": lambda m, x: torch.cat(
        [m.whole(m.flat(x)), m.vector(x.amax((2, 3)))], 1
    ),
    "concatenated last": lambda m, x: torch.cat(
        (m.vector(x.mean((2, 3))), m.one(m.flat(x))), dim=-1
    ),
    "rows averaged, columns flattened": lambda m, x: F.linear(
        x.mean(2).flatten(1), m.weight[:, : CHANNELS * CELLS]
    ),
    "channel and row in one axis": lambda m, x: F.linear(
        x.view(x.size(0), CHANNELS * CELLS, CELLS).mean(-1), m.weight[:, : CHANNELS * CELLS]
    ),
}

ADAPTIVE = [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    13,
    (1, 3),
    (4, 1),
    (3, None),
    (None, 4),
    (None, None),
    (6, 4),
    (2, 5),
]
"""Sizes of adaptive pooling: identity, regular, overlapping, repeating, mixed."""


def adaptive_features(size) -> int:
    """Features after adaptive average pooling to `size`."""
    sizes = (size, size) if isinstance(size, int) else size
    rows, cols = (CELLS if n is None else n for n in sizes)
    return CHANNELS * rows * cols
