"""A patch classifier of eight textures, small enough to ship: 64×64 px of luminance to a class.

It is the kind of network fullconv is for: unpadded convolutions, a flatten, fully connected layers,
and so one fixed input size. `textures.md` beside this file is its model card; `photographs.py` has
the pictures, `training/train_textures.py` in the repository made the weights.
"""

from __future__ import annotations

from importlib import resources

import torch
from safetensors.torch import load as read_tensors
from torch import nn

WINDOW = 64
CHANNELS = 1
CLASSES: tuple[str, ...] = (
    "brick",
    "coins",
    "galaxies",
    "grass",
    "gravel",
    "retina",
    "tissue",
    "writing",
)

# Of the luminance of the train halves, scaled to 0..1, every class weighing the same.
MEAN: tuple[float, ...] = (0.438,)
STD: tuple[float, ...] = (0.201,)


class TextureNet(nn.Module):
    """Three unpadded convolutions, each pooled (native stride 8), then three FC layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(CHANNELS, 16, 5),  # (N, 16, 60, 60)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 30, 30)
            nn.Conv2d(16, 32, 3),  # (N, 32, 28, 28)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 14, 14)
            nn.Conv2d(32, 32, 3),  # (N, 32, 12, 12)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 6, 6)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),  # (N, 1152)
            nn.Linear(32 * 6 * 6, 128),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Dropout(0.25),
            nn.Linear(64, len(CLASSES)),  # (N, 8)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores `(N, 8)` of normalised crops `(N, 1, 64, 64)`."""
        scores: torch.Tensor = self.classifier(self.features(x))
        return scores


def load() -> TextureNet:
    """The trained classifier, in eval mode, on the CPU."""
    weights = resources.files(__package__).joinpath("textures.safetensors").read_bytes()
    model = TextureNet()
    model.load_state_dict(read_tensors(weights))
    return model.eval()
