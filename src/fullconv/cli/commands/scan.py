"""`fullconv scan`: the score map of an image of any size, in bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fullconv.cli.answers import say, show, show_line
from fullconv.cli.commands.scan_progress import ScanProgress, event
from fullconv.cli.interrupt import INTERRUPTED
from fullconv.cli.loading import Numbers, as_path, describe, files_read, load_fcn
from fullconv.cli.options import (
    SAVED_TOO,
    Asked,
    classes_option,
    distinct,
    json_option,
    model_options,
    preparation_options,
)
from fullconv.cli.speed import Bytes, Speed, uncompiled_speed_options
from fullconv.errors import InputError, UsageError

if TYPE_CHECKING:
    from fullconv.hosts.torch_fx.fcn import FCN
    from fullconv.scanning.summary import ScanSummary
    from fullconv.storage.sources import Fault

STORED = ("float32", "float16", "uint8")


class Edges(click.ParamType):  # type: ignore[type-arg]
    """`0,0,4096,8192`: top, left, bottom, right."""

    name = "T,L,B,R"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """The numbers; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) % 2 or not all(part.strip().isdecimal() for part in parts):
            self.fail(
                f"{value!r} is no region; write top,left,bottom,right in px, as 0,0,4096,8192.",
                param, ctx,
            )  # fmt: skip
        return tuple(int(part) for part in parts)


@click.command(short_help="Map an image of any size, in bounded memory.", epilog=SAVED_TOO)
@model_options
@click.argument("image")
@click.option("-o", "--output", metavar="FOLDER",
              help="The map, a folder in Zarr 3: made, or gone on with [IMAGE-map.zarr in this "
              "folder].")  # fmt: skip
@click.option("--region", type=Edges(),
              help="Only these px of the level that is read, half-open.")  # fmt: skip
@click.option("--level", type=click.IntRange(0), metavar="N",
              help="The level of a pyramid to read; 0 is the finest [0].")  # fmt: skip
@click.option("--mpp", type=click.FloatRange(min=0, min_open=True), metavar="UM",
              help="In place of a level, micrometres per px: the coarsest level that is not "
              "coarser.")  # fmt: skip
@click.option("--mask", metavar="FILE|auto",
              help="Where to look: an image that covers all of IMAGE and is black elsewhere, or "
              "auto for what is no background on a glass slide.")  # fmt: skip
@click.option("--keep", multiple=True, metavar="NAME|NUMBER",
              help="Store this class only; may be said several times [all].")  # fmt: skip
@click.option("--top", type=click.IntRange(1), metavar="K",
              help="Store the K best classes of each cell only.")  # fmt: skip
@click.option("--probabilities", is_flag=True,
              help="Store probabilities in place of scores.")  # fmt: skip
@click.option("--store", type=click.Choice(STORED), default=STORED[0], show_default=True,
              help="The type of what is stored; uint8 is for probabilities.")  # fmt: skip
@click.option("--max-memory", type=Bytes(),
              help="What the program may have in all, as 2GiB; on a GPU what maps may take there "
              "[90 % of what is free].")  # fmt: skip
@click.option("--strip", type=click.IntRange(1), metavar="ROWS",
              help="Rows of the map in a strip [as many as help and fit].")  # fmt: skip
@click.option("--band", type=click.IntRange(1), metavar="COLUMNS",
              help="Columns of the map in a band [as many as fit].")  # fmt: skip
@click.option("--strict", is_flag=True,
              help="Stop at px that cannot be read. Otherwise what looks at them has no "
              "score.")  # fmt: skip
@click.option("--dry-run", is_flag=True,
              help="Tell the plan, the memory and the time, and write nothing.")  # fmt: skip
@classes_option
@preparation_options
@uncompiled_speed_options
@json_option
def scan(
    asked: Asked,
    image: str,
    output: str | None,
    keep: tuple[str, ...],
    top: int | None,
    probabilities: bool,
    store: str,
    strict: bool,
    dry_run: bool,
    classes: str | None,
    mean: Numbers,
    std: Numbers,
    speed: Speed,
    as_json: bool,
    **options: Any,
) -> None:
    """Map IMAGE, of any size, with the scores of MODEL at every window, in bounded memory.

    The map is that of one pass, cell for cell. After Ctrl-C, or worse, the same command goes on
    where it stopped. With --json, a line for each event: start, progress, fault, done.

    Exit code 3 if px of IMAGE could not be read: what looks at them is NaN in the map, the rest is
    there. Exit code 5 if the map can no longer be written to: what is written is kept.
    """
    from fullconv.scanning.scan import preview
    from fullconv.scanning.summary import places

    target = Path(output or f"{Path(image).stem}-map.zarr")
    mask = options["mask"]
    read = {"the image": Path(image), "the mask": None if mask == "auto" else as_path(mask)}
    distinct({"-o": target}, {**read, **files_read(asked, classes)})
    fcn = load_fcn(asked)
    describe(fcn, classes, mean, std)
    fcn = speed.ready(fcn)
    options |= {
        "keep": _kept(keep, top),
        "values": "probabilities" if probabilities else "scores",
        "dtype": store,
    }
    if dry_run:
        told = preview(fcn, image, target, say=say, **options)
        show(str(told), {"model": asked.model, **told.to_dict()}, as_json)
        return
    done = _scanned(fcn, image, target, as_json, strict=strict, **options)
    if as_json:
        event("done", {"model": asked.model, **done.to_dict()})
    else:
        show_line(str(done).rstrip("\n"))
    if done.faults:
        raise InputError(
            f"{places(done.faults)} of the image could not be read; cells that look there have no "
            f"score.{done.told()}",
            where=image,
        )


def _kept(keep: tuple[str, ...], top: int | None) -> Any:
    """What is stored, in the words of `fullconv.scan`."""
    if keep and top is not None:
        raise UsageError(
            "--top and --keep exclude each other.",
            why="One stores the best classes of each cell, the other certain ones.",
        )
    if top is not None:
        return ("top", top)
    return [*keep] if keep else "all"


def _scanned(fcn: FCN, image: str, target: Path, as_json: bool, **options: Any) -> ScanSummary:
    """Scan, show how far it is, and say how to go on where it is interrupted."""
    from fullconv.scanning.scan import scan as run

    def planned(plan: Any) -> None:
        if as_json:
            event("start", {"image": image, "target": str(target), "plan": plan.to_dict()})

    def told(fault: Fault) -> None:
        from fullconv.scanning.summary import written

        if as_json:
            event("fault", {"box": list(fault.box), "why": fault.why})
        else:
            say(f"could not be read: {written(fault)}")

    with ScanProgress(events=as_json) as progress:
        try:
            return run(
                fcn, image, target, say=say, on_plan=planned, on_fault=told, progress=progress,
                **options,
            )  # fmt: skip
        except KeyboardInterrupt:
            last = progress.last
            kept = f"{last.chunks:,} chunks stay in {target}, and " if last and last.chunks else ""
            say(f"interrupted; {kept}the same command goes on")
            raise click.exceptions.Exit(INTERRUPTED) from None
