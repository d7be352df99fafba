"""`fullconv plan`: the edits, without making them."""

from __future__ import annotations

import click

from fullconv.cli.answers import say, show
from fullconv.cli.loading import (
    window_of,
)
from fullconv.cli.options import (
    MODEL_FORMS,
    Asked,
    json_option,
    model_options,
)


@click.command(short_help="Show what would be changed.", epilog=MODEL_FORMS)
@model_options
@json_option
def plan(asked: Asked, as_json: bool) -> None:
    """Show the edits that make MODEL fully convolutional, without making them.

    A plan needs shapes only: no weights are loaded.
    """
    from fullconv.api.convert import plan as make_plan
    from fullconv.models import load_model

    classifier = load_model(asked.model, weights=asked.weights, architecture_only=True)
    say(f"{classifier.form}: weights {classifier.weights}")
    if asked.weights is not None:
        say(f"{asked.weights}: not read, a plan needs shapes only")
    made = make_plan(classifier.module, window_of(classifier, asked), **asked.options)
    show(str(made), {"model": asked.model, **made.to_dict()}, as_json)
