"""`fullconv allconv`: pools as convolutions, the head as a 1×1 convolution and a mean."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.allconv.words import HEADS, POOLS
from fullconv.cli.answers import say, show
from fullconv.cli.commands.allconv_distill import Lesson, learn, lesson_options
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import Numbers, as_path, describe, introduce, window_of
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    classes_option,
    distinct,
    json_option,
    model_options,
    pixels_option,
    preparation_options,
)
from fullconv.cli.progress import Progress
from fullconv.cli.training import raise_unread
from fullconv.errors import UsageError
from fullconv.storage.locking import locked_file

if TYPE_CHECKING:
    from torch import Tensor

    from fullconv.allconv.network import AllConvolutional
    from fullconv.models import Classifier


@click.command(short_help="Replace pools and FC head by convolutions.", epilog=MODEL_FORMS)
@model_options
@click.option(
    "--pools",
    type=click.Choice(POOLS),
    default=POOLS[0],
    show_default=True,
    help="What becomes of pools: a strided convolution in the place of each (All-CNN); max pools "
    "dropped, the convolution before each making their steps (Strided-CNN); a convolution before "
    "each (ConvPool-CNN); or nothing.",
)
@click.option(
    "--head",
    type=click.Choice(HEADS),
    default=HEADS[0],
    show_default=True,
    help="What becomes of the head: a 1×1 convolution to the scores and their mean over the map, "
    "or the same as convolutions.",
)
@click.option(
    "--images",
    multiple=True,
    metavar="IMAGE",
    help="Fit what cannot begin exactly to this image, folder or pattern, by least squares; may be "
    "given several times.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Show the plan only; needs no weights.")
@click.option(
    "-o",
    "--output",
    metavar="FILE.safetensors",
    help="Write the new network, fully convolutional; its description goes beside it, as .json.",
)
@classes_option
@preparation_options
@pixels_option
@lesson_options
@json_option
def allconv(
    asked: Asked,
    pools: str,
    head: str,
    images: tuple[str, ...],
    only_plan: bool,
    output: str | None,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    max_pixels: int,
    lesson: Lesson,
    as_json: bool,
) -> None:
    """Show what would become of MODEL as an all-convolutional network (Springenberg et al. 2015),
    how each new layer begins and what that costs in parameters.

    With -o the network is made and written, as "fullconv convert" writes one: heatmap, classify and
    evaluate read it. Where it begins as another function it has to be trained: by --distill, or in
    Python. What that costs in accuracy, fullconv study measures.
    """
    if output is not None and not only_plan:
        _make(asked, pools, head, images, output, classes, mean, std, max_pixels, lesson, as_json)
        return
    _refuse_unused(output, asked, classes, mean, std, lesson)
    from fullconv.allconv.build import plan as make_plan
    from fullconv.models import load_model

    classifier = load_model(asked.model, weights=asked.weights, architecture_only=True)
    say(f"{classifier.form}: weights {classifier.weights}")
    window = window_of(classifier, asked)
    made = make_plan(classifier.module, window, pools=pools, head=head, fitted=bool(images))
    show(str(made), {"model": asked.model, "plan": made.to_dict()}, as_json)


def _refuse_unused(
    output: str | None,
    asked: Asked,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    lesson: Lesson,
) -> None:
    """Raise UsageError for what says how to write a network, where none is written."""
    if output is not None:
        raise UsageError("--plan and -o exclude each other.", hint="Leave --plan out to write.")
    given = {**asked.options, "classes": classes, "mean": mean, "std": std}
    given["distill"] = lesson.data
    unused = [f"--{name}" for name, value in given.items() if value is not None]
    if unused:
        raise UsageError(
            f"{' and '.join(unused)} cannot be given without -o.",
            why="It is about the network that is written.",
            hint="Name a file with -o.",
        )


def _make(
    asked: Asked,
    pools: str,
    head: str,
    images: tuple[str, ...],
    output: str,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    max_pixels: int,
    lesson: Lesson,
    as_json: bool,
) -> None:
    """Make the network, and write its FCN."""
    from fullconv.allconv.build import all_convolutional
    from fullconv.api.convert import convert
    from fullconv.api.save import check_target, save
    from fullconv.models import load_model
    from fullconv.models.classifier import repeatable
    from fullconv.storage.listing import image_files

    if Path(output).suffix != ".safetensors":
        raise UsageError(f"-o {output} must be a name that ends in .safetensors.")
    files = image_files(images)
    read = {"the weights": as_path(asked.weights), "the class names": as_path(classes)}
    state = None if lesson.data is None else Path(output).with_suffix(".training.pt")
    distinct(
        {"-o": Path(output), "beside -o": Path(output).with_suffix(".json"), "--distill": state},
        {**read, **{f"the image {file}": file for file in files}},
    )
    check_target(output)
    classifier = load_model(asked.model, weights=asked.weights)
    say(f"{classifier.form}: weights {classifier.weights}")
    window = window_of(classifier, asked)
    pictures = None
    if files:
        pictures = _pictures(classifier, window, files, mean, std, max_pixels)
        say(f"fitting to {len(files):,} images ...")
    with at_once(), repeatable():
        network = all_convolutional(
            classifier.module, window, pools=pools, head=head, images=pictures
        )
    data: dict[str, Any] = {"model": asked.model, "plan": network.plan.to_dict()}
    text, learnt = str(network.plan), None
    with nullcontext() if state is None else locked_file(state):
        if state is not None:
            learnt = learn(network, classifier, window, lesson, mean, std, classes, state)
        fcn = convert(network, window, **asked.options)
        introduce(fcn, classifier)
        describe(fcn, classes, mean, std)
        if pictures is not None:
            with at_once():
                agreed = _agreement(classifier, network, pictures)
            data["agreement"] = agreed
            text += (
                f"on the images: the top class of the classifier for {agreed['same_class']:,} of "
                f"{agreed['images']:,}\n"
            )
        if learnt is not None:
            data["learnt"] = learnt.to_dict()
            text += f"{learnt}\n"
        data["written"] = [str(path) for path in save(fcn, output)]
        if state is not None:
            state.unlink(missing_ok=True)
    show(f"{text}\nwritten: {', '.join(data['written'])}", data, as_json)
    if learnt is not None:
        raise_unread(learnt.parts.unread, "it learnt from the others")


def _pictures(
    classifier: Classifier,
    window: int | tuple[int, ...],
    files: list[Path],
    mean: Numbers,
    std: Numbers,
    max_pixels: int,
) -> Tensor:
    """The images `(N, C, *window)`."""
    from fullconv.allconv.pictures import at_window
    from fullconv.api.convert import plan
    from fullconv.evaluate.preparation import check_preparation

    made = plan(classifier.module, window)
    if len(made.window) != 2:
        raise UsageError(
            f"an image has two spatial axes, and this network has {len(made.window)}.",
            where="--images",
            hint="In Python, fullconv.all_convolutional takes tensors.",
        )
    mean, std = mean or classifier.mean, std or classifier.std
    check_preparation(made.channels, mean, std)
    shortest = classifier.shortest if made.window == classifier.window else None
    with Progress("images", len(files)) as progress:
        return at_window(
            files,
            made.window,
            made.channels,
            mean=mean,
            std=std,
            shortest=shortest,
            max_pixels=max_pixels,
            progress=progress,
        )


def _agreement(
    classifier: Classifier, network: AllConvolutional, pictures: Tensor
) -> dict[str, int]:
    """For how many images the new network has the top class of the classifier."""
    import torch

    like = next(network.parameters())
    same = 0
    with torch.inference_mode():
        for x in torch.split(pictures.to(like), 8):
            same += int((classifier.module(x).argmax(1) == network(x).argmax(1)).sum())
    return {"images": len(pictures), "same_class": same}
