"""What is audited: a classifier, its FCN where there is one, and what it is tried on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fullconv.api.convert import CONTEXTS
from fullconv.auditing.images import Images, entries_of, prepare, spread
from fullconv.errors import RefusedError, UsageError
from fullconv.evaluate.preparation import check_preparation
from fullconv.evaluate.scoring import WeightsError
from fullconv.geometry import per_axis, times
from fullconv.hosts.torch_fx.fcn import FCN, About
from fullconv.hosts.torch_fx.read import Reading, read, spatial_dims
from fullconv.hosts.torch_fx.write import apply
from fullconv.surgery.planner import METHODS, make_plan

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
        given: how many there were; of many only some are looked at.
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
    given: int = 0
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
    def scores(self) -> int | None:
        """How many it gives; not known where it cannot be converted."""
        return None if self.converted is None else self.converted.plan.outputs

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
    sizes: int | Sequence[int | Sequence[int]] | None = None,
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
    if not _number(seconds) or not 0 < seconds < math.inf:
        raise UsageError(f"seconds={seconds!r} must be a finite number above 0.")
    if max_memory is not None and (not _number(max_memory) or not max_memory >= 1):
        raise UsageError(f"max_memory={max_memory!r} must be a positive number of bytes.")
    if context not in CONTEXTS:
        raise UsageError(f"context={context!r} must be one of {', '.join(map(repr, CONTEXTS))}.")
    said = _listed(window, "window")
    one = _is_whole(window)
    size = per_axis(
        said[0] if one else tuple(said), spatial_dims(model) if one else len(said), "window"
    )
    wanted = sizes_of(sizes, size)
    _check_weights(model)
    reading, converted, refused = _converted(model, size, context)
    found = Subject(
        model=model,
        window=size,
        channels=_channels(model) if reading is None else reading.blueprint.channels,
        converted=converted,
        refused=refused,
        reading=reading,
        sizes=wanted,
        seconds=seconds,
        max_memory=max_memory,
        context=context,
    )
    return with_images(found, images, About() if about is None else about)


def with_images(subject: Subject, images: Images | None, about: About) -> Subject:
    """The subject with what it is tried on, and what is known of it. Raises as `subject_of`."""
    classes, scores = about.classes, subject.scores
    if classes is not None and scores is not None and len(classes) != scores:
        raise UsageError(f"there are {len(classes)} class names for {scores} scores.")
    check_preparation(subject.channels, about.mean, about.std)
    shown, given = _images(images, subject.channels, subject.window, about)
    if subject.converted is not None:
        subject.converted.about = about
    return replace(subject, images=shown, given=given, about=about)


def _number(value: Any) -> bool:
    return isinstance(value, int | float)


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


def _channels(model: nn.Module) -> int:
    """Image channels of a network that could not be traced: those of its first convolution."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((m for m in model.modules() if isinstance(m, kinds)), None)
    return 3 if first is None else first.in_channels


def sizes_of(
    given: int | Sequence[int | Sequence[int]] | None, window: tuple[int, ...], said: str = "sizes"
) -> tuple[tuple[int, ...], ...]:
    """Sizes as px per axis, each once; a single number is one size. `said` is the argument's name.

    Raises UsageError for what is no size, and for one below the window.
    """
    found = [_size(entry, window, said) for entry in _listed(given, said)]
    return tuple(dict.fromkeys(found))


def _size(given: Any, window: tuple[int, ...], said: str) -> tuple[int, ...]:
    try:
        whole = index(given) if _is_whole(given) else tuple(map(index, given))
    except TypeError:
        raise UsageError(
            f"{said}: {given!r} is no size.", hint="Give px, as 512, or one number per axis."
        ) from None
    px = per_axis(whole, len(window), said)
    if any(n < w for n, w in zip(px, window, strict=True)):
        raise UsageError(
            f"{times(px)} px is smaller than the {times(window)} window of the classifier.",
            where=said,
            why="A map has at least one whole window.",
            hint=f"Measure at {times(window)} px or more.",
        )
    return px


def _images(
    given: Images | None, channels: int, window: tuple[int, ...], about: About
) -> tuple[tuple[tuple[str, Tensor], ...], int]:
    """Images by name, prepared, as many as are looked at; and how many were given.

    One after the other: beside what is kept, one file at a time is held in memory.
    """
    entries = entries_of(given, len(window))
    kept = [
        (name, prepare(source, name, channels=channels, window=window, about=about))
        for name, source in spread(entries)
    ]
    return tuple(kept), len(entries)


def _listed(given: Any, said: str) -> list[Any]:
    """What was given, as a list; one number as one. Raises UsageError for what is neither."""
    if given is None:
        return []
    if _is_whole(given):
        return [index(given)]
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise UsageError(f"{said}={given!r} must be a whole number, or a list of them.")
    return [index(entry) if _is_whole(entry) else entry for entry in given]


def _is_whole(value: Any) -> bool:
    """Whether it is one whole number, of Python or of NumPy."""
    return isinstance(value, int | np.integer)
