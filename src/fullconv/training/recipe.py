"""How a network is trained, as a value."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fullconv.errors import UsageError

DTYPES = ("float32", "bfloat16")

TEMPERATURE = 4.0
"""At which a network's answers are learnt, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stochastic gradient descent with Nesterov's momentum, for few epochs.

    The rate rises linearly to `rate` during the first `warmup` of all steps and then falls to zero
    along half a cosine (Loshchilov & Hutter 2017, without restarts).

    Attributes:
        epochs: passes over the training images.
        batch: images in a step, at most; an epoch is cut into batches of nearly equal size.
        rate: the highest learning rate.
        momentum: of Nesterov's kind.
        decay: weight decay of all parameters with more than one axis; biases and norms have none.
        warmup: share of all steps in which the rate rises.
        flip: whether half of the images of a batch are mirrored.
        shift: images are shifted by up to so many px along each axis, with reflection; 0 for none.
        clip: the norm to which the gradient of a step is cut; None for none. Networks without batch
            norm diverge without it.
        dtype: the type convolutions and products are computed in during training, "float32" or
            "bfloat16" (autocast). Parameters are float32 either way, and so is every evaluation.
        seed: of everything random: the order of the images, flips, shifts, dropout.

    Raises UsageError for numbers that cannot be.
    """

    epochs: int = 10
    batch: int = 128
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    warmup: float = 0.2
    flip: bool = False
    shift: int = 0
    clip: float | None = 1.0
    dtype: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "epochs": self.epochs >= 1,
            "batch": self.batch >= 1,
            "rate": 0 < self.rate < math.inf,
            "momentum": 0 <= self.momentum < 1,
            "decay": 0 <= self.decay < math.inf,
            "warmup": 0 <= self.warmup < 1,
            "shift": self.shift >= 0,
            "clip": self.clip is None or 0 < self.clip < math.inf,
            "dtype": self.dtype in DTYPES,
            "seed": self.seed >= 0,
        }
        for name, fits in limits.items():
            if not fits:
                raise UsageError(f"{name}={getattr(self, name)!r} cannot be.", where="the recipe")

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step 0 to `steps - 1`."""
        rising = self.warmup * steps
        if step + 1 <= rising:
            return self.rate * (step + 1) / rising
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))

    def to_dict(self) -> dict[str, Any]:
        """All numbers, JSON-serialisable."""
        return asdict(self)
