"""Importing torchvision, also one whose binary was built for another torch.

There its C++ operators are missing and `import torchvision` stops at the first one it wants to
describe. Classifiers use none of them: declaring the two schemas is enough for the import to pass.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from fullconv.errors import MissingExtraError

T = TypeVar("T")

_MISSING = "operator torchvision::nms does not exist"
_SCHEMAS = tuple(
    f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
)
# A schema lives as long as the Library that defined it.
_declared: list[torch.library.Library] = []


def with_torchvision(action: Callable[[], T]) -> T:
    """What `action` returns; if it trips over a mismatched torchvision, it runs once more.

    Any other error passes through.
    """
    with warnings.catch_warnings():
        # A mismatched torchvision also warns that it cannot decode images; Pillow does that here.
        warnings.filterwarnings("ignore", module=r"torchvision(\.|$)")
        try:
            return action()
        except RuntimeError as error:
            if _declared or _MISSING not in str(error):
                raise
        _declare()
        return action()


def import_torchvision() -> Any:
    """The torchvision package. Raises MissingExtraError if it is not installed."""
    return _import("torchvision", "a torchvision: model")


def import_timm() -> Any:
    """The timm package, which imports torchvision. Raises MissingExtraError if either is absent."""
    _import("torchvision", "a timm: model")
    return _import("timm", "a timm: model")


def _import(package: str, purpose: str) -> Any:
    try:
        return with_torchvision(lambda: importlib.import_module(package))
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError(package, "hub", purpose) from None


def _declare() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # imported halfway
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)
