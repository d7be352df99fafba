"""The generated part of `docs/all-convolutional-study.md`: tables, and what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fullconv.storage.files import atomic
from studies.all_convolutional_words import conclusion
from studies.pages import markdown, wrapped

MADE_BY = "make study-allconv"
PICTURE = "all-convolutional.png"

Facts = dict[str, Any]


def body(facts: Facts) -> str:
    """All that the study found, as Markdown."""
    families = facts["families"]
    parts = [wrapped(_about(facts)), f"![{ALT}](images/{PICTURE})", "## What the data say"]
    parts += [wrapped(paragraph) for paragraph in conclusion(facts).values()]
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
        f"brackets the middle half of the rounds; {facts['processor']}, "
        f"PyTorch {facts['versions']['torch']}."
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
