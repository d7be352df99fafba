"""The answer to what an image as a whole is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.evaluate.class_names import class_name
from fullconv.evaluate.dense.protocol import Protocol
from fullconv.evaluate.scales import Scale
from fullconv.tables import table

TOP = 5


@dataclass(frozen=True, slots=True)
class Guess:
    """One class of an answer: its number, its name (or its number as a name), its probability."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """What an image as a whole is.

    Attributes:
        image: the file's name, or what else was given.
        size: of the image, px.
        probabilities: one per class, `(K,)`; of a network with a single score, its probability.
        classes: their names, or None.
        protocol: how it was evaluated.
        skipped: scales of the protocol at which the image holds no window.
    """

    image: str
    size: tuple[int, ...]
    probabilities: npt.NDArray[np.floating[Any]]
    classes: tuple[str, ...] | None
    protocol: Protocol
    skipped: tuple[Scale, ...] = ()

    def top(self, count: int = TOP) -> list[Guess]:
        """The most probable classes, the first one first; of equal ones the first class."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [
            Guess(int(i), class_name(int(i), self.classes), float(self.probabilities[i]))
            for i in order
        ]

    def to_dict(self, count: int = TOP) -> dict[str, Any]:
        """The image and its top classes as JSON-serialisable values."""
        return {
            "image": self.image,
            "size": list(self.size),
            "evaluation": self.protocol.evaluation,
            "scales": [str(s) for s in self.protocol.scales if s not in self.skipped],
            "skipped": [str(scale) for scale in self.skipped],
            "flip": self.protocol.flip,
            "average": self.protocol.average,
            "top": [
                {"class": guess.index, "name": guess.name, "probability": guess.probability}
                for guess in self.top(count)
            ],
        }

    def __str__(self) -> str:
        rows = [[f"{guess.probability:.3f}", guess.name] for guess in self.top()]
        return f"{self.image}: {self.protocol}\n{table((), rows)}"

    def __repr__(self) -> str:
        best = self.top(1)[0]
        return f"<Classification of {self.image}: {best.name} {best.probability:.3f}>"
