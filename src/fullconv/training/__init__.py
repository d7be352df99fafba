"""Training a classifier on labelled images: a plain loop that can be stopped and goes on.

Names are imported when first used: the command line reads `recipe` without PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullconv.training.answers import error_of, predictions
    from fullconv.training.checksum import digest
    from fullconv.training.distilling import distill
    from fullconv.training.failures import Diverged
    from fullconv.training.fresh import start_afresh
    from fullconv.training.loop import train
    from fullconv.training.parts import Parts, open_parts
    from fullconv.training.recipe import Recipe
    from fullconv.training.samples import Samples
    from fullconv.training.state import Epoch

_HOMES = {
    "Diverged": "failures",
    "Epoch": "state",
    "Parts": "parts",
    "Recipe": "recipe",
    "Samples": "samples",
    "digest": "checksum",
    "distill": "distilling",
    "error_of": "answers",
    "open_parts": "parts",
    "predictions": "answers",
    "start_afresh": "fresh",
    "train": "loop",
}

__all__ = [
    "Diverged",
    "Epoch",
    "Parts",
    "Recipe",
    "Samples",
    "digest",
    "distill",
    "error_of",
    "open_parts",
    "predictions",
    "start_afresh",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fullconv.training' has no attribute {name!r}")
    return getattr(import_module(f"fullconv.training.{_HOMES[name]}"), name)
