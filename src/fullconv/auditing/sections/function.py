"""Is it the same function? The certificate, crops against the map, and the reach of padding."""

from __future__ import annotations

from math import prod

from fullconv.api.verify import Certificate
from fullconv.auditing.answers.crops import MOST_IMAGES, Compared
from fullconv.auditing.answers.marked import picture
from fullconv.auditing.answers.reach import Reach
from fullconv.auditing.answers.sameness import Sameness, measure
from fullconv.auditing.answers.samples import named
from fullconv.auditing.figures import counted, figure, listed, percent, tiny
from fullconv.auditing.measuring.timing import Say
from fullconv.auditing.section import Chart, Picture, Section, Series, Table
from fullconv.auditing.subject import Subject
from fullconv.geometry import times
from fullconv.hosts.torch_fx.fcn import About

KEY, TITLE = "function", "Is it the same function?"

SHARE = 30.0
"""Of the time, against the shares of the other sections."""

ROUNDING = 1e-12
"""Differences relative to the largest score that are none, in float64."""

PICTURES = 2
"""Images that are shown, at most."""


def section(subject: Subject, seconds: float, say: Say) -> Section:
    """What there is to say about a network, its images and how they were compared."""
    fcn, about = subject.fcn, subject.about
    found = measure(subject.model, fcn, named(subject.images), seconds=seconds, say=say)
    padded = not found.certificate.exact
    flat = len(fcn.window) == 2
    shown = [one for one in found.compared if any(one.changed)] or list(found.compared)
    return Section(
        KEY,
        TITLE,
        verdict=_verdict(found),
        text=_text(found),
        tables=(_proof(found.certificate), _band_table(found), *_ring_table(found.reach)),
        charts=(*(_band_chart(found) if padded else ()), *_ring_chart(found.reach)),
        pictures=tuple(
            _picture(one, about) for one in shown[:PICTURES] if flat and padded and not found.noise
        ),
        facts=found.to_dict(),
        skipped=_skipped(found, flat),
        how=_how(found),
    )


def _images(found: Sameness) -> str:
    if found.noise:
        return "of random noise (no images were given)"
    return f"of {counted(len(found.compared), 'image')}"


def _verdict(found: Sameness) -> tuple[str, ...]:
    proof = found.certificate
    if not proof.ok:
        worst = max(proof.native, proof.head, proof.windows if proof.exact else 0.0)
        return (
            f"No: the certificate failed. The largest difference is {worst:.1e} of the largest "
            f"score in float64, where {proof.tolerance:.0e} is allowed.",
        )
    apart = tiny(proof.native) + (" of the largest score" if proof.native else "")
    same = (
        "Yes: at the window the same parameters give the same answers; the largest difference is "
        f"{apart}, in float64."
    )
    if proof.exact:
        close = f"to {tiny(proof.windows)}" if proof.windows else "exactly"
        of = f"{counted(found.cells, 'cell')} {_images(found)}"
        return (
            same,
            "Nothing in it pads, so every cell of a larger image is the classifier on its crop, "
            f"{close} on {counted(proof.cells, 'window')}; of {of}, the top class differs in "
            f"{found.changed or 'none'}.",
        )
    why = []
    if proof.padded:
        why.append(counted(len(proof.padded), "layer that pads", "layers that pad"))
    if proof.contexts:
        why.append(
            f"{counted(len(proof.contexts), 'op that looks', 'ops that look')} at the whole map"
        )
    all_ = found.estimate
    sampled = "" if found.cells == all_.cells else "about "
    return (
        same,
        f"In larger images cells are not crops, because of {listed(why)}: {sampled}"
        f"{percent(all_.changed)} of the {counted(all_.cells, 'cell')} {_images(found)} "
        f"{'has' if all_.cells == 1 else 'have'} another top class than their crop, and scores "
        f"differ by {percent(all_.difference)} of the standard deviation that they have over "
        "crops and classes, on average.",
    )


def _reach_in_words(far: Reach) -> str:
    words = f"By geometry padding reaches {counted(far.depth, 'cell')} into the map from its rim"
    if not far.rings:
        return words
    if far.deepest == 0:
        return f"{words}; measured, no cell changes with what lies around the image"
    deepest, verb = far.deepest or 0, "change"
    if not far.beyond:
        changes = "measured on a map that is all rim, its cells"
    elif deepest == 1:
        changes, verb = "measured, the outermost cell", "changes"
    else:
        changes = f"measured, the {counted(deepest, 'outermost cell')}"
    outer = far.rings[0]
    return (
        f"{words}; {changes} {verb} with what lies around the image, at the rim by "
        f"{figure(outer.difference)} standard deviations of the scores on average"
    )


def _text(found: Sameness) -> tuple[str, ...]:
    proof, far = found.certificate, found.reach
    apart = tiny(proof.head) + (" of the largest score" if proof.head else "")
    said = [
        "The map is the classifier's own head slid over its own body's features, whatever pads: "
        f"the largest difference is {apart}."
    ]
    if proof.ok and not proof.exact and found.cells < found.estimate.cells:
        said.append(
            f"Of the {counted(found.cells, 'cell')} that were compared, {found.changed:,} "
            f"{'has' if found.changed == 1 else 'have'} another top class than their crop. The rim "
            "is sampled more closely than the rest, and weighs as much as it has cells in what is "
            "said of all."
        )
    if proof.ok and proof.padded and far.bounded:
        said.append(f"{_reach_in_words(far)}.")
    if proof.padded:
        said.append(
            "A crop has zeros around it wherever the network pads; the map has the picture "
            "around it there, and zeros only beyond the border of the image."
        )
    if proof.contexts:
        sees = "the window around every cell" if proof.context == "window" else "the whole image"
        said.append(
            f"{counted(len(proof.contexts), 'op looks', 'ops look')} at the whole map, first "
            f"{proof.contexts[0]}: in a crop at all of it, in the map at {sees}."
        )
    if far.beyond and far.bounded and far.depth:
        largest = max(ring.largest for ring in far.beyond)
        apart = f"by {largest:.1e} of the largest score at most" if largest else "by exactly 0"
        said.append(
            f"Cells at least {counted(far.beyond[0].distance, 'cell')} away from the rim differ "
            f"{apart}."
        )
    return tuple(said)


def _proof(proof: Certificate) -> Table:
    def row(name: str, value: float, must: bool) -> tuple[str, str, str]:
        equal = value <= proof.tolerance
        return name, tiny(value), "equal" if equal else "DIFFERENT" if must else "differs"

    return Table(
        ("compared with the classifier", "largest difference", "verdict"),
        (
            row("at the window", proof.native, True),
            row("its head slid over its body", proof.head, True),
            row(f"crops ({counted(proof.cells, 'window')})", proof.windows, proof.exact),
        ),
        f"The certificate: float64, relative to the largest score; up to {proof.tolerance:.0e} "
        "counts as equal.",
    )


def _band_table(found: Sameness) -> Table:
    return Table(
        ("distance of the window from the border", "cells", "mean difference (sd)", "same class"),
        tuple(
            (
                counted(band.distance, "stride") if band.distance else "touches it",
                f"{band.cells:,}",
                figure(band.difference),
                percent(band.top1, 1),
            )
            for band in found.bands
        ),
        f"Cells of the map against their crops, {_images(found)}: mean absolute difference of the "
        "scores in their standard deviation, and how often the top class is the same.",
    )


def _band_chart(found: Sameness) -> tuple[Chart, ...]:
    if len(found.bands) < 2:
        return ()
    x = tuple(float(band.distance) for band in found.bands)
    first, last = found.bands[0], found.bands[-1]
    return (
        Chart(
            "Map against crops",
            "distance of the window from the border, strides",
            "mean difference, sd of the scores",
            (Series("difference", x, tuple(band.difference for band in found.bands)),),
            alt=f"The mean difference is {figure(first.difference)} at distance {first.distance} "
            f"and {figure(last.difference)} at distance {last.distance}.",
        ),
    )


def _ring_table(far: Reach) -> tuple[Table, ...]:
    if not far.rings or not (far.deepest or far.depth):
        return ()  # nothing pads
    return (
        Table(
            ("distance of the cell from the rim", "cells", "mean difference (sd)", "largest"),
            tuple(
                (
                    counted(ring.distance, "cell") if ring.distance else "rim",
                    f"{ring.cells:,}",
                    figure(ring.difference) if ring.difference > 1e-9 else "0",
                    tiny(ring.largest),
                )
                for ring in far.rings
            ),
            f"The map of {times(far.size)} px by itself against the same pixels inside "
            f"{times(far.larger)} px: mean absolute difference in standard deviations of the "
            "scores, the largest relative to the largest score; float64.",
        ),
    )


def _ring_chart(far: Reach) -> tuple[Chart, ...]:
    rings = [ring for ring in far.rings if ring.largest > ROUNDING]
    if len(rings) < 2 or not far.deepest:
        return ()
    return (
        Chart(
            "How far the border of the image reaches into the map",
            "distance from the rim, cells of the native stride",
            "mean difference, sd of the scores",
            (
                Series(
                    "with another surrounding",
                    tuple(float(ring.distance) for ring in rings),
                    tuple(ring.difference for ring in rings),
                ),
            ),
            log_y=True,
            alt=f"The difference is {figure(rings[0].difference)} at the rim and "
            f"{rings[-1].difference:.1e} at distance {rings[-1].distance}.",
        ),
    )


def _picture(one: Compared, about: About) -> Picture:
    other, all_ = sum(one.changed), len(one.cells)
    return Picture(
        picture(one, about.mean, about.std),
        f"{one.name}: the middle of every window that was compared. Blue: the map has the top "
        "class of the crop; orange with a dot: another one.",
        f"{one.name} in grey with {all_} coloured squares, {other} of them orange.",
    )


def _skipped(found: Sameness, flat: bool) -> tuple[str, ...]:
    said = []
    left = found.given - len(found.compared)
    if left > 0 and not found.noise:
        enough = len(found.compared) == MOST_IMAGES
        why = f"at most {MOST_IMAGES} are compared with crops" if enough else "no time"
        said.append(f"{left} of {counted(found.given, 'image')}: {why}.")
    if not found.reach.rings:
        said.append("How far padding reaches was not measured: it would take too long.")
    if found.noise and not found.certificate.exact:
        said.append("No images were given: how often the top class changes is that on noise.")
    if not flat and not found.certificate.exact:
        said.append("Where classes change is not shown: there is no picture of such images.")
    return tuple(said)


def _how(found: Sameness) -> tuple[str, ...]:
    said = [
        f"The certificate compares in float64, on {'noise' if found.noise else 'a part of '}"
        f"{'' if found.noise else found.compared[0].name}.",
        f"{counted(found.cells, 'cell')} of {sum(prod(c.grid.shape) for c in found.compared):,} "
        "were compared with crops, in the type of the network; those at the border first, the "
        "others evenly spread.",
    ]
    for one in found.compared:
        if one.given != one.grid.size:
            said.append(
                f"{one.name} ({times(one.given)} px) was looked at at {times(one.grid.size)} px."
            )
    far = found.reach
    if far.rings:
        along = "along every axis" if len(far.axes) == len(far.size) else "along the last axes only"
        source = "noise" if far.noise else "the first image, mirrored where it is too small"
        said.append(f"The reach of the border was measured on {source}, {along}.")
    return tuple(said)
