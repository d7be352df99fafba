"""A network that learns another one's answers (Hinton, Vinyals & Dean 2015)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullconv.errors import UsageError
from fullconv.hosts.torch_fx.tracing import in_eval
from fullconv.training.answers import logits_of
from fullconv.training.loop import autocast, train
from fullconv.training.recipe import TEMPERATURE, Recipe
from fullconv.training.samples import Samples
from fullconv.training.state import Epoch

HARD = 0.1
"""The share of the labels in the loss: "considerably lower" than the teacher's (section 2)."""


def distill(
    student: nn.Module,
    teacher: nn.Module,
    samples: Samples,
    recipe: Recipe,
    *,
    temperature: float = TEMPERATURE,
    hard: float = HARD,
    probabilities: bool = False,
    state: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    note: Callable[[Epoch], object] | None = None,
) -> tuple[Epoch, ...]:
    """Train `student` in place to answer as `teacher` does; it comes back in inference mode.

    The loss is `(1 - hard)` times the cross-entropy of the student's answers with the teacher's,
    both softened by the temperature `T` (a softmax of the scores divided by `T`) and times `T²`, so
    that its gradients do not shrink with `T`; plus `hard` times that with the labels.

    Args:
        student: the network that is trained, as in `train`.
        teacher: answers the same images, in inference mode, and is left as it is; on the device of
            the student.
        samples, recipe, probabilities, state, about, note: as in `train`; `probabilities` of both.
        temperature: 1 leaves the answers as they are; the higher it is, the more the classes that
            were not chosen say.
        hard: the share of the labels, from 0 to 1.

    Returns every epoch; raises as `train` does, and UsageError for numbers that cannot be.
    """
    check_lesson(temperature, hard)

    def loss(images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad(), autocast(images.device, recipe):
            answer = teacher(images)
        softened = logits_of(answer, probabilities=probabilities) / temperature
        soft = F.cross_entropy(logits / temperature, softened.softmax(1))
        return (1 - hard) * temperature**2 * soft + hard * F.cross_entropy(logits, labels)

    with in_eval(teacher):
        return train(
            student,
            samples,
            recipe,
            loss=loss,
            probabilities=probabilities,
            state=state,
            about={"temperature": temperature, "hard": hard, **(about or {})},
            note=note,
        )


def check_lesson(temperature: float, hard: float = HARD) -> None:
    """Raise UsageError for a temperature and a share of the labels that cannot be."""
    if not 0 < temperature < float("inf") or not 0 <= hard <= 1:
        raise UsageError(
            f"temperature={temperature:g} and hard={hard:g} cannot be.",
            hint="A temperature is above 0; the share of the labels lies between 0 and 1.",
        )
