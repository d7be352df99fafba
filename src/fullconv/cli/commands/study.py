"""`fullconv study`: variants of a network, trained side by side and compared."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import INTERRUPTED
from fullconv.cli.loading import Numbers, window_of
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    Size,
    classes_option,
    json_option,
    preparation_options,
)
from fullconv.cli.progress import Progress
from fullconv.cli.speed import device_option, placed
from fullconv.cli.training import (
    DATA,
    Chosen,
    chosen_options,
    opened,
    raise_unread,
    recipe_options,
    temperature_option,
    typed,
)
from fullconv.errors import FullconvError, UsageError, listed
from fullconv.study.words import SEEDS, VARIANTS
from fullconv.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from fullconv.study import Study


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


@click.command(
    short_help="Train variants of a network and compare them.",
    epilog=DATA + MODEL_FORMS,
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
@chosen_options
@preparation_options
@classes_option
@click.option("--distill", is_flag=True,
              help="Start from MODEL's weights, and learn its answers too.")  # fmt: skip
@temperature_option
@click.option("-o", "--out", metavar="FOLDER",
              help="Where everything is kept [study-MODEL, or study-MODEL-distilled].")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, metavar="N",
              help="Processes that train at a time, with one thread each.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1), metavar="N",
              help="Threads of each process [all for one process, else 1].")  # fmt: skip
@device_option
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
    chosen: Chosen,
    mean: Numbers,
    std: Numbers,
    classes: str | None,
    distill: bool,
    temperature: float,
    out: str | None,
    jobs: int,
    threads: int | None,
    device: str | None,
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
    if not distill and typed(["temperature"]):
        raise UsageError(
            "--temperature cannot be given without --distill.",
            why="Variants are trained from scratch, and learn no answers.",
            hint="Leave it out, or add --distill.",
        )
    load = partial(load_module, model, weights, not distill)
    classifier = load_model(model, weights=weights, architecture_only=not distill)
    say(f"{model}: weights {classifier.weights}")
    asked = Asked(model, weights, window, None, None, None)
    size = window_of(classifier, asked)
    folder = Path(out or default_folder(model, distill))
    placed(classifier.module, device)  # in place, and before images are read
    try:
        with Progress("images") as progress:
            parts = opened(
                classifier, size, data, chosen, mean, std, classes, own=distill, progress=progress
            )
        say(f"{data}: {len(parts.train):,} images to train on, {len(parts.test):,} to test on")
        with Progress("epochs", goes_on=True) as progress:
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


def _raise_problems(found: Study) -> None:
    """Raise InputError for images that were left out, FullconvError for runs that failed."""
    raise_unread(found.unread, "the study is of the others")
    if found.failed:
        lines = [f"{run.variant}, seed {run.seed}: {run.failed}" for run in found.failed]
        raise FullconvError(
            f"{len(found.failed)} runs failed; the study is of the others.{listed(lines)}"
        )
