"""`fullconv check`: the proof."""

from __future__ import annotations

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import (
    Numbers,
    describe,
    load_and_convert,
)
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    json_option,
    model_options,
    pixels_option,
    preparation_options,
)
from fullconv.errors import FullconvError


@click.command(short_help="Prove that the FCN equals its classifier.", epilog=MODEL_FORMS)
@model_options
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@preparation_options
@pixels_option
@click.option(
    "--cells",
    default=64,
    show_default=True,
    type=click.IntRange(2),
    metavar="N",
    help="Windows per image compared with crops, at most.",
)
@json_option
def check(
    asked: Asked,
    images: tuple[str, ...],
    mean: Numbers,
    std: Numbers,
    max_pixels: int,
    cells: int,
    as_json: bool,
) -> None:
    """Convert MODEL and prove, in float64, that the FCN equals it.

    Cells are compared with crops of the IMAGEs, or of random images without any. Exit code 1 if
    something differs that must not.
    """
    from fullconv.api.verify import verify
    from fullconv.evaluate.preparation import grid_of, prepared
    from fullconv.storage.images import read_image

    classifier, fcn = load_and_convert(asked)
    describe(fcn, None, mean, std)
    read = [read_image(path, channels=fcn.plan.channels, max_pixels=max_pixels) for path in images]
    for image in read:
        grid_of(fcn, image)
    pictures = [prepared(image, fcn.about.mean, fcn.about.std) for image in read]
    say("comparing ...")
    with at_once():
        certificate = verify(classifier.module, fcn, pictures or None, cells=cells)
    show(str(certificate), {"model": asked.model, **certificate.to_dict()}, as_json)
    if not certificate.ok:
        raise FullconvError("the FCN does not equal the classifier.", where=asked.model)
