"""A study as text for the terminal and as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from fullconv.study.sentences import overall, sentence
from fullconv.study.value import Row, Study
from fullconv.tables import table

HEADER = (
    "variant", "parameters", "of them head", "error %", "each seed", "difference", "p",
    "step ms: forward", "backward", "ratio",
)  # fmt: skip


def text(study: Study) -> str:
    """The table, and what it shows."""
    lines = [*(sentence(row, study) for row in study.rows), overall(study), *notes(study)]
    return table(HEADER, [cells(row) for row in study.rows]) + "\n" + "\n".join(lines) + "\n"


def markdown(study: Study, picture: str | None = None) -> str:
    """The page: table, sentences, and how it was done."""
    lines = [
        f"# Study of {study.settings.get('model') or 'a network'}",
        "",
        grid(HEADER, [cells(row) for row in study.rows]),
        "",
        *(f"- {sentence(row, study)}" for row in study.rows),
        "",
        overall(study),
    ]
    if picture is not None:
        lines += ["", f"![Top-1 error of every variant: each seed, mean and deviation]({picture})"]
    lines += ["", "## How it was done", "", *(f"- {note}" for note in notes(study))]
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
        "" if row.head is None else f"{row.head:,}",
        mean if row.deviation is None else f"{mean} ± {row.deviation:.2f}",
        " ".join("failed" if run.error is None else f"{run.error:.2f}" for run in row.runs),
        interval,
        "" if against is None or against.p is None else f"{against.p:.3f}",
        "" if step is None else f"{step.forward:.1f}",
        "" if step is None else f"{step.backward:.1f}",
        "" if step is None else f"{step.ratio:.2f} [{step.low:.2f}, {step.high:.2f}]",
    ]


def notes(study: Study) -> list[str]:
    """How it was done, a line each."""
    recipe = study.settings["recipe"]
    learns = study.settings.get("temperature")
    start = (
        "from scratch: every seed gives all layers new weights, which its variants share"
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
            f"{study.base.variant}, in brackets the lowest and the highest round"
        )
    return [*found, *study.remarks]


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
