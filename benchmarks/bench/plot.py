"""The picture of the page: measured ratios as bars, ceilings as lines above them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.networks import NAMES
from bench.report import Row
from fullconv.errors import MissingExtraError

COLORS = ("#9ecae1", "#4292c6", "#084594")


def import_pyplot() -> Any:
    """Matplotlib without a window. Raises MissingExtraError."""
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise MissingExtraError("matplotlib", "bench", "The page's picture") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    return pyplot


def draw(rows: Sequence[Row], path: Path) -> None:
    """Ratio and ceiling of every network and stride (rows of sliding.py), a panel per image size.

    Raises MissingExtraError where there is no matplotlib.
    """
    pyplot = import_pyplot()
    sizes = sorted({row["size"] for row in rows})
    models = list(dict.fromkeys(row["model"] for row in rows))
    strides = sorted({row["stride"] for row in rows}, reverse=True)
    wide = 0.8 / len(strides)
    # One scale for all panels, with room for the highest bar, its noise and its ceiling.
    lowest = min(1.0, *(row["ratio"]["low"] for row in rows))
    highest = max(max(row["ratio"]["high"], row["ceiling"]) for row in rows)
    figure, panels = pyplot.subplots(
        1, len(sizes), figsize=(5 * len(sizes), 4), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, size in zip(panels[0], sizes, strict=True):
        for row in (row for row in rows if row["size"] == size):
            which = strides.index(row["stride"])
            x = models.index(row["model"]) + (which - (len(strides) - 1) / 2) * wide
            ratio = row["ratio"]
            noise = [[ratio["median"] - ratio["low"]], [ratio["high"] - ratio["median"]]]
            color = COLORS[which % len(COLORS)]
            panel.bar(x, ratio["median"], 0.9 * wide, color=color, yerr=noise, ecolor="#555555")
            panel.hlines(row["ceiling"], x - wide / 2, x + wide / 2, color="#d94801", linewidth=2)
        panel.set_xticks(range(len(models)), [NAMES.get(model, model) for model in models])
        panel.set_title(f"{size}×{size} px")
        panel.set_yscale("log")
        panel.set_ylim(lowest, 1.3 * highest)
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("")
        panel.grid(axis="y", alpha=0.3)
    panels[0][0].set_ylabel("times as fast as sliding")
    marks = [pyplot.Rectangle((0, 0), 1, 1, color=COLORS[i % 3]) for i in range(len(strides))]
    marks.append(pyplot.Line2D([], [], color="#d94801", linewidth=2))
    names = [*(f"stride {stride}" for stride in strides), "ceiling"]
    figure.legend(marks, names, loc="outside lower center", ncols=len(names), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)
