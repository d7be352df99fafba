"""What an image as a whole is: the centre crop, dense evaluation, multi-crop, and both.

Between flips and evaluations it is always probabilities that are averaged (Simonyan & Zisserman
2015, sections 3.2 and 4.3). What several evaluations share is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fullconv.api.memory import Budget
from fullconv.errors import UsageError
from fullconv.evaluate.dense.passes import Place, centre, cropped, dense, regular
from fullconv.evaluate.words import AVERAGES, BATCH, EVALUATIONS, check_choice
from fullconv.hosts.torch_fx.fcn import FCN


@dataclass(frozen=True, slots=True)
class Evaluations:
    """A network and the evaluations that are asked for.

    Attributes:
        fcn: the network.
        budget: what fits the memory.
        names: of the evaluations: "centre", one crop; "dense", the averaged map of the whole image;
            "multi-crop", 5 × 5 crops from border to border; "both", the mean of the last two.
        mirrored: those for which the mirror image counts as much as the image; "both" follows what
            it is made of.
        average: what dense evaluation averages over the map, "scores" or "probabilities".
        batch_size: crops in one call of the network, at most.

    Raises UsageError for words that are not known, none at all, and a batch of none.
    """

    fcn: FCN
    budget: Budget
    names: tuple[str, ...]
    mirrored: tuple[str, ...] = ()
    average: str = AVERAGES[0]
    batch_size: int = BATCH

    def __post_init__(self) -> None:
        for name in self.names:
            check_choice("evaluation", name, EVALUATIONS)
        if not self.names:
            listed = ", ".join(EVALUATIONS)
            raise UsageError("no evaluation was asked for.", hint=f"Name some of {listed}.")
        check_choice("average", self.average, AVERAGES)
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size} must be positive.")

    def probabilities(self, x: Tensor, where: str = "") -> dict[str, Tensor]:
        """Probabilities `(N, K)` of images `(N, C, H, W)` by evaluation; `where` names the images.

        As many images go through the network at once as the memory takes. Raises InputError for one
        that does not fit, and for scores that are not finite.
        """
        whole = not {"dense", "both"}.isdisjoint(self.names)
        size = tuple(x.shape[2:]) if whole else self.fcn.window
        most = self.budget.images(size, len(x), where)
        parts = [self._of(part, where) for part in torch.split(x, most)]
        return {name: torch.cat([part[name] for part in parts]) for name in self.names}

    def _of(self, x: Tensor, where: str) -> dict[str, Tensor]:
        fcn, size, wanted = self.fcn, x.shape[2:], set(self.names)
        found: dict[str, Tensor] = {}
        if "centre" in wanted:
            views = self._views(x, "centre")
            found["centre"] = mean([self._crops(v, centre(size, fcn.window), where) for v in views])
        if wanted & {"dense", "both"}:
            views = self._views(x, "dense")
            found["dense"] = mean(
                [dense(fcn, view, average=self.average, where=where) for view in views]
            )
        if wanted & {"multi-crop", "both"}:
            views = self._views(x, "multi-crop")
            places = regular(size, fcn.window)
            found["multi-crop"] = mean([self._crops(view, places, where) for view in views])
        if "both" in wanted:
            found["both"] = mean([found["dense"], found["multi-crop"]])
        return found

    def _views(self, x: Tensor, evaluation: str) -> list[Tensor]:
        """The images, and their mirror images if they count: left and right exchanged."""
        return [x, x.flip(-1)] if evaluation in self.mirrored else [x]

    def _crops(self, x: Tensor, places: Sequence[Place], where: str) -> Tensor:
        most = self.budget.images(self.fcn.window, self.batch_size, where)
        return cropped(self.fcn, x, places, batch_size=most, where=where)


def mean(parts: Sequence[Tensor]) -> Tensor:
    """The mean of tensors of one shape."""
    return parts[0] if len(parts) == 1 else torch.stack(tuple(parts)).mean(0)
