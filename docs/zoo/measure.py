"""One model of the coverage page: converted, and compared with itself in float64."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

import fullconv
from fullconv.api.head import head_over_body
from fullconv.api.verify import TOLERANCE
from fullconv.errors import RefusedError, UsageError
from fullconv.hosts.torch_fx.read import read
from fullconv.models import load_model
from fullconv.models.torchvision_import import import_torchvision
from fullconv.surgery.plan import Plan
from zoo.draw import noise, redraw
from zoo.lists import frames

EQUAL, DIFFERENT, REFUSED = "equal", "different", "refused"

BLIND = 1e-6
"""Scores of neighbouring windows that differ by less (of the largest) would prove nothing."""

TELLING = ("Attention mixes", "no exact dense form")
"""What no rule can mend, of several reasons for one refusal; the first one found is shown."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Za-z])")


def measure(form: str) -> dict[str, Any]:
    """Everything the page says of the model that `form` names, as JSON-serialisable values."""
    model, window = build(form)
    start = time.perf_counter()
    try:
        plan = fullconv.plan(model, window)
    except RefusedError as error:
        return {"state": REFUSED, "window": window, "reason": reason(error)}
    seconds = time.perf_counter() - start
    facts = {
        "window": window,
        "stride": plan.native_stride,
        "receptive_field": plan.receptive_field,
        "contexts": dict(Counter(context.kind for context in plan.contexts)),
        "seconds": seconds,
    }
    redraw(model, window, plan.channels)
    with torch.no_grad():
        return {**facts, **compare(model, window)}


def build(form: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network with random weights, and the window it is trained at (px, frames first)."""
    classifier = load_model(f"{form}:random")
    name = form.partition(":")[2]
    if form.startswith("torchvision:") and frames(name):
        preset = import_torchvision().models.get_model_weights(name).DEFAULT.transforms()
        side = tuple(preset.crop_size)
        return classifier.module, (*frames(name), *(side * 2)[:2])
    if classifier.window is None:
        raise UsageError("nothing says for which window it was made.", where=form)
    return classifier.module, classifier.window


def compare(model: nn.Module, window: tuple[int, ...], *, halved: bool = True) -> dict[str, Any]:
    """The differences between a classifier in float64 and its FCN, all relative, none copied.

    What `fullconv.verify` measures, but in place and on two windows per axis: the largest networks
    have 645 million parameters, and verify works on copies. With `halved`, also at a finer stride.

    Raises ValueError if scores hardly depend on the image, so that nothing would be proven.
    """
    fcn = fullconv.convert(model, window)
    plan, stride = fcn.plan, fcn.stride
    image = noise(plan.channels, window, 2)
    native = difference(fcn(image.clone()).flatten(1), model(image.clone()).reshape(1, -1))
    wide = noise(plan.channels, tuple(w + s for w, s in zip(window, stride, strict=True)), 3)
    scores = fcn(wide.clone())  # (1, K, 2, 2)
    reading = read(model, window, torch.cat([image, image]))
    head = difference(scores, head_over_body(reading, plan, wide)[0])
    cells = scores.flatten(2)
    contrast = float((cells.amax(2) - cells.amin(2)).max() / cells.abs().max())
    finer = compare_finer(model, fcn.plan, wide, scores) if halved else None
    differences = [native, head, *([finer] if isinstance(finer, float) else [])]
    found = {"native": native, "head": head, "finer": finer, "contrast": contrast}
    if not contrast > BLIND:
        raise ValueError(f"its scores differ by {contrast:.0e} between windows: nothing is proven")
    return {"state": EQUAL if max(differences) <= TOLERANCE else DIFFERENT, **found}


def compare_finer(
    model: nn.Module, plan: Plan, image: Tensor, scores: Tensor
) -> float | str | None:
    """How a map at half the stride along one axis differs, every other cell, from the native one.

    None where only the native stride can be had; the reason where this one is refused.
    """
    own = plan.native_stride[0]
    first = next((d for d in range(2, own + 1) if own % d == 0), 1)
    if first == 1:
        return None
    steps = [first, *(1 for _ in plan.native_stride[1:])]  # one axis: late layers stay small
    stride = tuple(s // step for s, step in zip(plan.native_stride, steps, strict=True))
    try:
        finer = fullconv.convert(model, plan.window, stride=stride)
    except RefusedError as error:
        return reason(error)
    except UsageError:
        return None
    found = finer(image.clone())[(..., *(slice(None, None, step) for step in steps))]
    return difference(found, scores)


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest number of the reference.

    Infinite where shapes differ, or where either has something that is no number.
    """
    if ours.shape != theirs.shape:
        return float("inf")
    value = float((ours - theirs).abs().max()) / (float(theirs.abs().max()) or 1.0)
    return float("inf") if value != value else value


def reason(error: RefusedError) -> str:
    """Where, what and the first sentence of why; of several refusals the one that says most."""
    lines = str(error).split("\n")
    if not lines[0].endswith("places cannot be converted:"):
        return _shortened(lines)
    bullets = [b.split("\n") for b in re.split(r"\n- ", "\n" + "\n".join(lines[1:]))[1:]]
    told = (b for words in (*TELLING, "") for b in bullets if words in " ".join(b))
    best = _shortened(next(told))
    more = len(bullets) - 1
    return f"{best} ({more} other place{'s' if more > 1 else ''} too.)" if more else best


def _shortened(lines: list[str]) -> str:
    parts = [lines[0].strip(), *(_SENTENCE.split(line.strip())[0] for line in lines[1:2])]
    return " ".join(part for part in parts if part)
