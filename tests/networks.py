"""Networks for the tests, in double precision and ready for inference."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Net(nn.Module):
    """A network whose forward is a function of itself and the image."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **members) -> None:
        super().__init__()
        for name, member in members.items():
            if isinstance(member, Tensor) and not isinstance(member, nn.Parameter):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


class Split(Net):
    """A body and a head, to be run one without the other: `head` is a function of self and map."""

    def __init__(self, body: nn.Module, head: Callable[[nn.Module, Tensor], Tensor], **members):
        super().__init__(lambda self, x: head(self, self.body(x)), body=body, **members)
        self._head = head

    def head(self, features: Tensor) -> Tensor:
        return self._head(self, features)


class LeNet(nn.Module):
    """LeNet-5 as it is taught: no padding, a hard-wired flattened size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(256, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def body(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))  # (N, 1, 28, 28) -> (N, 6, 12, 12)
        return F.relu(F.max_pool2d(self.conv2(x), 2))  # (N, 16, 4, 4)

    def head(self, x: Tensor) -> Tensor:
        x = x.view(-1, 256)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class TinyVGG(nn.Module):
    """Tiny VGG: valid convolutions and a flatten in the order height, width, channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1_1 = nn.Conv2d(3, 10, 3)
        self.conv_1_2 = nn.Conv2d(10, 10, 3)
        self.conv_2_1 = nn.Conv2d(10, 10, 3)
        self.conv_2_2 = nn.Conv2d(10, 10, 3)
        self.output = nn.Linear(1690, 10)

    def body(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv_1_2(F.relu(self.conv_1_1(x))))  # (N, 3, 64, 64) -> (N, 10, 60, 60)
        x = F.max_pool2d(x, 2)  # (N, 10, 30, 30)
        x = F.relu(self.conv_2_2(F.relu(self.conv_2_1(x))))  # (N, 10, 26, 26)
        return F.max_pool2d(x, 2)  # (N, 10, 13, 13)

    def head(self, x: Tensor) -> Tensor:
        return self.output(x.permute(0, 2, 3, 1).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


BLOCK = 1_000_003
"""Random numbers drawn for a large network; a prime, so that no two rows of a weight agree."""


def drawn(build: Callable[[], nn.Module]) -> nn.Module:
    """A large network with random weights of the usual size, made without its own slow start."""
    with torch.device("meta"):
        model = build()
    model = model.double().to_empty(device="cpu")
    block = noise(BLOCK, seed=7)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if not tensor.is_floating_point():
                tensor.zero_()
                continue
            flat = tensor.view(-1)
            for first in range(0, flat.numel(), BLOCK):
                part = flat[first : first + BLOCK]
                part.copy_(block[: part.numel()])
            block = block.roll(flat.numel() % BLOCK)
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 100
            tensor.mul_((2 / fan_in) ** 0.5)
    return model


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def ready(model: nn.Module) -> nn.Module:
    """`model` in float64 and inference mode, its batch norms with statistics worth the name."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if not isinstance(module, NORMS):
                continue
            size = (module.num_features,)
            if module.running_mean is not None:
                module.running_mean.copy_(torch.randn(size, generator=draw) * 0.2)
                module.running_var.copy_(torch.rand(size, generator=draw) + 0.5)
            if module.affine:
                module.weight.copy_(torch.rand(size, generator=draw) + 0.5)
                module.bias.copy_(torch.randn(size, generator=draw) * 0.2)
    return model.double().eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    """A random image or batch in float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unpadded_body(channels: int = 3) -> nn.Sequential:
    """18 px to 6 cells, stride 2, nothing pads: `(N, 3, 18, 18)` to `(N, 5, 6, 6)`."""
    return nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 5, 3))


def padded_body(channels: int = 3) -> nn.Sequential:
    """12 px to 6 cells, stride 2, zero-padded: `(N, 3, 12, 12)` to `(N, 5, 6, 6)`."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1)
    )
