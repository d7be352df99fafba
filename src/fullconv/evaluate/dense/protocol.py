"""How an image as a whole is classified: evaluation, scales, flips, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from fullconv.errors import UsageError
from fullconv.evaluate.scales import AS_IT_IS, Scale
from fullconv.evaluate.words import AVERAGES, BATCH, EVALUATIONS, check_choice


@dataclass(frozen=True, slots=True)
class Protocol:
    """An evaluation protocol.

    Attributes:
        scales: the sizes at which an image is scored; probabilities are averaged over them.
        evaluation: "dense", "multi-crop", "both" (their mean) or "centre" (one crop).
        flip: whether the mirror image counts as much as the image.
        average: what dense evaluation averages over the map, "scores" or "probabilities".
        batch_size: images of equal size, and crops, in one call of the network, at most.

    Raises UsageError for words that are not known, and a batch of none.
    """

    scales: tuple[Scale, ...] = (AS_IT_IS,)
    evaluation: str = "dense"
    flip: bool = False
    average: str = AVERAGES[0]
    batch_size: int = BATCH

    def __post_init__(self) -> None:
        check_choice("evaluation", self.evaluation, EVALUATIONS)
        check_choice("average", self.average, AVERAGES)
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size} must be positive.")

    def __str__(self) -> str:
        scales = ", ".join(map(str, self.scales))
        flips = ", with flips" if self.flip else ""
        return f"{self.evaluation} at {scales}{flips}"
