"""fullconv: turn a CNN classifier into the FCN that computes the same at every place, and prove it.

    fcn = fullconv.convert(model, window=224)     # an nn.Module, sharing the model's parameters
    scores = fcn(images)                          # (N, C, H, W) -> (N, K, rows, cols)
    print(fcn.plan)                               # what was changed and why
    print(fullconv.verify(model, fcn))            # the measured proof

Names are imported when first used, so that `import fullconv` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullconv.allconv.build import all_convolutional
    from fullconv.allconv.network import AllConvolutional
    from fullconv.api.convert import convert, plan
    from fullconv.api.save import load, save
    from fullconv.api.sliding import sliding
    from fullconv.api.verify import Certificate, verify
    from fullconv.auditing.audit import Audit, audit
    from fullconv.errors import (
        FullconvError,
        IncompleteError,
        InputError,
        MissingExtraError,
        RefusedError,
        UsageError,
    )
    from fullconv.evaluate.dense.classification import Classification
    from fullconv.evaluate.dense.classify import classify
    from fullconv.evaluate.maps.heatmap import Heatmap, heatmap
    from fullconv.geometry import Grid
    from fullconv.hosts.torch_fx.fcn import FCN
    from fullconv.scanning.scan import scan
    from fullconv.scanning.summary import ScanSummary
    from fullconv.surgery.plan import Plan

__version__ = "0.1.0"

_HOMES = {
    "all_convolutional": "allconv.build",
    "AllConvolutional": "allconv.network",
    "convert": "api.convert",
    "plan": "api.convert",
    "verify": "api.verify",
    "Certificate": "api.verify",
    "save": "api.save",
    "load": "api.save",
    "sliding": "api.sliding",
    "audit": "auditing.audit",
    "Audit": "auditing.audit",
    "classify": "evaluate.dense.classify",
    "Classification": "evaluate.dense.classification",
    "heatmap": "evaluate.maps.heatmap",
    "Heatmap": "evaluate.maps.heatmap",
    "FCN": "hosts.torch_fx.fcn",
    "scan": "scanning.scan",
    "ScanSummary": "scanning.summary",
    "Plan": "surgery.plan",
    "Grid": "geometry",
    "FullconvError": "errors",
    "UsageError": "errors",
    "MissingExtraError": "errors",
    "IncompleteError": "errors",
    "InputError": "errors",
    "RefusedError": "errors",
}

__all__ = [
    "FCN",
    "AllConvolutional",
    "Audit",
    "Certificate",
    "Classification",
    "FullconvError",
    "Grid",
    "Heatmap",
    "IncompleteError",
    "InputError",
    "MissingExtraError",
    "Plan",
    "RefusedError",
    "ScanSummary",
    "UsageError",
    "all_convolutional",
    "audit",
    "classify",
    "convert",
    "heatmap",
    "load",
    "plan",
    "save",
    "scan",
    "sliding",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fullconv' has no attribute {name!r}")
    value = getattr(import_module(f"fullconv.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
