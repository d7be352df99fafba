"""The picture of a study: the error of every run, with mean and deviation of every variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fullconv.errors import MissingExtraError
from fullconv.storage.files import atomic
from fullconv.study.value import Study

INK, PAIR, POINT, BASE = "#222222", "#bbbbbb", "#4292c6", "#d94801"


def import_pyplot() -> Any:
    """Matplotlib without a window. Raises MissingExtraError where there is none."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise MissingExtraError("matplotlib", "plot", "The picture of a study") from None
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fullconv"  # the same file for the same figures
    import matplotlib.pyplot as pyplot

    return pyplot


def draw(study: Study, *paths: Path) -> None:
    """Write the picture, as PNG or SVG by the names of the files.

    A point for every run, those of a seed joined; beside them mean and standard deviation. The
    dashed line is the mean of the base. Raises MissingExtraError where there is no matplotlib.
    """
    pyplot = import_pyplot()
    rows = [row for row in study.rows if row.errors]
    figure, axes = pyplot.subplots(
        figsize=(max(5.5, 1.6 + 1.1 * len(rows)), 4), layout="constrained"
    )
    for seed in dict.fromkeys(run.seed for row in rows for run in row.runs):
        places = [(x, row.errors[seed]) for x, row in enumerate(rows) if seed in row.errors]
        if places:
            axes.plot(*zip(*places, strict=True), color=PAIR, linewidth=0.7, zorder=1)
    for x, row in enumerate(rows):
        errors = list(row.errors.values())
        axes.scatter([x] * len(errors), errors, s=22, color=POINT, alpha=0.85, zorder=2)
        axes.errorbar(
            x + 0.22, row.mean, row.deviation, fmt="D", markersize=5, color=INK, capsize=4, zorder=3
        )
    if study.base.mean is not None:
        axes.axhline(study.base.mean, color=BASE, linestyle="--", linewidth=1, zorder=0)
    axes.set_xticks(range(len(rows)), [row.variant for row in rows])
    axes.set_xlim(-0.5, max(len(rows), 1) - 0.3)
    axes.set_ylabel("top-1 error %, test images")
    axes.grid(axis="y", alpha=0.3)
    marks = [
        pyplot.Line2D([], [], marker="o", color=PAIR, markerfacecolor=POINT, markeredgecolor=POINT,
                      linewidth=0.7),
        pyplot.Line2D([], [], marker="D", color=INK),
        pyplot.Line2D([], [], color=BASE, linestyle="--"),
    ]  # fmt: skip
    names = ["a seed", "mean ± deviation", f"mean of {study.base.variant}"]
    figure.legend(marks, names, loc="outside lower center", ncols=3, frameon=False)
    for path in paths:
        kind = path.suffix.removeprefix(".")
        unsaid = {"png": "Software", "svg": "Date"}[kind]
        with atomic(path) as part:
            figure.savefig(part, dpi=120, format=kind, metadata={unsaid: None})
    pyplot.close(figure)
