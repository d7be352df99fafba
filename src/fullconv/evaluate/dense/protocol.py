"""How an image as a whole is classified: evaluation, scales, flips, as one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fullconv.errors import UsageError
from fullconv.evaluate.dense.posteriors import (
    AVERAGES,
    BATCH,
    EVALUATIONS,
    centre,
    check_choice,
    cropped,
    dense,
    flipped_too,
    regular,
)
from fullconv.evaluate.preparation import resized
from fullconv.evaluate.scales import AS_IT_IS, Given, Scale, fitting, scales_of
from fullconv.hosts.torch_fx.fcn import FCN


@dataclass(frozen=True, slots=True)
class Protocol:
    """An evaluation protocol.

    Attributes:
        scales: the sizes at which an image is scored; probabilities are averaged over them.
        evaluation: "dense", "multi-crop", "both" (their mean) or "centre" (one crop).
        flip: whether the mirror image counts as much as the image.
        average: what dense evaluation averages over the map, "scores" or "probabilities".
        batch_size: crops per call of the network.

    Raises UsageError for words that are not known, and a batch of none.
    """

    scales: tuple[Scale, ...] = (AS_IT_IS,)
    evaluation: str = "dense"
    flip: bool = False
    average: str = "scores"
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


def chosen_scales(
    fcn: FCN, given: Given | Scale | Iterable[Given | Scale] | None
) -> tuple[Scale, ...]:
    """The scales that were given; else the size at which the classifier is tested, if it is known
    (`fcn.about.shortest`); else the image as it is."""
    if given is not None:
        return scales_of(given)
    side = fcn.about.shortest
    return (AS_IT_IS,) if side is None else (Scale(shortest=side),)


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Images of one size as a protocol wants to see them.

    Attributes:
        size: their own size, px.
        images: `(N, C, H, W)`, prepared, one for every scale at which they hold a window.
        skipped: the other scales.
    """

    size: tuple[int, ...]
    images: tuple[Tensor, ...]
    skipped: tuple[Scale, ...] = ()

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Sizes in px at which they are scored."""
        return tuple(tuple(image.shape[2:]) for image in self.images)


def views(x: Tensor, scales: Iterable[Scale], window: tuple[int, ...], where: str = "") -> Views:
    """Images `(N, C, H, W)` at all scales. Raises InputError if they hold no window at any."""
    size = tuple(x.shape[2:])
    kept, skipped = fitting(scales, size, window, where)
    return Views(size, tuple(resized(x, scale.size(size)) for scale in kept), skipped)


def posterior(fcn: FCN, seen: Views, protocol: Protocol, where: str = "") -> Tensor:
    """Probabilities `(N, K)` of images. Raises InputError for scores that are not finite."""
    parts = [
        _probabilities(fcn, view, protocol, where)
        for image in seen.images
        for view in flipped_too(image, protocol.flip)
    ]
    return torch.stack(parts).mean(0)


def _probabilities(fcn: FCN, x: Tensor, protocol: Protocol, where: str) -> Tensor:
    """Probabilities of images at one scale, seen one way round."""

    def crops(places: list[tuple[int, ...]]) -> Tensor:
        return cropped(fcn, x, places, batch_size=protocol.batch_size, where=where)

    size = x.shape[2:]
    if protocol.evaluation == "centre":
        return crops(centre(size, fcn.window))
    if protocol.evaluation == "multi-crop":
        return crops(regular(size, fcn.window))
    whole = dense(fcn, x, average=protocol.average, where=where)
    if protocol.evaluation == "dense":
        return whole
    return (whole + crops(regular(size, fcn.window))) / 2
