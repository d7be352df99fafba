"""What a Python module says about the network it makes, in five constants.

    WINDOW = 64                  px; one number, or one for each axis
    CLASSES = ("cat", "dog")     one name per score
    MEAN, STD = (0.5,), (0.25,)  of pixels scaled to 0..1; one number, or one for each channel
    SHORTEST = 72                px; the shortest side to which images are scaled for testing

All are optional. What is missing is taken from the network if it carries timm's configuration; else
window and classes are unknown, and pixels are fed as they are, scaled to 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from fullconv.errors import UsageError
from fullconv.geometry import per_axis
from fullconv.hosts.torch_fx.read import spatial_dims
from fullconv.models.classifier import Classifier
from fullconv.models.timm_hub import described


def classifier_from(
    constants: Mapping[str, Any], module: nn.Module, form: str, weights: str
) -> Classifier:
    """The classifier that `module` and the constants beside its factory make together.

    Raises UsageError for a constant that is not what it should be.
    """
    found = described(module)
    window, mean, std, shortest = found.window, found.mean, found.std, found.shortest
    if "WINDOW" in constants:
        given = constants["WINDOW"]
        if not isinstance(given, int):
            given = _entries(form, "WINDOW", given, int, "px")
        window = per_axis(given, spatial_dims(module), f"{form}: WINDOW")
    classes = None
    if "CLASSES" in constants:
        classes = _entries(form, "CLASSES", constants["CLASSES"], str, "names")
    if "MEAN" in constants:
        mean = _numbers(form, "MEAN", constants["MEAN"])
    if "STD" in constants:
        std = _numbers(form, "STD", constants["STD"])
    if "SHORTEST" in constants:
        (shortest,) = _entries(form, "SHORTEST", (constants["SHORTEST"],), int, "px")
    elif "WINDOW" in constants:
        shortest = None  # what timm says belongs to its own window
    return Classifier(
        module=module,
        form=form,
        window=window,
        classes=classes,
        mean=mean or (0.0,) * len(std or (1.0,)),
        std=std or (1.0,) * len(mean or (0.0,)),
        weights=weights,
        shortest=shortest,
    )


def _numbers(form: str, name: str, given: Any) -> tuple[float, ...]:
    if isinstance(given, (int, float)):
        return (float(given),)
    return tuple(float(entry) for entry in _entries(form, name, given, (int, float), "numbers"))


def _entries(form: str, name: str, given: Any, kind: Any, what: str) -> tuple[Any, ...]:
    listed = isinstance(given, Sequence) and not isinstance(given, str)
    if not listed or not all(isinstance(entry, kind) for entry in given):
        raise UsageError(f"{name} = {given!r} is not a tuple of {what}.", where=form)
    return tuple(given)
