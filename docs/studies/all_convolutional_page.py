"""The generated part of `docs/all-convolutional-study.md`: tables, and what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fullconv.storage.files import atomic
from studies.pages import markdown, wrapped

MADE_BY = "make study-allconv"
PICTURE = "all-convolutional.png"

Facts = dict[str, Any]


def body(facts: Facts) -> str:
    """All that the study found, as Markdown."""
    families = facts["families"]
    parts = [wrapped(_about(facts)), f"![{ALT}](images/{PICTURE})", "## What the data say"]
    parts += [wrapped(paragraph) for paragraph in conclusion(facts)]
    for family, found in families.items():
        parts += [f"## Family {family}", wrapped(LAYERS[family]), _table(found)]
        sentences = [f"- {row['sentence']}" for row in found["rows"]]
        parts += ["\n".join(sentences), wrapped(found["conclusion"])]
    return "\n\n".join(parts)


ALT = "Test error of every seed, its mean and standard deviation, for each variant and family"

LAYERS = {
    "A": "One 5×5 convolution at each size of the map.",
    "B": "A 5×5 and a 1×1 convolution at each size of the map.",
    "C": "Two 3×3 convolutions at each size of the map.",
}


def _about(facts: Facts) -> str:
    recipe, families = facts["recipe"], facts["families"]
    first = next(iter(families.values()))
    images, base = first["images"], first["rows"][0]
    step = base["step"]
    width = facts["width"]
    return (
        f"Data: {facts['data']}: {images['train']:,} images to train on, {images['test']:,} to "
        "test on, once, after the last epoch. The figures are not those of the original CIFAR-10. "
        f"{width} channels before the first pool and {2 * width} behind it (the paper: 96 and 192),"
        f" a head of two FC layers with {facts['hidden']} features between, batch norm behind the "
        f"convolutions of the base. {recipe['epochs']} epochs (the paper: 350) of SGD with one "
        f"rate, {recipe['rate']:g}, for all variants, batches of {recipe['batch']}, "
        f"{recipe['dtype']}, no augmentation. Every seed draws all weights anew; layers that "
        "variants share start equal, and all see the same batches in the same order. Layers that "
        "take the place of pools start as the average, those before pools as the identity. "
        f"{len(base['errors'])} seeds; ± is the standard deviation over seeds, brackets are 95 % "
        "intervals of the paired difference by Student's t. Step times are medians of "
        f"{step['rounds']} rounds in turn, {step['batch']} images, {step['threads']} thread, "
        f"brackets the middle half of the rounds; PyTorch {facts['versions']['torch']}."
    )


def _table(found: Facts) -> str:
    header = (
        "variant", "parameters", "of them head", "error %", "each seed", "difference, points", "p",
        "forward ms", "backward ms", "step ÷ fc",
    )  # fmt: skip
    return markdown(header, [_row(row) for row in found["rows"]])


def _row(row: Facts) -> list[str]:
    difference, step = row["difference"], row["step"]
    against = p = ""
    if difference is not None:
        against = f"{difference['value']:+.2f}"
        if difference["low"] is not None:
            against += f" [{difference['low']:+.2f}, {difference['high']:+.2f}]"
            p = f"{difference['p']:.3f}" if difference["p"] >= 0.001 else f"{difference['p']:.0e}"
    return [
        row["variant"],
        f"{row['parameters']:,}",
        f"{row['head']:,}",
        f"{row['error']:.2f} ± {row['deviation']:.2f}",
        ", ".join(f"{error:.2f}" for error in row["errors"].values()),
        against,
        p,
        f"{step['forward']:.1f}",
        f"{step['backward']:.1f}",
        f"{step['ratio']:.2f} [{step['low']:.2f}, {step['high']:.2f}]",
    ]


def conclusion(facts: Facts) -> list[str]:
    """What holds over the families, a paragraph each; no more than the intervals allow."""
    families = facts["families"]
    bases = {family: _of(found, "fc") for family, found in families.items()}
    deviations = [base["deviation"] for base in bases.values()]
    saved = [
        1 - _of(found, "gap")["parameters"] / bases[family]["parameters"]
        for family, found in families.items()
    ]
    said = [
        f"**The FC head against 1×1 convolution and average (gap).** {_over(families, 'gap')} It "
        f"has {_range([100 * share for share in saved], '.0f')} % fewer parameters. The standard "
        f"deviation of the base over seeds is {_range(deviations, '.2f')} points; against the "
        f"mean of the base, that of gap is {_within(families, 'gap')}.",
    ]
    for variant, title in (
        ("strided", "**Max pools dropped, their stride in the convolution before (strided).**"),
        ("convpool", "**A convolution before each pool (convpool).**"),
        ("allconv", "**Convolutions in the place of pools (allconv).**"),
    ):
        ratios = [_of(found, variant)["step"]["ratio"] for found in families.values()]
        beside = [
            _of(found, variant)["step"]["ratio"] / _of(found, "gap")["step"]["ratio"]
            for found in families.values()
        ]
        added = [
            _of(found, variant)["parameters"] - _of(found, "gap")["parameters"]
            for found in families.values()
        ]
        more = f", {_range(added, ',.0f')} parameters more than gap" if any(added) else ""
        said.append(
            f"{title} {_over(families, variant)} Against the mean of fc its own is "
            f"{_within(families, variant)}. A step "
            f"takes {_range(ratios, '.2f')} times that of fc, {_range(beside, '.2f')} times that "
            f"of gap{more}."
        )
    said.append(
        "**What this does not say.** The networks are a sixth as wide as the paper's and were "
        f"trained for {facts['recipe']['epochs']} epochs instead of 350: none is near its best, "
        "and how variants rank at the end of a long training may be another matter. The intervals "
        "are over seeds, on one test set, with one recipe for all, which was not tuned for any."
    )
    return said


def _over(families: Facts, variant: str) -> str:
    """In which families a variant errs more or less than the base, by its intervals."""
    more, less, neither = [], [], []
    for family, found in families.items():
        difference = _of(found, variant)["difference"]
        points = f"{family} ({difference['value']:+.2f})"
        if difference["low"] is not None and difference["low"] > 0:
            more.append(points)
        elif difference["high"] is not None and difference["high"] < 0:
            less.append(points)
        else:
            neither.append(points)
    parts = []
    if more:
        parts.append(f"errs more than fc in {_listed(more)}")
    if less:
        parts.append(f"errs less than fc in {_listed(less)}")
    if neither:
        parts.append(f"shows no difference beyond chance in {_listed(neither)}")
    text = "; ".join(parts)
    return f"It {text}, in points."


def _within(families: Facts, variant: str) -> str:
    """How the drop compares with the standard deviation of the base."""
    inside, beyond, none = [], [], []
    for family, found in families.items():
        base, row = _of(found, "fc"), _of(found, variant)
        drop = row["error"] - base["error"]
        (none if drop <= 0 else inside if drop <= base["deviation"] else beyond).append(family)
    parts = []
    if none:
        parts.append(f"not above it in {_listed(none)}")
    if inside:
        parts.append(f"above it, by less than one standard deviation, in {_listed(inside)}")
    if beyond:
        parts.append(f"above it, by more than one standard deviation, in {_listed(beyond)}")
    return "; ".join(parts)


def _of(found: Facts, variant: str) -> Facts:
    return next(row for row in found["rows"] if row["variant"] == variant)


def _range(values: list[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def draw(path: Path, facts: Facts) -> None:
    """The plot: every seed a point, mean and standard deviation beside them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    families = facts["families"]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(families), sharey=True)
    for axis, (family, found) in zip(axes, families.items(), strict=True):
        rows = found["rows"]
        base = rows[0]
        low, high = base["error"] - base["deviation"], base["error"] + base["deviation"]
        axis.axhspan(low, high, color="#0072B2", alpha=0.12, lw=0)
        for place, row in enumerate(rows):
            errors = list(row["errors"].values())
            color = "#0072B2" if place == 0 else "#333333"
            axis.plot([place - 0.12] * len(errors), errors, "o", ms=3.5, color=color, alpha=0.5)
            axis.errorbar(place + 0.12, row["error"], row["deviation"], fmt="s", ms=5, color=color,
                          capsize=3)  # fmt: skip
        axis.set_title(f"family {family}", loc="left")
        axis.set_xticks(range(len(rows)), [row["variant"] for row in rows], rotation=35, ha="right")
        axis.grid(axis="y", color="#dddddd", lw=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel("top-1 error on the test images, %")
    with atomic(path) as part:
        figure.savefig(part, dpi=120, format="png", metadata={"Software": None})
