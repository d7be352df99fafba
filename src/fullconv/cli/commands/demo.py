"""`fullconv demo`: the whole job on what comes with the package."""

from __future__ import annotations

from pathlib import Path

import click

from fullconv.cli.answers import say, show
from fullconv.cli.options import (
    json_option,
)


@click.command(short_help="The whole job on what comes with the package.")
@click.option(
    "-o",
    "--output",
    default="fullconv-demo",
    show_default=True,
    metavar="FOLDER",
    help="Where the pictures go.",
)
@json_option
def demo(output: str, as_json: bool) -> None:
    """The whole job on a bundled classifier of textures and a mosaic it has never seen.

    Needs no network, no GPU and about a minute; scikit-image gives the photographs.
    """
    from fullconv.demo import run

    report = run(Path(output), say=say)
    show(str(report), report.to_dict(), as_json)
