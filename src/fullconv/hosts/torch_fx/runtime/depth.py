"""Stochastic depth, one module for all packages that have it."""

from __future__ import annotations

from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """A residual branch that is left out at random in training, as torchvision and timm have it.

    `mode` "row" draws for each image, "batch" once for all; what stays is divided by `1 - p` unless
    `scale` is False.
    """

    def __init__(self, p: float, mode: str = "row", scale: bool = True) -> None:
        super().__init__()
        self.p, self.mode, self.scale = p, mode, scale

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, *cells)`, some images of it zero."""
        if not self.training or not self.p:
            return x
        images = len(x) if self.mode == "row" else 1
        kept = x.new_empty(images, *(1 for _ in x.shape[1:])).bernoulli_(1 - self.p)
        if self.scale and self.p < 1:
            kept.div_(1 - self.p)
        return x * kept  # (N, C, *cells) * (N, 1, ..., 1)

    def extra_repr(self) -> str:
        """The settings, for printing the network."""
        return f"p={self.p}, mode={self.mode}"
