"""Does the scale of training matter? How the last features and the answers shift as images grow."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from fullconv.auditing.answers.features import MOST_IMAGES, Shift, measure
from fullconv.auditing.answers.samples import named
from fullconv.auditing.figures import counted, figure, layer, listed, percent, whole
from fullconv.auditing.measuring.timing import Say
from fullconv.auditing.section import Chart, Section, Series, Table
from fullconv.auditing.subject import Subject
from fullconv.geometry import times

KEY, TITLE = "shift", "Does the scale of training matter?"

SHARE = 15.0
"""Of the time, against the shares of the other sections."""

FAR = 0.5
"""The averaged vector may move by so many standard deviations for the scale not to matter."""

ENOUGH = 3
"""Fewer images have figures, and do not say whether the scale matters."""

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
        skipped=_skipped(found),
        how=_how(found),
    )


def _verdict(found: Shift) -> tuple[str, ...]:
    if len(found.rows) < 2:
        return ()
    first, last = found.rows[0], found.rows[-1]
    at = f"at {times(last.size)} px, {whole(last.size[-1] / first.size[-1])} times the window,"
    zeros = (
        f"the share of zeros in the averaged feature vector goes from "
        f"{percent(first.pooled.zeros, 1)} to {percent(last.pooled.zeros, 1)}"
    )
    if found.noise:  # other images at every size: there is nothing to compare one by one
        return (f"No images were given, and noise has no objects that grow: on it, {at} {zeros}.",)
    zeros = zeros.replace("the averaged feature vector", "that vector")
    return (
        f"{_answer(found)}{at} {_moved(found)}.",
        f"{zeros[0].upper()}{zeros[1:]}, the probability of the top class from "
        f"{percent(first.confidence, 1)} to {percent(last.confidence, 1)} on average.",
    )


def _answer(found: Shift) -> str:
    """Whether the scale matters, by the row that is quoted; nothing for a few images."""
    last = found.rows[-1]
    if found.images < ENOUGH:
        return "On few images: "
    matters = (last.pooled.shift or 0.0) > FAR or (last.agreement or 0.0) < AGREE
    return "Yes: " if matters else "Hardly: "


def _moved(found: Shift) -> str:
    """How far the averaged vector has moved at the largest size, and how many answers stay."""
    last = found.rows[-1]
    one = found.images == 1
    answers = (
        f"its answer is {'that at the window' if found.same else 'another one'}"
        if one
        else f"{found.same} of {counted(found.images, 'image')} "
        f"{'keeps' if found.same == 1 else 'keep'} the answer of the window"
    )
    whose = f"the averaged feature vector of {counted(found.images, 'image')}"
    if last.pooled.shift is None:
        return f"{whose} is compared, which does not vary at the window, and {answers}"
    return f"{whose} has moved by {figure(last.pooled.shift)} standard deviations, and {answers}"


def _skipped(found: Shift) -> tuple[str, ...]:
    said = []
    if found.problem:
        said.append(f"How features shift: {found.problem}.")
    if found.noise:
        said.append(
            "No images were given: noise says nothing of larger objects, and is another image at "
            "every size, so that answers are not compared."
        )
    elif found.images < found.given and not found.problem:
        left = found.given - found.images
        why = f"{found.images} are enough" if found.images == MOST_IMAGES else "no time"
        said.append(f"{left} of {counted(found.given, 'image')}: {why}.")
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
        f"The last features are the {found.channels:,} channels of {layer(found.node)}, the input "
        "of the head.",
    ]
    if found.cuts > 1:
        said.append(f"The head takes {found.cuts} maps; the first one is looked at.")
    if found.contexts:
        said.append(_contexts(found))
    else:
        said.append(
            "No op looks at the whole map: what shifts comes of the objects, the border and the "
            "mean."
        )
    return tuple(said)


def _tables(found: Shift) -> tuple[Table, ...]:
    if not found.rows:
        return ()
    rows, answers = [], []
    for row in found.rows:
        for name, spread in (("features", row.features), ("averaged", row.pooled)):
            rows.append(
                (
                    f"{times(row.size)} px, {name}",
                    figure(spread.mean) if spread.mean >= 0 else f"−{figure(-spread.mean)}",
                    figure(spread.sd),
                    percent(spread.zeros, 1),
                    figure(spread.shift),
                )
            )
        answer = (f"{times(row.size)} px", times(row.cells), percent(row.confidence, 1))
        answers.append(answer if found.noise else (*answer, percent(row.agreement, 1)))
    header = ("size", "cells of features", "probability of the top class")
    return (
        Table(
            ("size", "mean", "sd", "zeros", "shift (sd)"),
            tuple(rows),
            "The last features over all cells, and their mean over the map of every image. Shift: "
            "mean absolute difference per channel from the window, in standard deviations at the "
            "window.",
        ),
        Table(
            header if found.noise else (*header, "same class as window"),
            tuple(answers),
            "Scores averaged over the map.",
        ),
    )


def _charts(found: Shift) -> tuple[Chart, ...]:
    if len(found.rows) < 2:
        return ()
    x = tuple(float(row.size[-1]) for row in found.rows)
    first, last = found.rows[0], found.rows[-1]
    shifts = [
        Series(name, x, tuple(float(value or 0) for value in values))
        for name, values in (
            ("all cells", [row.features.shift for row in found.rows]),
            ("averaged", [row.pooled.shift for row in found.rows]),
        )
        if any(value is not None for value in values)
    ]
    shares = [
        ("zeros, all cells", [row.features.zeros for row in found.rows]),
        ("zeros, averaged", [row.pooled.zeros for row in found.rows]),
        ("probability of the top class", [row.confidence for row in found.rows]),
    ]
    zeros = (
        f"Zeros in the averaged vector go from {percent(first.pooled.zeros)} to "
        f"{percent(last.pooled.zeros)}"
    )
    if not found.noise:
        shares.append(("same class as at the window", [row.agreement or 0.0 for row in found.rows]))
        zeros += f"; {percent(last.agreement)} of the answers stay"
    side = "side of the image, px"
    moved = Chart(
        "How far the last features move as images grow",
        side,
        "mean shift of a channel, sd at the window",
        tuple(shifts),
        alt=f"At {times(last.size)} px "
        + listed([f"{figure(one.y[-1])} standard deviations, {one.name}" for one in shifts])
        + "."
        if shifts
        else "",
    )
    return (
        *((moved,) if shifts else ()),
        Chart(
            "Zeros as images grow" if found.noise else "Zeros and answers as images grow",
            side,
            "share",
            tuple(Series(name, x, tuple(values)) for name, values in shares),
            alt=f"{zeros}.",
        ),
    )


def _how(found: Shift) -> tuple[str, ...]:
    if not found.rows:
        return ()
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
