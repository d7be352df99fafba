"""`fullconv export`: a score map as a file that other programs open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fullconv.cli.answers import say, show
from fullconv.cli.options import distinct, json_option
from fullconv.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from fullconv.storage.maps import ScoreMapStore

FORMATS = ("ome-zarr", "ome-tiff", "geotiff", "geojson", "png")


@click.command(
    short_help="Write a scanned map for other programs.",
    epilog="Without --format the end of FILE says it: .ome.zarr or .zarr, .ome.tif, .tif for "
    "GeoTIFF, .geojson or .json, .png.",
)
@click.argument("folder", metavar="MAP")
@click.option("-o", "--output", required=True, metavar="FILE", help="What to write.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Of FILE [by its name].")
@click.option(
    "--class",
    "names",
    multiple=True,
    metavar="NAME|NUMBER",
    help="Write only this class; may be given several times [all of the map].",
)
@click.option(
    "--threshold",
    type=float,
    metavar="P",
    help="Of geojson: areas where the value of a class reaches P [where it is the highest]. Of "
    "png: tint only these.",
)
@click.option(
    "--image",
    metavar="FILE",
    help="Of png: the image that was scanned, to paint over [the file that MAP names].",
)
@click.option(
    "--incomplete", is_flag=True, help="Write also a map of which parts are not scanned yet."
)
@json_option
def export(
    folder: str,
    output: str,
    form: str | None,
    names: tuple[str, ...],
    threshold: float | None,
    image: str | None,
    incomplete: bool,
    as_json: bool,
) -> None:
    """Write the score map MAP, made by "fullconv scan", as a file that other programs open.

    Every cell is drawn as the square of one stride around the centre of its window. Places are
    those of the image at full resolution: on the slide in micrometres, on the earth by its
    reference system, otherwise in px.
    """
    from fullconv.cli.commands.export_files import Target, as_data, as_text
    from fullconv.evaluate.class_names import find_class

    target = Target.named(output, form)
    if image is not None and target.form != "png":
        raise UsageError(f"--image is of png, and {output} is {target.form}.")
    distinct(
        {"-o": target.path},
        {"the map": Path(folder), "the image": None if image is None else Path(image)},
    )
    given = _opened(folder, incomplete)
    distinct({"-o": target.path}, {"the image that was scanned": Path(given.about.source)})
    target.check(folder)
    known, count = given.about.classes, given.layout.shape[-1]
    numbers = [find_class(name, known, count) for name in names] if names else None
    if not given.complete:
        say(f"{folder}: incomplete; what is not scanned yet has no score")
    say(f"writing {output} ...")
    made = target.write(given, numbers, threshold, image)
    show(as_text(given, folder, made), as_data(given, folder, made), as_json)


def _opened(folder: str, incomplete: bool) -> ScoreMapStore:
    from fullconv.storage.maps import open_map

    try:
        return open_map(folder, incomplete=incomplete)
    except IncompleteError as error:
        raise IncompleteError(
            error.what,
            where=error.where,
            why=error.why,
            hint="Scan again with the same settings to go on with it, or say --incomplete to write "
            "what is there.",
        ) from error
