"""The networks of Springenberg et al. 2015 for CIFAR-10, narrower, and with an FC head.

Table 1 of the paper has three bases: A, with one 5×5 convolution per size of the map; B, with a 1×1
convolution behind each of those; C, with two 3×3 convolutions in place of a 5×5 one. They have
96 channels before and 192 behind the first pool. Here it is `width` and twice that, there is a
batch norm behind every convolution (the paper trains for 350 epochs without), and what stands
behind the last 1×1 convolution is a head of fully connected layers, which the bases of the paper
have replaced by averaging already.
"""

from __future__ import annotations

import itertools

from torch import nn

WINDOW = 32
CLASSES = 10
HIDDEN = 128  # features of the head's first layer
SIDE = 6  # cells of the last map: its 3×3 convolution does not pad, as in the paper

KERNELS = {"A": (5,), "B": (5, 1), "C": (3, 3)}
"""The convolutions of each family between two pools, by their kernels."""


def network(family: str, *, width: int) -> nn.Sequential:
    """Family A, B or C of the paper with an FC head, `(N, 3, 32, 32) -> (N, 10)`."""
    kernels, wide = KERNELS[family], 2 * width
    return nn.Sequential(
        *_group((3, *(width for _ in kernels)), kernels),
        nn.MaxPool2d(3, stride=2, padding=1),
        *_group((width, *(wide for _ in kernels)), kernels),
        nn.MaxPool2d(3, stride=2, padding=1),
        *_layer(wide, wide, 3, padding=0),
        *_layer(wide, wide, 1),
        nn.Flatten(),
        nn.Linear(wide * SIDE**2, HIDDEN),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(HIDDEN, CLASSES),
    )


def _group(channels: tuple[int, ...], kernels: tuple[int, ...]) -> list[nn.Module]:
    pairs = zip(itertools.pairwise(channels), kernels, strict=True)
    return [module for (before, after), kernel in pairs for module in _layer(before, after, kernel)]


def _layer(before: int, after: int, kernel: int, padding: int | None = None) -> list[nn.Module]:
    padding = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(before, after, kernel, padding=padding, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
