"""`fullconv allconv --distill`: the new network learns the answers of the one it came from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.cli.answers import say
from fullconv.cli.loading import Numbers
from fullconv.cli.options import Command, together
from fullconv.cli.progress import Progress
from fullconv.cli.training import (
    RECIPE,
    Chosen,
    chosen_options,
    opened,
    recipe_options,
    temperature_option,
    typed,
)
from fullconv.errors import UsageError
from fullconv.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from fullconv.models import Classifier
    from fullconv.training import Parts


@dataclass(frozen=True)
class Lesson:
    """What a network is to learn, and how, as it was said.

    Attributes:
        data: labelled images; None where nothing is to be learnt.
        chosen: which of them.
        recipe, temperature: how.
    """

    data: str | None
    chosen: Chosen
    recipe: Recipe
    temperature: float


@dataclass(frozen=True, eq=False)
class Learnt:
    """What came of it: top-1 errors in % on the test images."""

    parts: Parts
    teacher: float
    before: float
    after: float

    def __str__(self) -> str:
        return (
            f"on {len(self.parts.test):,} test images: the classifier errs on {self.teacher:.2f} "
            f"%, the new network on {self.before:.2f} % as it begins, {self.after:.2f} % after it "
            "learnt"
        )

    def to_dict(self) -> dict[str, Any]:
        """All numbers, JSON-serialisable."""
        return {
            "train": len(self.parts.train),
            "test": len(self.parts.test),
            "classifier_error": self.teacher,
            "error_before": self.before,
            "error_after": self.after,
            "unread": [str(one) for one in self.parts.unread],
        }


def lesson_options(command: Command) -> Command:
    """What a network is to learn; the command gets it as one `Lesson`."""

    @recipe_options
    @chosen_options
    @wraps(command)
    def packed(
        distill: str | None, recipe: Recipe, chosen: Chosen, temperature: float, **given: Any
    ) -> Any:
        if distill is None:
            _refuse_unused()
        return command(lesson=Lesson(distill, chosen, recipe, temperature), **given)

    return _lesson_options(packed)


_lesson_options = together(
    click.option("--distill", metavar="DATA",
                 help="With -o: train the new network on these labelled images to answer as MODEL "
                 "does; the options that follow say how."),
    temperature_option,
)  # fmt: skip


def _refuse_unused() -> None:
    """Raise UsageError for options of a training that were typed, where there is none."""
    unused = typed((*RECIPE, *(field.name for field in fields(Chosen)), "temperature"))
    if unused:
        raise UsageError(
            f"{' and '.join(unused)} cannot be given without --distill.",
            why="Nothing is trained.",
            hint="Name labelled images with --distill.",
        )


def learn(
    network: nn.Module,
    classifier: Classifier,
    window: int | tuple[int, ...],
    lesson: Lesson,
    mean: Numbers,
    std: Numbers,
    classes: str | None,
    state: Path,
) -> Learnt:
    """Let `network` learn from the classifier it was made of; it is trained in place.

    `state` keeps where that stands until it has ended: after Ctrl-C the same command goes on.
    """
    import fullconv
    from fullconv.training import digest, distill, error_of, predictions

    assert lesson.data is not None
    with Progress("images") as progress:
        parts = opened(
            classifier, window, lesson.data, lesson.chosen, mean, std, classes, own=True,
            progress=progress,
        )  # fmt: skip
    for remark in parts.remarks:
        say(remark)
    teacher = classifier.module
    ends = fullconv.plan(teacher, window).probabilities

    def error(tested: nn.Module) -> float:
        batch = lesson.recipe.batch
        found = predictions(tested, parts.test, probabilities=ends, batch=batch)
        return error_of(found, parts.test.labels)

    errors = error(teacher), error(network)
    say(f"{lesson.data}: learning from {len(parts.train):,} images; {state} keeps where it stands")
    with Progress("epochs", lesson.recipe.epochs) as progress:
        distill(
            network,
            teacher,
            parts.train,
            lesson.recipe,
            temperature=lesson.temperature,
            probabilities=ends,
            state=state,
            about={
                "images": parts.train.digest(),
                "network": digest(network, window, weights=True),
                "teacher": digest(teacher, window, weights=True),
            },
            note=lambda epoch: progress(epoch.number),
        )
    return Learnt(parts, *errors, error(network))
