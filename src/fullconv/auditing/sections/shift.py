"""Does the scale of training matter? How the last features and the answers shift as images grow."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from fullconv.auditing.answers.features import Shift, measure
from fullconv.auditing.answers.samples import Say, named
from fullconv.auditing.figures import MISSING, counted, figure, percent
from fullconv.auditing.section import Chart, Section, Series, Table
from fullconv.auditing.subject import Subject
from fullconv.geometry import times

KEY, TITLE = "shift", "Does the scale of training matter?"

SECONDS = 15.0
"""What it takes with VGG-16 on two cores and three images."""

FAR = 0.5
"""The averaged vector may move by so many standard deviations for the scale not to matter."""

AGREE = 0.9
"""At least this share of answers must be that at the window for the scale not to matter."""


def section(subject: Subject, seconds: float, say: Say) -> Section:
    """What there is to say about a network at other sizes than the one it was trained at."""
    fcn = subject.fcn
    if not fcn.plan.cuts:
        return Section(KEY, TITLE, skipped=("The network has no head that takes features.",))
    found = measure(fcn, named(subject.images), seconds=seconds, say=say)
    if subject.reading is not None:  # people know layers by their paths, not by nodes of a graph
        found = replace(found, node=subject.reading.blueprint.by_name[found.node].where)
    return Section(
        KEY,
        TITLE,
        verdict=_verdict(found),
        text=_text(found),
        tables=_tables(found),
        charts=_charts(found),
        facts=found.to_dict(),
        skipped=("No images were given: noise says nothing of larger objects.",)
        if found.noise
        else (),
        how=_how(found),
    )


def _verdict(found: Shift) -> tuple[str, ...]:
    if len(found.rows) < 2:
        return ()
    first, last = found.rows[0], found.rows[-1]
    matters = any((row.pooled.shift or 0) > FAR or row.agreement < AGREE for row in found.rows)
    what = "noise" if found.noise else counted(found.images, "image")
    # What a network says of noise, nobody asks it for: larger objects are not in it.
    answer = "On noise alone" if found.noise else "Yes" if matters else "Hardly"
    said = [
        f"{answer}: at {times(last.size)} px, "
        f"{figure(last.size[-1] / first.size[-1])} times the window, the averaged feature vector "
        f"of {what} has moved by {figure(last.pooled.shift)} standard deviations; for "
        f"{round(last.agreement * found.images)} of {counted(found.images, 'image')} the answer is "
        "that at the window.",
        f"The share of zeros in that vector goes from {percent(first.pooled.zeros, 1)} to "
        f"{percent(last.pooled.zeros, 1)}, the probability of the top class from "
        f"{percent(first.confidence, 1)} to {percent(last.confidence, 1)} on average.",
    ]
    if found.contexts:
        said.append(_contexts(found))
    return tuple(said)


def _contexts(found: Shift) -> str:
    ops = counted(len(found.contexts), "op looks", "ops look")
    if found.context == "window":
        return (
            f"{ops} at the whole map (first {found.contexts[0]}); here at the window around every "
            "cell, so that the size of the image does not change what they see."
        )
    return (
        f"{ops} at the whole map (first {found.contexts[0]}); here at all of the image, so that "
        "what they see changes with its size, and its cells with them."
    )


def _text(found: Shift) -> tuple[str, ...]:
    said = [
        "A network learns the statistics of the size it is trained at. Objects that are larger in "
        "the image excite other features, and a mean over more cells is less sparse; a classifier "
        "behind it does not expect either (FixRes, Touvron et al. 2019, section 3).",
        f"The last features are the {found.channels:,} channels of {found.node}, the input of the "
        "head.",
    ]
    if found.cuts > 1:
        said.append(f"The head takes {found.cuts} maps; the first one is looked at.")
    if not found.contexts:
        said.append(
            "No op looks at the whole map: what shifts comes of the objects, the border and the "
            "mean."
        )
    return tuple(said)


def _tables(found: Shift) -> tuple[Table, ...]:
    rows, answers = [], []
    for row in found.rows:
        for name, spread in (("features", row.features), ("averaged", row.pooled)):
            rows.append(
                (
                    f"{times(row.size)} px, {name}",
                    figure(spread.mean) if spread.mean >= 0 else f"−{figure(-spread.mean)}",
                    figure(spread.sd),
                    percent(spread.zeros, 1),
                    MISSING if spread.shift is None else figure(spread.shift),
                )
            )
        answers.append(
            (
                f"{times(row.size)} px",
                times(row.cells),
                percent(row.confidence, 1),
                percent(row.agreement, 1),
            )
        )
    return (
        Table(
            ("size", "mean", "sd", "zeros", "shift (sd)"),
            tuple(rows),
            "The last features over all cells, and their mean over the map of every image. Shift: "
            "mean absolute difference per channel from the window, in standard deviations at the "
            "window.",
        ),
        Table(
            ("size", "cells of features", "probability of the top class", "same class as window"),
            tuple(answers),
            "Scores averaged over the map.",
        ),
    )


def _charts(found: Shift) -> tuple[Chart, ...]:
    if len(found.rows) < 2:
        return ()
    x = tuple(float(row.size[-1]) for row in found.rows)
    first, last = found.rows[0], found.rows[-1]
    shifts = [("all cells", [row.features.shift for row in found.rows])]
    shifts.append(("averaged", [row.pooled.shift for row in found.rows]))
    shares = [
        ("zeros, all cells", [row.features.zeros for row in found.rows]),
        ("zeros, averaged", [row.pooled.zeros for row in found.rows]),
        ("probability of the top class", [row.confidence for row in found.rows]),
        ("same class as at the window", [row.agreement for row in found.rows]),
    ]
    side = "side of the image, px"
    return (
        Chart(
            "How far the last features move as images grow",
            side,
            "mean shift of a channel, sd at the window",
            tuple(
                Series(name, x, tuple(float(value or 0) for value in values))
                for name, values in shifts
                if any(value is not None for value in values)
            ),
            alt=f"At {times(last.size)} px the averaged vector has moved by "
            f"{figure(last.pooled.shift)} standard deviations.",
        ),
        Chart(
            "Zeros and answers as images grow",
            side,
            "share",
            tuple(Series(name, x, tuple(values)) for name, values in shares),
            alt=f"Zeros in the averaged vector go from {percent(first.pooled.zeros)} to "
            f"{percent(last.pooled.zeros)}; {percent(last.agreement)} of the answers stay.",
        ),
    )


def _how(found: Shift) -> tuple[str, ...]:
    if found.noise:
        source = f"{counted(found.images, 'random image')}, drawn anew at every size"
    else:
        source = (
            f"the middle of {counted(found.images, 'image')}, in the proportions of the window, "
            "resized (linear, antialiased)"
        )
    cells = prod(found.rows[0].cells) * found.images
    return (
        f"Run on {source}; sizes are whole strides above the window.",
        f"At the window {counted(cells, 'cell')} of features were seen, and one averaged vector "
        "per image; its shift is in units of the standard deviation over images and channels.",
    )
