"""An image at all the scales at which it is scored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from torch import Tensor

from fullconv.api.machine import written_bytes
from fullconv.errors import InputError
from fullconv.evaluate.preparation import Numbers, prepared, resized
from fullconv.evaluate.scales import AS_IT_IS, Given, Scale, check_sizes, fitting, scales_of
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.storage.images import Image


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """A prepared image at several scales.

    Attributes:
        size: its own size, px.
        images: `(1, C, H, W)` for every scale at which it holds a window.
        scales: these scales.
        skipped: the other ones.
    """

    size: tuple[int, ...]
    images: tuple[Tensor, ...]
    scales: tuple[Scale, ...]
    skipped: tuple[Scale, ...] = ()

    @property
    def form(self) -> tuple[tuple[Scale, tuple[int, ...]], ...]:
        """What images have in common that are scored together: scales, and sizes at them in px."""
        sizes = (tuple(image.shape[2:]) for image in self.images)
        return tuple(zip(self.scales, sizes, strict=True))

    @property
    def bytes(self) -> int:
        """Memory that its pixels take."""
        return sum(image.nbytes for image in self.images)


def views(
    x: Tensor, scales: Iterable[Scale], fcn: FCN, max_pixels: int, where: str = "", limit: int = 0
) -> Views:
    """A prepared image `(1, C, H, W)` at all scales.

    Raises InputError if it holds no window at any, has more than `max_pixels` at one, or its pixels
    at all of them take far more than `limit` bytes, where that is above 0.
    """
    size = tuple(x.shape[2:])
    return _at(x, *_checked(size, scales, fcn, max_pixels, where, limit))


def views_of(
    image: Image,
    scales: Iterable[Scale],
    fcn: FCN,
    max_pixels: int,
    *,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    limit: int = 0,
) -> Views:
    """An image that was read at all scales, prepared as `fcn.about` says unless told otherwise.

    Raises as `views` does, before anything is computed of the pixels.
    """
    checked = _checked(image.size, scales, fcn, max_pixels, str(image.path), limit)
    return _at(prepared(image, mean or fcn.about.mean, std or fcn.about.std), *checked)


def chosen_scales(
    fcn: FCN, given: Given | Scale | Iterable[Given | Scale] | None
) -> tuple[Scale, ...]:
    """The scales that were given, or else the one that the network itself suggests.

    That is the size at which the classifier is tested, if it is known (`fcn.about.shortest`), and
    the image as it is where it is not.
    """
    if given is not None:
        return scales_of(given)
    side = fcn.about.shortest
    return (AS_IT_IS,) if side is None else (Scale(shortest=side),)


def _at(x: Tensor, kept: tuple[Scale, ...], skipped: tuple[Scale, ...]) -> Views:
    size = tuple(x.shape[2:])
    images = tuple(resized(x, scale.size(size)) for scale in kept)
    return Views(size, images, kept, skipped)


def _checked(
    size: tuple[int, ...],
    scales: Iterable[Scale],
    fcn: FCN,
    max_pixels: int,
    where: str,
    limit: int,
) -> tuple[tuple[Scale, ...], tuple[Scale, ...]]:
    kept, skipped = fitting(scales, size, fcn.window, where)
    check_sizes(kept, size, max_pixels, where)
    pixels = 4 * fcn.plan.channels * sum(prod(scale.size(size)) for scale in kept)
    if 0 < 2 * limit < pixels:  # what is nearer is counted, which tells the largest size
        share = (limit / pixels) ** 0.5
        fits = tuple(int(side * share) for side in size)
        raise InputError(
            f"its pixels alone take {written_bytes(pixels)} of memory, and {written_bytes(limit)} "
            "is there for a pass.",
            where=where,
            why=f"Of this shape less than {times(fits)} px fit.",
            hint="Scale the image down, or cut it into parts.",
        )
    return kept, skipped
