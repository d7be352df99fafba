"""`fullconv study`: variants of a network, trained side by side and compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import INTERRUPTED
from fullconv.cli.loading import Numbers, window_of
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    Command,
    Size,
    classes_option,
    json_option,
    preparation_options,
    read_classes,
    together,
)
from fullconv.cli.progress import Progress
from fullconv.errors import FullconvError, InputError, UsageError, listed
from fullconv.study.words import SEEDS, VARIANTS
from fullconv.training.recipe import DTYPES, TEMPERATURE, Recipe

if TYPE_CHECKING:
    from torch import nn

    from fullconv.models import Classifier
    from fullconv.study import Study
    from fullconv.training import Parts

USUAL = Recipe()


class Variants(click.ParamType):  # type: ignore[type-arg]
    """`fc,gap` for several variants."""

    name = "LIST"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """The variants, each once; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        words = tuple(dict.fromkeys(word.strip() for word in str(value).split(",")))
        for word in words:
            if word not in VARIANTS:
                self.fail(
                    f"{word!r} is no variant; name some of {', '.join(VARIANTS)}.", param, ctx
                )
        return words


def recipe_options(command: Command) -> Command:
    """How networks are trained; the command gets it as one `Recipe`."""

    @wraps(command)
    def packed(**given: Any) -> Any:
        said = {name: given.pop(name) for name in _RECIPE}
        said["clip"] = said["clip"] or None
        return command(recipe=Recipe(**said), **given)

    return _recipe_options(packed)


_RECIPE = ("epochs", "batch", "rate", "decay", "clip", "flip", "shift", "dtype")

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


@dataclass(frozen=True)
class Images:
    """Which images are taken, as it was said."""

    limit: int | None
    test_limit: int | None
    resize: bool
    mean: Numbers
    std: Numbers
    classes: str | None


def images_options(command: Command) -> Command:
    """Which images are taken; the command gets it as one `Images`."""

    @wraps(command)
    def packed(**given: Any) -> Any:
        said = Images(**{field.name: given.pop(field.name) for field in fields(Images)})
        return command(images=said, **given)

    return _images_options(packed)


_images_options = together(
    click.option("--limit", type=click.IntRange(1), metavar="N",
                 help="Train on only N images, spread evenly over the classes."),
    click.option("--test-limit", type=click.IntRange(1), metavar="N",
                 help="Test on only N images, spread evenly over the classes."),
    click.option("--resize", is_flag=True,
                 help="Scale images of another size so that they cover the window, and cut out "
                 "the centre."),
    preparation_options,
    classes_option,
)  # fmt: skip


@click.command(
    short_help="Train variants of a network and compare them.",
    epilog="DATA is a folder with sub-folders train and test, each with one sub-folder per class, "
    "or an .npz file with x_train, y_train, x_test and y_test. Where there is nothing to test on, "
    "a fifth of every class is held out. " + MODEL_FORMS,
)
@click.argument("model")
@click.argument("data")
@click.option("--weights", metavar="FILE",
              help="Its weights, for --distill: safetensors, or a PyTorch checkpoint.")  # fmt: skip
@click.option("--window", type=Size(),
              help="Input size it was built for, as 224 or 224x160 [the model's].")  # fmt: skip
@click.option("--variants", type=Variants(), default=",".join(VARIANTS), show_default=True,
              help="What to train; the others are compared with the first.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True, metavar="N",
              help="Trainings of each variant, each from other random weights.")  # fmt: skip
@recipe_options
@images_options
@click.option("--distill", is_flag=True,
              help="Start from MODEL's weights, and learn its answers too.")  # fmt: skip
@click.option("--temperature", type=click.FloatRange(0, min_open=True), default=TEMPERATURE,
              show_default=True, metavar="T",
              help="Softens the answers that are learnt.")  # fmt: skip
@click.option("-o", "--out", metavar="FOLDER",
              help="Where everything is kept [study-MODEL, or study-MODEL-distilled].")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="Processes that train at a time, with one thread each.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), metavar="N",
              help="Threads of each process [all for one process, else 1].")  # fmt: skip
@click.option("--plot/--no-plot", default=True, show_default=True,
              help="Draw the errors; needs matplotlib.")  # fmt: skip
@json_option
def study(
    model: str,
    data: str,
    weights: str | None,
    window: tuple[int, ...] | None,
    variants: tuple[str, ...],
    seeds: int,
    recipe: Recipe,
    images: Images,
    distill: bool,
    temperature: float,
    out: str | None,
    jobs: int,
    threads: int | None,
    plot: bool,
    as_json: bool,
) -> None:
    """Train variants of MODEL on the labelled images in DATA, from scratch, and compare them.

    \b
    fc        MODEL itself
    exact     its exact conversion: the same function
    gap       its head replaced by a 1×1 convolution and the global average
    strided   gap, and max pools dropped for longer strides
    convpool  gap, and a convolution before every pool
    allconv   gap, and every pool a convolution with its stride

    Errors with means, deviations, differences and their intervals over seeds; parameters; the time
    of a step. All is kept in a folder: after Ctrl-C, or worse, the same command goes on.
    """
    from fullconv.models import load_model
    from fullconv.study import study as run
    from fullconv.study.plot import import_pyplot
    from fullconv.study.write import write_report

    if plot:
        import_pyplot()  # or it is missing, which is better known now
    if weights is not None and not distill:
        raise UsageError(
            "--weights has no use here: variants are trained from scratch.",
            hint="Leave it out, or add --distill to start from these weights.",
        )
    load = partial(load_module, model, weights, not distill)
    classifier = load_model(model, weights=weights, architecture_only=not distill)
    say(f"{model}: weights {classifier.weights}")
    asked = Asked(model, weights, window, None, None, None)
    size = window_of(classifier, asked)
    folder = Path(out or default_folder(model, distill))
    try:
        with Progress("images") as progress:
            parts = _parts(classifier, size, data, images, progress)
        say(f"{data}: {len(parts.train):,} images to train on, {len(parts.test):,} to test on")
        with Progress("epochs") as progress:
            found = run(
                classifier.module,
                parts,
                size,
                folder=folder,
                variants=variants,
                seeds=seeds,
                recipe=recipe,
                distill=distill,
                temperature=temperature,
                jobs=jobs,
                threads=threads,
                load=load,
                name=model,
                say=say,
                progress=progress,
            )
    except KeyboardInterrupt:
        kept = f"what is trained stays in {folder}, and " if folder.exists() else ""
        say(f"interrupted; {kept}the same command goes on")
        raise click.exceptions.Exit(INTERRUPTED) from None
    for path in write_report(found, folder, plot=plot):
        say(f"written: {path}")
    show(str(found), {"folder": str(folder), **found.to_dict()}, as_json)
    _raise_problems(found)


def load_module(model: str, weights: str | None, architecture_only: bool) -> nn.Module:
    """The network of a MODEL word: how other processes get it."""
    from fullconv.models import load_model

    return load_model(model, weights=weights, architecture_only=architecture_only).module


def default_folder(model: str, distilled: bool) -> str:
    """`study-` and the name of a MODEL in letters that fit a file."""
    name = model.rpartition("/")[2].replace(":random", "")
    word = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-") or "model"
    return f"study-{word}" + ("-distilled" if distilled else "")


def _parts(
    classifier: Classifier,
    window: int | tuple[int, ...],
    data: str,
    images: Images,
    progress: Progress,
) -> Parts:
    """The images to train and to test on."""
    import fullconv
    from fullconv.evaluate.class_names import find_class
    from fullconv.evaluate.preparation import check_preparation
    from fullconv.geometry import per_axis
    from fullconv.training import open_parts

    plan = fullconv.plan(classifier.module, window)
    count = max(2, plan.outputs)
    names = classifier.classes
    if images.classes is not None:
        names = read_classes(images.classes, count)
    elif names is not None and len(names) != count:
        names = None
    said = (classifier.mean, classifier.std) != ((0.0,), (1.0,))
    mean = images.mean or (classifier.mean if said else None)
    std = images.std or (classifier.std if said else None)
    if mean is not None and std is not None:
        check_preparation(plan.channels, mean, std)
    return open_parts(
        data,
        per_axis(window, 2, "window"),
        resolve=lambda name: find_class(name, names, count),
        classes=count,
        channels=plan.channels,
        limit=images.limit,
        test_limit=images.test_limit,
        resize=images.resize,
        mean=mean,
        std=std,
        progress=progress,
    )


def _raise_problems(found: Study) -> None:
    """Raise InputError for images that were left out, FullconvError for runs that failed."""
    if found.unread:
        raise InputError(
            f"{len(found.unread):,} images could not be read; the study is of the others."
            f"{listed(found.unread)}"
        )
    if found.failed:
        lines = [f"{run.variant}, seed {run.seed}: {run.failed}" for run in found.failed]
        raise FullconvError(
            f"{len(found.failed)} runs failed; the study is of the others.{listed(lines)}"
        )
