"""Measurements of what an FCN and its classifier have in common, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from fullconv.api.costs import macs
from fullconv.api.verify import CELLS, Certificate, verify
from fullconv.auditing.crops import Band, Compared, bands, compare
from fullconv.auditing.reach import SPEED, Reach, reach
from fullconv.auditing.samples import Named, Say, patch
from fullconv.hosts.torch_fx.fcn import FCN

CERTIFICATE, CROPS, REACH = 0.5, 0.3, 0.2
"""Shares of the seconds."""

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
    """

    certificate: Certificate
    compared: tuple[Compared, ...]
    bands: tuple[Band, ...]
    reach: Reach
    noise: bool

    @property
    def cells(self) -> int:
        """How many cells were compared with crops."""
        return sum(len(one.cells) for one in self.compared)

    @property
    def changed(self) -> int:
        """How many of them have another top class than their crop."""
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
    certificate = _certificate(model, fcn, images, CERTIFICATE * seconds)
    compared = compare(model, fcn, images, CROPS * seconds, say)
    say("how far padding reaches into the map")
    far = reach(fcn, images, REACH * seconds)
    return Sameness(certificate, tuple(compared), tuple(bands(compared)), far, not images)


def _certificate(
    model: nn.Module, fcn: FCN, images: Sequence[Named], seconds: float
) -> Certificate:
    """The certificate on the middle of the first image: as many windows as the seconds allow."""
    plan = fcn.plan
    crop = max(1, macs(fcn, (1, plan.channels, *fcn.window)))
    affordable = SPEED * seconds / crop - PASSES
    dims = len(fcn.window)
    local = bool(plan.contexts) and plan.context == "window"
    most = 3 if local else 6  # boxes make the reference slow
    per_axis = max((n for n in range(2, most) if n**dims <= affordable), default=2)
    cells = max(2, min(CELLS, int(affordable), per_axis**dims))
    size = [w + (per_axis - 1) * s for w, s in zip(fcn.window, plan.native_stride, strict=True)]
    pictures = [patch(image.pixels, size) for image in images[:1]] or None
    return verify(model, fcn, pictures, cells=cells)
