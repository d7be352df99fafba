"""`fullconv convert`: the FCN as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fullconv.cli.answers import say, show
from fullconv.cli.interrupt import at_once
from fullconv.cli.loading import (
    Numbers,
    as_path,
    describe,
    load_and_convert,
)
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    classes_option,
    distinct,
    json_option,
    model_options,
    preparation_options,
)
from fullconv.errors import FullconvError, UsageError


@click.command(short_help="Write the FCN to a file.", epilog=MODEL_FORMS)
@model_options
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.safetensors",
    help="Where to write; its description goes beside it, as .json.",
)
@classes_option
@preparation_options
@click.option(
    "--check/--no-check",
    "checked",
    default=True,
    show_default=True,
    help="Prove that it equals MODEL before it is written.",
)
@json_option
def convert(
    asked: Asked,
    output: str,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    checked: bool,
    as_json: bool,
) -> None:
    """Convert MODEL and write the FCN: weights as safetensors, everything else as JSON.

    The class names and the preparation of images are written with it. "fullconv
    classify", "heatmap" and "evaluate" read it again, and in Python fullconv.load.
    """
    from fullconv.api.save import check_target, save
    from fullconv.api.verify import verify

    if Path(output).suffix != ".safetensors":
        raise UsageError(f"-o {output} must be a name that ends in .safetensors.")
    beside = Path(output).with_suffix(".json")
    distinct({"-o": Path(output), "beside -o": beside},
             {"the weights": as_path(asked.weights),
              "the class names": as_path(classes)})  # fmt: skip
    check_target(output)
    classifier, fcn = load_and_convert(asked)
    describe(fcn, classes, mean, std)
    certificate = None
    if checked:
        say("comparing ...")
        with at_once():
            certificate = verify(classifier.module, fcn)
        if not certificate.ok:
            raise FullconvError(f"the FCN does not equal the classifier.\n{certificate}")
    paths = [str(path) for path in save(fcn, output)]
    data: dict[str, Any] = {"model": asked.model, "written": paths, "plan": fcn.plan.to_dict()}
    if certificate is not None:
        data["certificate"] = certificate.to_dict()
    show(f"{fcn.plan}\n{certificate or ''}\nwritten: {', '.join(paths)}", data, as_json)
