"""How networks are trained and on which images: options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from fullconv.cli.loading import Numbers
from fullconv.cli.options import Command, read_classes, together
from fullconv.errors import InputError, listed
from fullconv.training.recipe import DTYPES, TEMPERATURE, Recipe

if TYPE_CHECKING:
    from fullconv.cli.progress import Progress
    from fullconv.models import Classifier
    from fullconv.training import Parts

USUAL = Recipe()

DATA = (
    "DATA is a folder with sub-folders train and test, each with one sub-folder per class, or an "
    ".npz file with x_train, y_train, x_test and y_test. Where there is nothing to test on, a "
    "fifth of every class is held out. "
)


def recipe_options(command: Command) -> Command:
    """How networks are trained; the command gets it as one `Recipe`."""

    @wraps(command)
    def packed(**given: Any) -> Any:
        said = {name: given.pop(name) for name in RECIPE}
        said["clip"] = said["clip"] or None
        return command(recipe=Recipe(**said), **given)

    return _recipe_options(packed)


RECIPE = ("epochs", "batch", "rate", "decay", "clip", "flip", "shift", "dtype")

_recipe_options = together(
    click.option("--epochs", type=click.IntRange(1), default=USUAL.epochs, show_default=True,
                 metavar="N", help="Passes over the training images."),
    click.option("--batch", type=click.IntRange(1), default=USUAL.batch, show_default=True,
                 metavar="N", help="Images in a step."),
    click.option("--rate", type=click.FloatRange(0, min_open=True), default=USUAL.rate,
                 show_default=True, metavar="X",
                 help="The highest learning rate: it rises to it, then falls to zero."),
    click.option("--decay", type=click.FloatRange(0), default=USUAL.decay, show_default=True,
                 metavar="X", help="Weight decay."),
    click.option("--clip", type=click.FloatRange(0), default=USUAL.clip, show_default=True,
                 metavar="X", help="Norm to which the gradient of a step is cut; 0 for none."),
    click.option("--flip/--no-flip", default=USUAL.flip, show_default=True,
                 help="Mirror half of the training images at random."),
    click.option("--shift", type=click.IntRange(0), default=USUAL.shift, show_default=True,
                 metavar="PX", help="Shift training images at random by up to so many px."),
    click.option("--dtype", type=click.Choice(DTYPES), default=USUAL.dtype, show_default=True,
                 help="Compute convolutions in this type while training."),
)  # fmt: skip


def _finite(context: click.Context, option: click.Parameter, value: float) -> float:
    """The number; a usage error for infinity and NaN."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number.", context, option)
    return value


temperature_option = click.option(
    "--temperature", type=click.FloatRange(0, min_open=True), default=TEMPERATURE,
    callback=_finite, show_default=True, metavar="T", help="Softens the answers that are learnt.",
)  # fmt: skip


def typed(names: Sequence[str]) -> list[str]:
    """Those options of the command at hand that were typed, as they are written."""
    context = click.get_current_context()
    return [
        f"--{name.replace('_', '-')}"
        for name in names
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]


@dataclass(frozen=True)
class Chosen:
    """Which images of a data set are taken, as it was said."""

    limit: int | None
    test_limit: int | None
    resize: bool


def chosen_options(command: Command) -> Command:
    """Which images are taken; the command gets it as one `Chosen`."""

    @wraps(command)
    def packed(**given: Any) -> Any:
        said = Chosen(**{field.name: given.pop(field.name) for field in fields(Chosen)})
        return command(chosen=said, **given)

    return _chosen_options(packed)


_chosen_options = together(
    click.option("--limit", type=click.IntRange(1), metavar="N",
                 help="Train on only N images, spread evenly over the classes."),
    click.option("--test-limit", type=click.IntRange(1), metavar="N",
                 help="Test on only N images, spread evenly over the classes."),
    click.option("--resize", is_flag=True,
                 help="Scale images of another size so that they cover the window, and cut out "
                 "the centre."),
)  # fmt: skip


def opened(
    classifier: Classifier,
    window: int | tuple[int, ...],
    data: str,
    chosen: Chosen,
    mean: Numbers,
    std: Numbers,
    classes: str | None,
    *,
    own: bool,
    progress: Progress,
) -> Parts:
    """The images to train and to test on.

    Their mean and std are those given, else those of the model; where it says nothing, those of the
    training images, or none if `own`: then its weights are used, and want pixels from 0 to 1.
    """
    import fullconv
    from fullconv.evaluate.class_names import find_class
    from fullconv.evaluate.preparation import check_preparation
    from fullconv.geometry import per_axis
    from fullconv.training import open_parts

    plan = fullconv.plan(classifier.module, window)
    count = max(2, plan.outputs)
    names = classifier.classes
    if classes is not None:
        names = read_classes(classes, count)
    elif names is not None and len(names) != count:
        names = None
    said = own or (classifier.mean, classifier.std) != ((0.0,), (1.0,))
    mean = mean or (classifier.mean if said else None)
    std = std or (classifier.std if said else None)
    if mean is not None and std is not None:
        check_preparation(plan.channels, mean, std)
    return open_parts(
        data,
        per_axis(window, 2, "window"),
        resolve=lambda name: find_class(name, names, count),
        classes=count,
        channels=plan.channels,
        limit=chosen.limit,
        test_limit=chosen.test_limit,
        resize=chosen.resize,
        mean=mean,
        std=std,
        progress=progress,
    )


def raise_unread(unread: Sequence[object], others: str) -> None:
    """Raise InputError if images were left out; `others` says what became of the rest."""
    if unread:
        raise InputError(f"{len(unread):,} images could not be read; {others}.{listed(unread)}")
