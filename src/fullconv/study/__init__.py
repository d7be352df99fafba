"""Variants of a network, trained side by side on labelled images and compared: `study`.

Names are imported when first used: the command line reads `words` without PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullconv.study.make import study
    from fullconv.study.value import Row, Run, StepTime, Study

__all__ = ["Row", "Run", "StepTime", "Study", "study"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fullconv.study' has no attribute {name!r}")
    home = "make" if name == "study" else "value"
    return getattr(import_module(f"fullconv.study.{home}"), name)
