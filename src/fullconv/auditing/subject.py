"""What is audited: a classifier, its FCN where there is one, and what it is tried on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fullconv.api.convert import CONTEXTS
from fullconv.errors import InputError, RefusedError, UsageError
from fullconv.evaluate.preparation import Source, check_preparation, given_image, prepared
from fullconv.evaluate.scoring import WeightsError
from fullconv.geometry import Grid, per_axis, times
from fullconv.hosts.torch_fx.fcn import FCN, About
from fullconv.hosts.torch_fx.read import Reading, read, spatial_dims
from fullconv.hosts.torch_fx.write import apply
from fullconv.storage.images import Image
from fullconv.surgery.planner import METHODS, make_plan

Given = Source | Tensor
"""An image as `fullconv.classify` takes it, or a tensor that is prepared already."""

Images = Given | Iterable[Given] | Mapping[str, Given]

SECONDS = 150.0
"""What an audit takes, about."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is audited, and how much may be spent on it.

    Attributes:
        model: the classifier.
        window: its input size, px per axis.
        channels: of its images.
        converted: its FCN at the native stride, not optimized; None where it cannot be converted.
        refused: why it cannot be converted; None where it can.
        reading: the recorded classifier; None where it could not be traced.
        images: the user's images by name, prepared, `(1, C, *space)`, none below the window.
        sizes: image sizes asked for, px per axis; none where they are left to the sections.
        seconds: how long the whole audit may take, about.
        max_memory: bytes that a pass may take beside the weights; None for what is free.
        context: what context ops see in the FCN, "window" or "image".
        about: class names, mean and std.
    """

    model: nn.Module
    window: tuple[int, ...]
    channels: int
    converted: FCN | None = None
    refused: RefusedError | None = None
    reading: Reading | None = None
    images: tuple[tuple[str, Tensor], ...] = ()
    sizes: tuple[tuple[int, ...], ...] = ()
    seconds: float = SECONDS
    max_memory: int | None = None
    context: str = CONTEXTS[0]
    about: About = field(default_factory=About)

    @property
    def fcn(self) -> FCN:
        """The FCN. Raises the RefusedError that says why there is none."""
        if self.converted is not None:
            return self.converted
        assert self.refused is not None
        raise self.refused

    @property
    def name(self) -> str:
        """The network as it was named, or its class."""
        return self.about.form or type(self.model).__name__

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters(), torch.empty(0)).device

    @property
    def shape(self) -> tuple[int, ...]:
        """One image at the window, `(1, C, *window)`."""
        return (1, self.channels, *self.window)


def subject_of(
    model: nn.Module,
    window: int | Sequence[int] = 224,
    *,
    images: Images | None = None,
    sizes: Sequence[int | Sequence[int]] | None = None,
    seconds: float = SECONDS,
    max_memory: int | None = None,
    context: str = CONTEXTS[0],
    about: About | None = None,
) -> Subject:
    """The subject of an audit, converted if that is possible. Arguments and errors as of `audit`.

    Raises the RefusedError itself where the classifier does not fit the window: that is no fault
    of the network. Raises WeightsError for weights that are not finite: all scores would be
    nothing, and so would what an audit says of them.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model must be a torch.nn.Module, got {type(model).__name__}.")
    if not seconds > 0:
        raise UsageError(f"seconds={seconds} must be above 0.")
    if max_memory is not None and max_memory < 1:
        raise UsageError(f"max_memory={max_memory} must be a positive number of bytes.")
    if context not in CONTEXTS:
        raise UsageError(f"context={context!r} must be one of {', '.join(map(repr, CONTEXTS))}.")
    about = About() if about is None else about
    dims = spatial_dims(model) if isinstance(window, int) else len(window)
    size = per_axis(window if isinstance(window, int) else tuple(window), dims, "window")
    _check_weights(model)
    reading, converted, refused = _converted(model, size, context)
    channels = _channels(model) if reading is None else reading.blueprint.channels
    if converted is not None:
        converted.about = about
    return Subject(
        model=model,
        window=size,
        channels=channels,
        converted=converted,
        refused=refused,
        reading=reading,
        images=_images(images, channels, size, about),
        sizes=_sizes(sizes, size),
        seconds=seconds,
        max_memory=max_memory,
        context=context,
        about=about,
    )


def _converted(
    model: nn.Module, window: tuple[int, ...], context: str
) -> tuple[Reading | None, FCN | None, RefusedError | None]:
    """The recorded classifier and its FCN, as far as there are any, and why not."""
    try:
        reading = read(model, window)
    except RefusedError as error:
        return None, None, error
    try:
        plan = make_plan(reading.blueprint, context=context, method=METHODS[0])
        return reading, apply(plan, reading), None
    except RefusedError as error:
        if any(node.problem for node in reading.blueprint.nodes):
            raise
        return reading, None, error


def _check_weights(model: nn.Module) -> None:
    """Raise WeightsError, naming the first tensor that is not finite.

    Buffers may be infinite, as masks of attention are, and not NaN.
    """
    learned = {name for name, _ in model.named_parameters()}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        told = tensor.is_floating_point() and not tensor.is_meta and not is_lazy(tensor)
        if not told or not tensor.numel():
            continue
        # NaN is passed on by both, and no mask as large as the weights is made.
        ends = torch.stack(tensor.detach().aminmax())
        if bool(ends.isnan().any() if name not in learned else (~ends.isfinite()).any()):
            raise WeightsError(
                "holds numbers that are not finite (NaN or infinite).",
                where=name,
                why="An audit compares scores, and with these weights there are none.",
                hint="These weights cannot classify; load others.",
            )


def channels_of(model: nn.Module, window: tuple[int, ...]) -> int:
    """Channels of the images a network takes, also of one that cannot be converted."""
    try:
        return read(model, window).blueprint.channels
    except RefusedError:
        return _channels(model)


def _channels(model: nn.Module) -> int:
    """Image channels of a network that could not be traced: those of its first convolution."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((m for m in model.modules() if isinstance(m, kinds)), None)
    return 3 if first is None else first.in_channels


def _sizes(
    given: Sequence[int | Sequence[int]] | None, window: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """Sizes as px per axis. Raises InputError for one below the window."""
    found = []
    for size in given or ():
        entry = per_axis(size if isinstance(size, int) else tuple(size), len(window), "size")
        Grid(entry, window, window)
        found.append(entry)
    return tuple(dict.fromkeys(found))


def _images(
    given: Images | None, channels: int, window: tuple[int, ...], about: About
) -> tuple[tuple[str, Tensor], ...]:
    """Images by name, prepared. Raises InputError for one that does not fit."""
    found: list[tuple[str, Tensor]] = []
    for name, source in _entries(given):
        if isinstance(source, Tensor):
            pixels = _as_batch(source, channels, window, name)
        else:
            check_preparation(channels, about.mean, about.std)
            if len(window) != 2:
                raise UsageError(
                    f"an image file has two spatial axes, and this network has {len(window)}.",
                    where=name,
                    hint="Give prepared tensors (C, *space).",
                )
            pixels = prepared(given_image(source, channels), about.mean, about.std)
        check_covers(tuple(pixels.shape[2:]), window, name)
        several = len(pixels) > 1
        for index, one in enumerate(pixels, 1):
            found.append((f"{name} ({index})" if several else name, one[None]))
    return tuple(found)


def check_covers(size: Sequence[int], window: Sequence[int], name: str) -> None:
    """Raise InputError for an image below the window, px per axis; `name` is the image's."""
    if any(n < w for n, w in zip(size, window, strict=True)):
        raise InputError(
            f"the image is {times(size)} px, smaller than the {times(window)} window of the "
            "classifier.",
            where=name,
            why="A score needs one whole window.",
            hint="Use a larger image, or enlarge this one to at least the window.",
        )


def _entries(given: Images | None) -> Iterable[tuple[str, Any]]:
    """Every image with its name."""
    if given is None:
        return
    if isinstance(given, Mapping):
        yield from given.items()
        return
    single = isinstance(given, str | os.PathLike | Image | Tensor) or hasattr(given, "dtype")
    entries: Iterable[Any] = [given] if single else given  # type: ignore[assignment]
    for index, source in enumerate(entries, 1):
        if isinstance(source, str | os.PathLike):
            yield Path(source).name, source
        elif isinstance(source, Image):
            yield Path(source.path).name, source
        else:
            yield f"image {index}", source


def _as_batch(x: Tensor, channels: int, window: tuple[int, ...], name: str) -> Tensor:
    """A prepared image as `(N, C, *space)`."""
    batch = x[None] if x.ndim == len(window) + 1 else x
    if batch.ndim != len(window) + 2 or batch.shape[1] != channels:
        raise InputError(
            f"an image of shape {tuple(x.shape)} does not fit a network of {channels} channels "
            f"and {len(window)} spatial axes.",
            where=name,
        )
    return batch.detach().float().cpu()
