from pathlib import Path

import pytest
from torch import nn

LENET = """
import torch
from torch import nn
from torch.nn import functional as F

WINDOW = 28
CLASSES = tuple("0123456789")
MEAN, STD = 0.1307, 0.3081


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(256, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = x.view(-1, 256)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))
"""


@pytest.fixture
def lenet(tmp_path: Path) -> Path:
    """A user's file with a LeNet and its constants."""
    path = tmp_path / "lenet.py"
    path.write_text(LENET)
    return path


class Small(nn.Module):
    """A convolution, a batch norm, a head: the kinds of tensors that checkpoints hold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)


@pytest.fixture
def small() -> nn.Module:
    return Small()


@pytest.fixture
def other_small() -> nn.Module:
    return Small()
