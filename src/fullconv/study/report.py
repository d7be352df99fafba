"""A study as text for the terminal and as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from fullconv.study.sentences import overall, sentence, written_p
from fullconv.study.value import Row, Study
from fullconv.tables import table

HEADER = (
    "variant", "parameters", "head", "error %", "difference", "p", "forward ms", "backward ms",
    "step ratio",
)  # fmt: skip


def text(study: Study) -> str:
    """The tables, and what they show."""
    header, rows = seeds(study)
    lines = [*(sentence(row, study) for row in study.rows), "", overall(study), "", *notes(study)]
    return (
        "\n".join(
            [
                table(HEADER, [cells(row) for row in study.rows]),
                table(header, rows, title="error % with each seed"),
                *lines,
            ]
        )
        + "\n"
    )


def markdown(study: Study, picture: str | None = None) -> str:
    """The page: tables, sentences, and how it was done."""
    header, rows = seeds(study)
    lines = [
        f"# Study of {study.settings.get('model') or 'a network'}",
        "",
        overall(study),
        "",
        grid(HEADER, [cells(row) for row in study.rows]),
        "",
        *(f"- {sentence(row, study)}" for row in study.rows),
    ]
    if picture is not None:
        lines += ["", f"![Top-1 error of every variant: each seed, mean and deviation]({picture})"]
    lines += ["", "## Error in % with each seed", "", grid(header, rows)]
    lines += ["", "## How it was done", "", *(f"- {note}" for note in notes(study))]
    if study.unread:
        lines += ["", "## Left out", "", *(f"- {line}" for line in study.unread)]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """A row of the table."""
    against, step = row.against, row.step
    interval = ""
    if against is not None:
        interval = f"{against.value:+.2f}"
        if against.low is not None:
            interval += f" [{against.low:+.2f}, {against.high:+.2f}]"
    mean = "failed" if row.mean is None else f"{row.mean:.2f}"
    return [
        row.variant,
        f"{row.parameters:,}",
        f"{row.head:,}",
        mean if row.deviation is None else f"{mean} ± {row.deviation:.2f}",
        interval,
        "" if against is None or against.p is None else written_p(against.p),
        "" if step is None else f"{step.forward:.1f}",
        "" if step is None else f"{step.backward:.1f}",
        "" if step is None else f"{step.ratio:.2f} [{step.low:.2f}, {step.high:.2f}]",
    ]


def seeds(study: Study) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of all runs."""
    header = ["variant", *(f"seed {run.seed}" for run in study.base.runs)]
    rows = [
        [row.variant, *("failed" if r.error is None else f"{r.error:.2f}" for r in row.runs)]
        for row in study.rows
    ]
    return header, rows


def notes(study: Study) -> list[str]:
    """How it was done, a line each."""
    recipe = study.settings["recipe"]
    learns = study.settings.get("temperature")
    start = (
        "from scratch: every seed gives all layers new weights, which its variants share; layers "
        "that only a variant has begin as fullconv allconv says"
        if learns is None
        else f"from the network's weights, learning its answers at temperature {learns:g}"
        + ("" if study.given is None else f" (it errs on {study.given:.2f} % itself)")
    )
    augment = [
        *(["mirrored at random"] if recipe["flip"] else []),
        *([f"shifted by up to {recipe['shift']} px"] if recipe["shift"] else []),
    ]
    found = [
        f"{study.images[0]:,} images to train on, {study.images[1]:,} to test on, looked at once, "
        "after the last epoch",
        start,
        f"{recipe['epochs']} epochs, batches of {recipe['batch']}, SGD with rate "
        f"{recipe['rate']:g}, momentum {recipe['momentum']:g}, weight decay {recipe['decay']:g}, "
        + ("gradients not clipped" if recipe["clip"] is None else f"clip {recipe['clip']:g}")
        + f", {recipe['dtype']}; images {' and '.join(augment) or 'as they are'}; the same batches "
        "in the same order for all variants of a seed",
        "±: standard deviation over seeds; difference: to "
        f"{study.base.variant}, in points, paired by seed, with its 95 % interval and the p value "
        "of the paired t test, not corrected for their number",
    ]
    step = study.base.step
    if step is not None:
        found.append(
            f"a step: {step.batch} images, {step.threads} "
            f"{'thread' if step.threads == 1 else 'threads'}, variants in turn, medians of "
            f"{step.rounds} rounds; ratio: forward and backward together against "
            f"{study.base.variant}, in brackets the middle half of the rounds"
        )
    return [*found, *study.remarks]


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
