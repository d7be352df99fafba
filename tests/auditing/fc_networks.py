"""Networks with fully-connected heads, and subjects of them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fullconv.auditing.subject import Subject, subject_of
from networks import noise


def quiet(text: str) -> None:
    assert text


class Wide(nn.Module):
    """A padded body, 12 px to 6×6 cells of 5 channels, and a head of three FC layers."""

    def __init__(self, hidden: tuple[int, int] = (16, 12), *, bias: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1)
        )
        first, second = hidden
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(5 * 36, first, bias=bias),
            nn.ReLU(inplace=True),
            nn.Linear(first, second, bias=bias),
            nn.ReLU(inplace=True),
            nn.Linear(second, 7, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Functional(nn.Module):
    """An FC layer called as a function, on parameters that the network holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.weight = nn.Parameter(noise(6, 4 * 100))
        self.offset = nn.Parameter(noise(6, seed=1))
        self.last = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(self.conv(x).relu().flatten(1), self.weight, self.offset)
        return self.last(x.relu())


class Twice(nn.Module):
    """One FC layer that is used two times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.first, self.again, self.last = nn.Linear(400, 8), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.conv(x).flatten(1)).relu()
        return self.last(self.again(self.again(x).relu()))


def subject(model: nn.Module, window: int = 12, **options: object) -> Subject:
    return subject_of(model.double().eval(), window, **options)
