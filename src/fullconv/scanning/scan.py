"""The door to scans: an image of any size in, a score map on the disk out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fullconv.api.machine import peak_resident_bytes
from fullconv.geometry import Box
from fullconv.hosts.torch_fx.fcn import FCN
from fullconv.scanning.description import Keep, sizes_there
from fullconv.scanning.opening import Given, Ready, Request, Say, opened
from fullconv.scanning.plan import ScanPlan
from fullconv.scanning.preview import Preview, measured
from fullconv.scanning.sight.gaps import joined
from fullconv.scanning.summary import ScanSummary
from fullconv.scanning.work.run import OnFault, Progress, Work
from fullconv.storage.maps import MapWriter, open_map
from fullconv.storage.maps.begun import check_place


def scan(
    fcn: FCN,
    source: Given,
    target: str | os.PathLike[str],
    *,
    region: Box | None = None,
    level: int | None = None,
    mpp: float | None = None,
    mask: Given | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    keep: Keep = "all",
    values: str = "scores",
    dtype: str = "float32",
    max_memory: int | None = None,
    strip: int | None = None,
    band: int | None = None,
    strict: bool = False,
    say: Say | None = None,
    progress: Progress | None = None,
    on_plan: Callable[[ScanPlan], None] | None = None,
    on_fault: OnFault | None = None,
) -> ScanSummary:
    """The score map of an image of any size, in bounded memory, written to a folder.

    The map is that of one pass, `fcn(image)`, cell for cell: rows of the image flow through the
    network, and nothing is computed twice but where bands of columns overlap. The stream is first
    measured against one pass on a small image. A call that was interrupted, even killed, goes on
    where it was when it is made again.

    Args:
        fcn: the network; optimize it first for speed.
        source: a file, pixels `(*space, channels)`, or a `Source`.
        target: the folder of the map: made, or gone on with.
        region: `(top, left, bottom, right)` px of the level that is read: only this part.
        level: of a pyramid; 0 is the finest.
        mpp: in place of a level, µm/px: the coarsest level that is not coarser.
        mask: where to look: an image that covers the whole source and is not 0 there, or "auto"
            for what is no background on a glass slide. Cells whose window has no px to look at are
            NaN, and chunks of such cells are not computed.
        mean, std: of pixels scaled to 0..1 [those of `fcn.about`].
        keep: classes that are stored: "all", a list of names or numbers, or ("top", k).
        values: "scores", or "probabilities".
        dtype: "float32", "float16", or "uint8" for probabilities.
        max_memory: bytes that the process may have in all, libraries and weights included; on a
            GPU what maps may take there [9/10 of what is free].
        strip, band: rows of the map in a strip, columns in a band, in place of what fits.
        strict: stop at the first px that cannot be read. Otherwise all cells that look at such px
            are NaN, and the summary lists them. Cells whose window holds px that the file calls
            "no data" are NaN in any case.
        say: is told what a person may want to know, a sentence each.
        progress: is told after each strip how far it is.
        on_plan: is told the plan, before any pixel is read.
        on_fault: is told of px that could not be read, when they are read.

    Raises:
        RefusedError: the network looks at whole images, or an op of it cannot be streamed.
        InputError: the image cannot be read, is below the window, or changed since a scan of it
            began; the target holds another map; nothing fits into the memory.
        UsageError: options that fit no scan.
        IncompleteError: the target can no longer be written to (a full disk); what was written is
            kept.
        FullconvError: another process works on the target, or it cannot be written to at all.
    """
    asked = Request(
        region=region, level=level, mpp=mpp, mask=mask, mean=mean, std=std, keep=keep,
        values=values, dtype=dtype, max_memory=max_memory, strip=strip, band=band,
    )  # fmt: skip
    told: Say = say or (lambda text: None)
    folder = Path(target)
    check_place(folder)
    with opened(fcn, source, asked, sizes_there(folder), told) as ready:
        if on_plan is not None:
            on_plan(ready.plan)
        layout = ready.room.layout(ready.plan)
        with MapWriter.create_or_resume(
            folder, ready.about(), layout.shape, layout.chunk, layout.dtype
        ) as writer:
            for remark in writer.remarks:
                told(remark)
            before, total = len(writer.done), len(writer.layout)
            if before:
                told(f"{folder}: {before:,} of {total:,} chunks are there")
            work = Work(ready, writer, strict=strict, progress=progress, on_fault=on_fault)
            work.run()
        return _summary(ready, folder, work, before, total)


def preview(
    fcn: FCN,
    source: Given,
    target: str | os.PathLike[str] | None = None,
    *,
    region: Box | None = None,
    level: int | None = None,
    mpp: float | None = None,
    mask: Given | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    keep: Keep = "all",
    values: str = "scores",
    dtype: str = "float32",
    max_memory: int | None = None,
    strip: int | None = None,
    band: int | None = None,
    say: Say | None = None,
) -> Preview:
    """What `scan` would do, without writing anything: its plan, memory and time.

    Takes the same options, and raises the same errors. One strip is computed, to tell the time.
    With a target that is there, the plan is that by which it is gone on with.
    """
    asked = Request(
        region=region, level=level, mpp=mpp, mask=mask, mean=mean, std=std, keep=keep,
        values=values, dtype=dtype, max_memory=max_memory, strip=strip, band=band,
    )  # fmt: skip
    there = None if target is None else sizes_there(Path(target))
    with opened(fcn, source, asked, there, say or (lambda text: None)) as ready:
        return measured(ready)


def _summary(ready: Ready, folder: Path, work: Work, before: int, total: int) -> ScanSummary:
    plan = ready.plan
    device = ready.preparation.device
    most = None
    if device.type == "cuda":
        import torch

        most = torch.cuda.max_memory_allocated(device)
    return ScanSummary(
        target=folder,
        source=ready.source.name,
        plan=plan,
        chunks=total,
        before=before,
        computed=work.computed,
        cells=work.cells,
        blank=work.blank,
        macs=work.macs,
        needed=plan.needed * work.cells / len(ready.fcn.grid(plan.size)),
        seconds=work.seconds,
        memory=peak_resident_bytes(),
        device_memory=most,
        faults=joined(open_map(folder).faults),
    )
