"""What the result of a run depends on, beside its variant and its seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

import fullconv
from fullconv.training.checksum import digest

if TYPE_CHECKING:
    from fullconv.study.task import Task

NAMES = ("model", "data", "versions")
"""Settings that are told, and not compared: what things are called, and what a study began with."""


def settings_of(task: Task, model: str, data: str) -> dict[str, Any]:
    """All settings, JSON-serialisable: those in `NAMES`, and checksums of what they mean."""
    recipe = task.recipe.to_dict()
    del recipe["seed"]
    return {
        "model": model,
        "data": data,
        "versions": {"fullconv": fullconv.__version__, "torch": str(torch.__version__)},
        "network": digest(task.model, task.window, weights=task.temperature is not None),
        "window": list(task.window),
        "train": {"images": len(task.train), "sha256": task.train.digest()},
        "test": {"images": len(task.test), "sha256": task.test.digest()},
        "mean": list(task.train.mean),
        "std": list(task.train.std),
        "recipe": recipe,
        "temperature": task.temperature,
    }


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """A line for every setting that is another one, but those in `NAMES`."""
    for name in dict.fromkeys((*there, *wanted)):
        old, new = there.get(name), wanted.get(name)
        if name in NAMES or old == new:
            continue
        if name == "network":
            yield (
                "the network: other layers, another forward, or other weights where variants learn "
                "from them"
            )
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            for key in dict.fromkeys((*old, *new)):
                if old.get(key) != new.get(key):
                    shown = _short(old.get(key)), _short(new.get(key))
                    yield "{} {}: {} there, {} now".format(name, key, *shown)
        else:
            yield f"{name}: {_short(old)} there, {_short(new)} now"


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:8]}…"  # a checksum
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return (
            "×".join(map(_short, value))
            if all(isinstance(x, int) for x in value)
            else (", ".join(map(_short, value)))
        )
    return "none" if value is None else str(value)
