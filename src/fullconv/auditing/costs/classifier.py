"""The classifier itself on one image at its window, where there is no FCN to compare it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from fullconv.auditing.measuring.noise import drawn
from fullconv.auditing.measuring.passes import train, trainable
from fullconv.auditing.measuring.timing import AT_LEAST, ROUNDS, Say, Side, Spread, in_turn
from fullconv.evaluate.scoring import is_out_of_memory
from fullconv.hosts.torch_fx.tracing import in_eval


@dataclass(frozen=True, slots=True)
class Alone:
    """What was measured of a classifier.

    Attributes:
        forward, training: seconds of a pass forward, and of one forward and backward; None where
            that does not run.
        forward_peak, training_peak: bytes measured; None where they could not be.
        problem: what the network said where it did not run.
        waited: share of the time that threads waited for a core; None where it is not told.
        device, threads: where it ran.
    """

    forward: Spread | None = None
    training: Spread | None = None
    forward_peak: int | None = None
    training_peak: int | None = None
    problem: str = ""
    waited: float | None = None
    device: str = "cpu"
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable."""
        return asdict(self)


def measure(
    model: nn.Module, shape: tuple[int, ...], *, seconds: float, say: Say | None = None
) -> Alone:
    """Time a classifier on noise of a shape `(N, C, *window)`.

    It may be anybody's code: where it fails, what it said is told.
    """
    first = next(model.parameters(), torch.empty(0))
    images = drawn(shape, first)

    def forward() -> object:
        with in_eval(model), torch.inference_mode():
            return model(images)

    sides: dict[str, Side] = {}
    problem = ""
    for name in ("forward", "training"):
        try:
            run = forward if name == "forward" else _training(model, images)
            run()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            said = str(error).strip().splitlines() or ["it has nothing to say"]
            problem = problem or f"{type(error).__name__}: {said[0].rstrip('.')}"
        else:
            sides[name] = Side(_ignoring_the_round(run))
    found = in_turn(
        sides, ROUNDS, first.device, at_least=AT_LEAST, seconds=seconds, memory=True,
        title="the classifier", say=say,
    )  # fmt: skip
    return Alone(
        forward=found.of("forward") if "forward" in found else None,
        training=found.of("training") if "training" in found else None,
        forward_peak=found.peaks.get("forward"),
        training_peak=found.peaks.get("training"),
        problem=problem,
        waited=found.waited,
        device=first.device.type,
        threads=torch.get_num_threads(),
    )


def _training(model: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    twin = trainable(model)
    return lambda: train(twin, images)


def _ignoring_the_round(run: Callable[[], object]) -> Callable[[int], object]:
    return lambda _: run()
