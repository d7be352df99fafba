"""The files of a study that people read: the page, its picture, and all figures."""

from __future__ import annotations

from pathlib import Path

from fullconv.storage.description import to_text
from fullconv.storage.files import atomic
from fullconv.study.plot import draw
from fullconv.study.report import markdown
from fullconv.study.value import Study

PAGE, FIGURES, PICTURES = "report.md", "report.json", ("errors.png", "errors.svg")


def write_report(study: Study, folder: Path, *, plot: bool = True) -> list[Path]:
    """Write the page, its figures as JSON, and the picture; the files that were written.

    Raises MissingExtraError where a picture is wanted and there is no matplotlib.
    """
    pictures = [folder / name for name in PICTURES if plot]
    if plot:
        draw(study, *pictures)
    texts = {
        folder / PAGE: markdown(study, PICTURES[0] if plot else None),
        folder / FIGURES: to_text(study.to_dict()),
    }
    for path, text in texts.items():
        with atomic(path) as part:
            part.write_text(text, "utf-8", "backslashreplace")
    return [*texts, *pictures]
