"""What is in a picture: dense evaluation of whole images, one by one or many."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fullconv.api.memory import Budget
from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.evaluate.dense.batches import Loaded, batches, in_order, loaded
from fullconv.evaluate.dense.classification import Classification
from fullconv.evaluate.dense.posteriors import BATCH
from fullconv.evaluate.dense.protocol import Protocol, Views, chosen_scales, posterior, views
from fullconv.evaluate.preparation import (
    MAX_PIXELS,
    Numbers,
    Source,
    check_fcn,
    given_image,
    prepared,
)
from fullconv.evaluate.scales import Given, Scale, check_sizes, left_out
from fullconv.hosts.torch_fx.fcn import FCN
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
            known (`fcn.about.shortest`), else the image as it is; a tensor stays as it is.
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
    several, sources = _sources(image)
    as_given = scales is None and all(isinstance(source, Tensor) for source in sources)
    protocol = Protocol(
        chosen_scales(fcn, 1.0 if as_given else scales), evaluation, flip, average, batch_size
    )
    answers = []
    for answer in classified(
        fcn, sources, protocol, mean=mean, std=std, max_pixels=max_pixels, max_memory=max_memory
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
    sources: Iterable[Picture],
    protocol: Protocol,
    *,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    max_pixels: int = MAX_PIXELS,
    max_memory: int | None = None,
) -> Iterator[Classification | FullconvError]:
    """An answer for every image in order, or the error that says why there is none.

    Images are decoded while others are scored, and those of one size are scored together. What is
    wrong with the network, not with an image, is raised.
    """
    about, budget = fcn.about, Budget(fcn, max_memory)
    read = partial(
        _read,
        fcn=fcn,
        scales=protocol.scales,
        mean=mean or about.mean,
        std=std or about.std,
        max_pixels=max_pixels,
    )
    together = batches(loaded(sources, read), protocol.batch_size)
    yield from in_order(
        answer for batch in together for answer in _answers(fcn, batch, protocol, budget)
    )


def _answers(
    fcn: FCN, batch: list[Loaded[Picture]], protocol: Protocol, budget: Budget
) -> Iterator[list[tuple[int, Classification | FullconvError]]]:
    """The numbered answers for images of one size, as many at once as the memory takes."""
    first = batch[0]
    if first.views is None:
        assert first.error is not None
        yield [(first.index, first.error)]
        return
    try:
        each = min(budget.images(size, len(batch)) for size in first.views.sizes)
    except InputError as error:
        # What is wrong with the size is wrong with every image that has it.
        for image in batch:
            yield [(image.index, _of(error, _name(image.source)))]
        return
    for start in range(0, len(batch), each):
        part = batch[start : start + each]
        yield list(zip((image.index for image in part), _scored(fcn, part, protocol), strict=True))


def _scored(
    fcn: FCN, images: list[Loaded[Picture]], protocol: Protocol
) -> list[Classification | FullconvError]:
    """Answers for images of one size: one that fails does not take the others with it."""
    where = _name(images[0].source)
    seen = [image.views for image in images if image.views is not None]
    together = Views(
        seen[0].size, tuple(map(torch.cat, zip(*(one.images for one in seen), strict=True)))
    )
    try:
        found = posterior(fcn, together, protocol, where).numpy()  # (N, K)
    except FullconvError as error:
        if error.where != where:
            raise  # of the network, not of the images
        if len(images) == 1:
            return [error]
        return [answer for image in images for answer in _scored(fcn, [image], protocol)]
    classes = fcn.about.classes
    return [
        Classification(_name(image.source), own.size, one, classes, protocol, own.skipped)
        for image, own, one in zip(images, seen, found, strict=True)
    ]


def _read(
    source: Picture,
    *,
    fcn: FCN,
    scales: tuple[Scale, ...],
    mean: Numbers,
    std: Numbers,
    max_pixels: int,
) -> Views:
    """A prepared image at all scales."""
    if isinstance(source, Tensor):
        x = source[None]
    else:
        x = prepared(given_image(source, fcn.plan.channels, max_pixels), mean, std)
    check_sizes(scales, tuple(x.shape[2:]), max_pixels, _name(source))
    return views(x, scales, fcn.window, _name(source))


def _sources(image: Picture | Iterable[Picture]) -> tuple[bool, list[Picture]]:
    """Whether several images were given, and each of them."""
    if isinstance(image, Tensor):
        if image.ndim == 4:
            return True, list(image)
        if image.ndim == 3:
            return False, [image]
        raise UsageError(
            f"a tensor of shape {tuple(image.shape)} is no prepared image.",
            hint="Give (C, H, W), or (N, C, H, W) for several.",
        )
    if isinstance(image, str | os.PathLike):
        files = image_files([image])
        return files != [Path(image)], list(files)
    if isinstance(image, Image | np.ndarray):
        return False, [image]
    if not isinstance(image, Iterable):
        raise UsageError(f"a {type(image).__name__} is no image.")
    listed: list[Picture] = []
    for one in image:
        listed += image_files([one]) if isinstance(one, str | os.PathLike) else [one]
    return True, listed


def _name(source: Picture) -> str:
    if isinstance(source, Image):
        return str(source.path)
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return "tensor" if isinstance(source, Tensor) else "array"


def _of(error: InputError, where: str) -> InputError:
    """The same error of another image."""
    return InputError(error.what, where=where, why=error.why, hint=error.hint)
