"""What is in a picture: dense evaluation of whole images, one by one or many."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
from torch import Tensor

from fullconv.api.memory import Budget
from fullconv.errors import FullconvError, UsageError
from fullconv.evaluate.dense.batches import Loaded, batches, beside, in_order, loaded
from fullconv.evaluate.dense.classification import Classification
from fullconv.evaluate.dense.evaluations import Evaluations
from fullconv.evaluate.dense.evaluations import mean as mean_of
from fullconv.evaluate.dense.protocol import Protocol
from fullconv.evaluate.dense.scored import Found, scored
from fullconv.evaluate.dense.views import Views, chosen_scales, views, views_of
from fullconv.evaluate.preparation import (
    Numbers,
    Source,
    check_fcn,
    check_preparation,
    given_image,
)
from fullconv.evaluate.scales import AS_IT_IS, Given, Scale, left_out
from fullconv.evaluate.words import BATCH, EVALUATIONS
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.storage import MAX_PIXELS
from fullconv.storage.images import Image
from fullconv.storage.listing import image_files

Picture = Source | Tensor
OnError = Callable[[FullconvError], None]


def classify(
    fcn: FCN,
    image: Picture | Iterable[Picture],
    scales: Given | Scale | Iterable[Given | Scale] | None = None,
    flip: bool = False,
    *,
    evaluation: str = "dense",
    average: str = "scores",
    batch_size: int = BATCH,
    max_memory: int | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    max_pixels: int = MAX_PIXELS,
    on_error: OnError | None = None,
) -> Classification | list[Classification]:
    """What an image is, by dense evaluation (Simonyan & Zisserman 2015, section 3.2).

    The network runs over the whole image, its score map is averaged, and the average becomes
    probabilities; these are averaged over flips and scales.

    Args:
        fcn: the network, with two spatial axes. Run in inference mode.
        image: a file, pixels `(H, W, channels)` uint8, an image that was read, or a prepared tensor
            `(C, H, W)`; or several: a sequence of these, a folder, a pattern such as "*.jpg", a
            batch `(N, C, H, W)`.
        scales: sizes to which images are scaled: whole numbers are the shortest side in px, a
            float is a factor. By default the size at which the classifier is tested, where that is
            known (`fcn.about.shortest`), else the image as it is; tensors stay as they are then.
        flip: let the mirror image count as much as the image.
        evaluation: "dense"; "multi-crop", a regular grid of 5 × 5 crops; "both", their mean;
            "centre", one crop, the usual baseline.
        average: "scores" averages the score map before the softmax, as VGG's authors do,
            "probabilities" after it.
        batch_size: images of equal size in one pass, and crops in one call, at most.
        max_memory: bytes that a pass may need beside the weights; by default what is available.
        mean, std: of pixels scaled to 0..1, as the network was trained; `fcn.about` by default.
        max_pixels: refuse larger files, before they are decoded.
        on_error: of several images, called for each that cannot be scored, which is then left
            out; without it the first such image ends the work.

    Returns:
        The answer, or a list of answers in the order of the images.

    Raises:
        InputError: an image cannot be read, is smaller than the window at every scale, or gives
            scores that are not finite, or a pass does not fit `max_memory`.
        UsageError: an argument does not fit the network.
    """
    check_fcn(fcn, "an answer")
    several, sources = _sources(image, fcn.plan.channels)
    protocol = Protocol(chosen_scales(fcn, scales), evaluation, flip, average, batch_size)
    answers = []
    for answer in classified(
        fcn,
        sources,
        protocol,
        mean=mean,
        std=std,
        max_pixels=max_pixels,
        max_memory=max_memory,
        tensors_as_they_are=scales is None,
    ):
        if isinstance(answer, Classification):
            if answer.skipped:
                warnings.warn(left_out(answer.image, answer.skipped, fcn.window), stacklevel=2)
            answers.append(answer)
        elif on_error is None or not several:
            raise answer
        else:
            on_error(answer)
    return answers if several else answers[0]


def classified(
    fcn: FCN,
    sources: Sequence[Picture],
    protocol: Protocol,
    *,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    max_pixels: int = MAX_PIXELS,
    max_memory: int | None = None,
    tensors_as_they_are: bool = False,
) -> Iterator[Classification | FullconvError]:
    """An answer for every image in order, or the error that says why there is none.

    Images are decoded while others are scored, and those of one size are scored together. What is
    wrong with the network, not with an image, is raised. Scales do not count for tensors that are
    to stay as they are.
    """
    budget = Budget(fcn, max_memory, beside(fcn, len(sources)))
    asked = Evaluations(
        fcn,
        budget,
        (protocol.evaluation,),
        EVALUATIONS if protocol.flip else (),
        protocol.average,
        protocol.batch_size,
    )
    check_preparation(fcn.plan.channels, mean or fcn.about.mean, std or fcn.about.std)

    def read(source: _Named) -> Views:
        given, limit = source.picture, budget.limit
        if isinstance(given, Tensor):
            scales = (AS_IT_IS,) if tensors_as_they_are else protocol.scales
            return views(given[None], scales, fcn, max_pixels, source.name, limit)
        image = replace(given_image(given, fcn.plan.channels, max_pixels), path=Path(source.name))
        scales = protocol.scales
        return views_of(image, scales, fcn, max_pixels, mean=mean, std=std, limit=limit)

    several = len(sources) > 1
    named = [
        _Named(_called(source, place if several else None), source)
        for place, source in enumerate(sources)
    ]
    coming = loaded(named, read, name=attrgetter("name"))
    yield from in_order(
        [
            (image.index, _answer(fcn, protocol, image, found))
            for image, found in zip(batch, scored(asked, batch, attrgetter("name")), strict=True)
        ]
        for batch in batches(coming, protocol.batch_size)
    )


def _answer(
    fcn: FCN, protocol: Protocol, image: Loaded[_Named], found: Found | FullconvError
) -> Classification | FullconvError:
    """What is said of an image: the probabilities of all scales, averaged."""
    if isinstance(found, FullconvError):
        return found
    assert image.views is not None
    own, scales = image.views, image.views.scales
    probabilities = mean_of([found[protocol.evaluation, scale] for scale in scales]).numpy()
    if isinstance(image.source.picture, Tensor):
        protocol = replace(protocol, scales=(*scales, *own.skipped))
    where, classes = image.source.name, fcn.about.classes
    return Classification(where, own.size, probabilities, classes, protocol, own.skipped)


def _sources(image: Picture | Iterable[Picture], channels: int) -> tuple[bool, list[Picture]]:
    """Whether several images were given, and each of them."""
    if isinstance(image, Tensor):
        if image.ndim == 4:
            return True, [_checked(one, channels) for one in image]
        return False, [_checked(image, channels)]
    if isinstance(image, str | os.PathLike):
        files = image_files([image])
        return files != [Path(image)], list(files)
    if isinstance(image, Image | np.ndarray):
        return False, [image]
    if not isinstance(image, Iterable):
        raise UsageError(f"a {type(image).__name__} is no image.")
    listed: list[Picture] = []
    for one in image:
        if isinstance(one, Tensor):
            listed.append(_checked(one, channels))
        else:
            listed += image_files([one]) if isinstance(one, str | os.PathLike) else [one]
    return True, listed


def _checked(x: Tensor, channels: int) -> Tensor:
    """A prepared image `(C, H, W)`. Raises UsageError for another shape."""
    if x.ndim == 3 and x.shape[0] == channels and x.is_floating_point():
        return x
    raise UsageError(
        f"a tensor of shape {tuple(x.shape)}, {x.dtype}, is no prepared image.",
        hint=f"Give floats ({channels}, H, W), or (N, {channels}, H, W) for several.",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Named:
    """An image and what it is called in answers and errors."""

    name: str
    picture: Picture


def _called(source: Picture, place: int | None) -> str:
    """A file by its name; of several arrays and tensors, which have none, by their place."""
    if isinstance(source, Image):
        return str(source.path)
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    kind = "tensor" if isinstance(source, Tensor) else "array"
    return kind if place is None else f"{kind} {place}"
