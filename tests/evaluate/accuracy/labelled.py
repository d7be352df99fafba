"""Small networks and labelled images to evaluate them on."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

import fullconv
from fullconv.errors import InputError
from fullconv.storage.images import Image

WINDOW = (12, 10)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def network(padding: int = 0, outputs: int = 7, *end: nn.Module) -> nn.Sequential:
    """Windows of 12 × 10 px every 2 px, in float64."""
    torch.manual_seed(1)
    rows, cols = ((n + 2 * padding - 2) // 2 for n in WINDOW)
    body = nn.Conv2d(3, 6, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)
    model = nn.Sequential(*body, nn.Flatten(), nn.Linear(6 * rows * cols, outputs), *end)
    return model.double().eval()


def converted(model: nn.Module) -> fullconv.FCN:
    fcn = fullconv.convert(model, WINDOW)
    fcn.about = replace(fcn.about, mean=MEAN, std=STD)
    return fcn


@dataclass
class Pictures:
    """Images of noise, some of which cannot be read."""

    sizes: list[tuple[int, int]]
    labels: np.ndarray
    broken: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [f"picture {i}" for i in range(len(self.sizes))]

    def __len__(self) -> int:
        return len(self.sizes)

    def image(self, index: int) -> Image:
        if index in self.broken:
            raise InputError("is cut short.", where=self.names[index], why="It ends early.")
        random = np.random.default_rng(index)
        pixels = random.integers(0, 256, (*self.sizes[index], 3), np.uint8)
        return Image(Path(self.names[index]), pixels)


def pictures(sizes: list[tuple[int, int]], classes: int = 7, **more) -> Pictures:
    labels = np.random.default_rng(9).integers(classes, size=len(sizes))
    return Pictures(sizes, labels, **more)
