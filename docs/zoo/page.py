"""`docs/coverage.md`, written from the measured rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fullconv.api.verify import TOLERANCE
from fullconv.geometry import times
from zoo.lists import NOT_CONVOLUTIONAL, Model
from zoo.measure import DIFFERENT, EQUAL, REFUSED
from zoo.runs import FAILED, LIBRARIES, STOPPED, Row

CONVERTED = (EQUAL, DIFFERENT)
NOT_CONVERTED = (REFUSED, FAILED, STOPPED)
HUBS = ("torchvision", "timm")
LONGEST = 260
"""Characters of a reason, at most."""

HEAD = (
    "family",
    "model",
    "window",
    "stride",
    "receptive field",
    "context ops",
    "at the window",
    "head over body",
    "finer stride",
    "s",
)

INTRODUCTION = """\
# What converts

`make zoo` wrote this page. It takes every convolutional classifier of torchvision, and of timm
every family with its different builds, gives it random weights, converts it at the window it was
trained at, and measures in float64 whether the FCN computes the same:

- **at the window**: one image of that size, FCN against classifier;
- **head over body**: an image of two windows per axis; the FCN's map against the classifier's own
  head slid over the feature map of its own body;
- **finer stride**: the map at half the stride (or the next divisor) along the first axis, read
  at every other cell, against the map at the native stride; – where only the native one can be had.

Differences are the largest ones, relative to the largest score; up to {tolerance:.0e} counts as
equal, and what is above stands in **bold**. Weights are drawn so that nothing hides: layer scales
and gates that start at nothing are not nothing here, and batch norms have statistics. Sizes are in
px. *s* is how long reading the network and planning the surgery took, in seconds.
*Context ops* look at the whole map (squeeze-and-excitation, say); they were converted with
`context="window"`.

torchvision's quantized networks, and those for detection, segmentation, optical flow and the like,
are no float classifiers, and not here. timm has several sizes of most networks; of each build there
is one or two, and of what is no convolutional network one per family.

Measured with {versions}.
"""


def write_page(
    models: Sequence[Model], rows: Mapping[str, Row], versions: Mapping[str, str]
) -> str:
    """The page. Models without a row are named at the end."""
    libraries = ", ".join(f"{name} {versions[name]}" for name in LIBRARIES)
    convolutional = [model for model in models if not model.other]
    parts = [
        INTRODUCTION.format(tolerance=TOLERANCE, versions=libraries),
        _summary(models, rows),
    ]
    for library in HUBS:
        own = [model for model in convolutional if model.library == library]
        lines = [_row(m, rows[m.form]) for m in own if _state(m, rows) in CONVERTED]
        if lines:
            parts.append(f"## {library}: converted\n\n{_table(HEAD, lines)}")
        told = [_told(m, rows[m.form]) for m in own if _state(m, rows) in NOT_CONVERTED]
        if told:
            table = _table(("family", "model", "why"), told)
            parts.append(f"## {library}: convolutional, but not converted\n\n{table}")
    others = [model for model in models if model.other]
    if others:
        parts.append(_others(others, rows))
    missing = [model.form for model in models if model.form not in rows]
    if missing:
        names = ", ".join(f"`{form}`" for form in missing)
        parts.append(f"## Not measured yet\n\n{names}\n")
    return "\n".join(parts)


def figure(difference: float) -> str:
    """A difference as the page shows it: bold if it is too large."""
    if difference == 0:
        return "0"
    text = f"{difference:.0e}"
    return text if difference <= TOLERANCE else f"**{text}**"


def seconds(value: float) -> str:
    """Seconds to one digit, as they are different every time."""
    return f"{value:.1f}" if value < 1 else f"{value:.0f}"


def _state(model: Model, rows: Mapping[str, Row]) -> str:
    return str(rows[model.form]["state"]) if model.form in rows else ""


def _summary(models: Sequence[Model], rows: Mapping[str, Row]) -> str:
    convolutional = [model for model in models if not model.other]
    lines = []
    for library in HUBS:
        own = [m for m in convolutional if m.library == library and m.form in rows]
        equal = sum(_state(m, rows) == EQUAL for m in own)
        families = {m.family for m in own}
        kept = {m.family for m in own if _state(m, rows) == EQUAL}
        if own:
            lines.append(
                f"- **{library}: {equal} of {len(own)}** convolutional networks convert and are "
                f"proven equal ({len(kept)} of {len(families)} families)."
            )
    for state, words in (
        (DIFFERENT, "convert and are **NOT EQUAL**"),
        (FAILED, "**failed** with an error that is no refusal"),
        (STOPPED, "were **stopped** before they were measured"),
    ):
        named = [m.form for m in models if _state(m, rows) == state]
        if named:
            lines.append(f"- {len(named)} {words}: {', '.join(named)}.")
    return "\n".join(lines) + "\n"


def _others(models: Sequence[Model], rows: Mapping[str, Row]) -> str:
    """What is no convolutional network: refused, kind by kind."""
    text = (
        "## Refused, and why\n\nWhat mixes all positions of its window has no map to slide over: "
        "there is no FCN that\ncomputes the same. One network of each family, with what fullconv "
        "says of it.\n"
    )
    for kind in dict.fromkeys([*NOT_CONVOLUTIONAL, *(model.other for model in models)]):
        own = [model for model in models if model.other == kind and model.form in rows]
        if own:
            lines = [(m.library, *_told(m, rows[m.form])) for m in own]
            heading = kind[0].upper() + kind[1:]
            text += f"\n### {heading}\n\n{_table(('library', 'family', 'model', 'why'), lines)}"
    return text


def _row(model: Model, row: Row) -> tuple[str, ...]:
    contexts = ", ".join(f"{count} {kind}" for kind, count in row["contexts"].items())
    finer = row["finer"]
    if isinstance(finer, float):
        finer = figure(finer)
    elif finer is not None:
        finer = f"refused: {finer}"
    return (
        model.family,
        model.name if row["state"] == EQUAL else f"**{model.name}**",
        times(row["window"]),
        times(row["stride"]),
        times(row["receptive_field"]),
        contexts or "–",
        figure(row["native"]),
        figure(row["head"]),
        finer or "–",
        seconds(row["seconds"]),
    )


def _told(model: Model, row: Row) -> tuple[str, ...]:
    """A model that has no figures, with the reason."""
    text = str(row.get("reason", ""))
    if len(text) > LONGEST:
        text = text[: LONGEST - 1].rsplit(" ", 1)[0] + " …"
    if row["state"] in (FAILED, STOPPED):
        text = f"**{row['state']}**: {text}"
    elif row["state"] != REFUSED:
        text = f"{row['state']} at the window: {figure(row['native'])}"
    return model.family, model.name, text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    # A bar would end the cell, and HTML in a message would vanish.
    shown = (cell.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(shown)} |"
