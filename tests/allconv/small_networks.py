"""Small classifiers for tests of all-convolutional networks, in float64 and inference mode."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from networks import ready

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
MAXIMA = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
MEANS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
WHOLE_MEANS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


class Cifar(nn.Module):
    """The network of PyTorch's tutorial: one pool that is called twice, three FC layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))  # (N, 3, 32, 32) -> (N, 6, 14, 14)
        x = self.pool(F.relu(self.conv2(x)))  # (N, 16, 5, 5)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


class Block(nn.Module):
    """A residual block whose short way is an average pool and a 1×1 convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.short = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, out, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.short(x))


def residual() -> nn.Module:
    """A stem with a padded max pool, two residual blocks, a global average: 32 px."""
    return ready(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            Block(8, 12), Block(12, 16),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
        )
    )  # fmt: skip


def sequence(dims: int, pool: nn.Module, channels: int = 3, relu: bool = True) -> nn.Sequential:
    """Convolution, pool, convolution, global average, FC layer."""
    conv = CONVS[dims - 1]
    return ready(
        nn.Sequential(
            conv(channels, 5, 3, padding=1),
            nn.ReLU() if relu else nn.Tanh(),
            pool,
            conv(5, 6, 1),
            nn.ReLU(),
            WHOLE_MEANS[dims - 1](1),
            nn.Flatten(),
            nn.Linear(6, 4),
        )
    )


def pools_left(network: nn.Module) -> list[str]:
    """What a graph still calls that pools."""
    found = []
    for node in network.graph.nodes:
        called = network.get_submodule(node.target) if node.op == "call_module" else node.target
        for module in called.modules() if isinstance(called, nn.Module) else ():
            if "Pool" in type(module).__name__:
                found.append(node.name)
        if node.op == "call_function" and "pool" in getattr(called, "__name__", ""):
            found.append(node.name)
    return found


def sizes(dims: int, *sides: int) -> Sequence[tuple[int, ...]]:
    return [tuple(side + axis for axis in range(dims)) for side in sides]
