"""Measurements of what an FCN and its classifier have in common, and where they differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from fullconv.api.verify import CELLS, Certificate, verify
from fullconv.auditing.answers.crops import Band, Compared, Estimate, bands, compare, estimate
from fullconv.auditing.answers.reach import Reach, reach
from fullconv.auditing.answers.samples import Named, patch
from fullconv.auditing.measuring.timing import Say
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.hosts.torch_fx.tracing import in_eval

CERTIFICATE, CROPS, REACH = 0.5, 0.3, 0.2
"""Shares of the seconds."""

SLOWER = 5
"""How often a pass in float32 fits into one in float64, roughly: that has no fast convolutions."""

LEAST_REACH = 5.0
"""Windows that the reach of padding may take however few the seconds are."""

PASSES = 12
"""Passes over a window, about, that the certificate takes beside its crops."""


@dataclass(frozen=True, slots=True, eq=False)
class Sameness:
    """What an FCN and its classifier have in common.

    Attributes:
        certificate: what must be equal, in float64.
        compared: images whose maps were compared with crops, in the type of the network.
        bands: those cells by the distance of their windows from the border.
        reach: how far padding reaches into the map.
        noise: whether the images were random numbers, for want of real ones.
        given: how many images there were.
    """

    certificate: Certificate
    compared: tuple[Compared, ...]
    bands: tuple[Band, ...]
    reach: Reach
    noise: bool
    given: int = 0

    @property
    def estimate(self) -> Estimate:
        """What the sample says of all cells."""
        return estimate(self.compared)

    @property
    def cells(self) -> int:
        """How many cells were compared with crops."""
        return sum(len(one.cells) for one in self.compared)

    @property
    def changed(self) -> int:
        """How many of them have another top class than their crop; half of them lie at the rim."""
        return sum(sum(one.changed) for one in self.compared)

    @property
    def difference(self) -> float:
        """Mean absolute difference of their scores, in standard deviations of the scores."""
        return sum(band.difference * band.cells for band in self.bands) / self.cells

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable."""
        images = [
            {
                "name": one.name,
                "given": list(one.given),
                "size": list(one.grid.size),
                "map": list(one.grid.shape),
                "cells": [list(cell) for cell in one.cells],
                "changed": list(one.changed),
                "difference": list(one.difference),
            }
            for one in self.compared
        ]
        return {
            "certificate": self.certificate.to_dict(),
            "noise": self.noise,
            "compared": self.cells,
            "changed": self.changed,
            "difference": self.difference,
            "estimate": asdict(self.estimate),
            "bands": [asdict(band) for band in self.bands],
            "images": images,
            "reach": asdict(self.reach),
        }


def measure(
    model: nn.Module, fcn: FCN, images: Sequence[Named], *, seconds: float, say: Say
) -> Sameness:
    """Compare an FCN with its classifier.

    Args:
        model: the classifier.
        fcn: its FCN.
        images: prepared for the network; without any noise takes their place.
        seconds: how long it may take, about.
        say: told what is being measured.
    """
    say("the certificate")
    crops = seconds / _seconds_of_a_crop(model, (fcn.plan.channels, *fcn.window))
    certificate = _certificate(model, fcn, images, CERTIFICATE * crops / SLOWER)
    compared = compare(model, fcn, images, CROPS * crops, say)
    say("how far padding reaches into the map")
    far = reach(fcn, images, max(LEAST_REACH, REACH * crops / SLOWER))
    return Sameness(
        certificate, tuple(compared), tuple(bands(compared)), far, not images, len(images)
    )


def _certificate(
    model: nn.Module, fcn: FCN, images: Sequence[Named], windows: float
) -> Certificate:
    """The certificate on the middle of the first image, in so many passes over a window."""
    plan = fcn.plan
    affordable = int(windows - PASSES)
    dims = len(fcn.window)
    local = bool(plan.contexts) and plan.context == "window"
    most = 3 if local else 6  # boxes make the reference slow
    per_axis = max((n for n in range(2, most) if n**dims <= affordable), default=2)
    cells = max(2, min(CELLS, affordable, per_axis**dims))
    size = [w + (per_axis - 1) * s for w, s in zip(fcn.window, plan.native_stride, strict=True)]
    pictures = [patch(image.pixels, size) for image in images[:1]] or None
    return verify(model, fcn, pictures, cells=cells)


def _seconds_of_a_crop(model: nn.Module, shape: tuple[int, ...]) -> float:
    """What the classifier takes for a crop of a shape `(C, *space)`, by a small batch of them."""
    weight = next(model.parameters(), torch.empty(0))
    crops = torch.zeros(2, *shape, dtype=weight.dtype, device=weight.device)
    with in_eval(model), torch.no_grad():
        model(crops)  # prepares kernels
        began = time.perf_counter()
        model(crops)
        return max(1e-6, (time.perf_counter() - began) / len(crops))
