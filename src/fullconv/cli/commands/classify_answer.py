"""What `fullconv classify` answers: image by image, as a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from fullconv.cli.answers import as_text
from fullconv.errors import FullconvError, InputError, listed
from fullconv.evaluate.dense.classification import Classification
from fullconv.tables import table

COLUMNS = ("image", "rank", "class", "name", "probability")


class Answers:
    """What is known of the images so far.

    Attributes:
        total: how many images there are.
        form: "table", "csv" and "jsonl" come image by image, "json" at the end.
        images: the answers, as dicts.
        failed: what is wrong with the others.
    """

    def __init__(self, model: str, form: str, top: int, total: int) -> None:
        """`model` as it was named; `top` classes are named for each image."""
        self.form, self.total = form, total
        self.images: list[dict[str, Any]] = []
        self.failed: list[FullconvError] = []
        self._model, self._top = model, top
        self._lines = [",".join(COLUMNS)] if form == "csv" else []

    @property
    def done(self) -> int:
        """How many images are known, those that failed too."""
        return len(self.images) + len(self.failed)

    def add(self, answer: Classification | FullconvError) -> None:
        """Take the next one."""
        if isinstance(answer, FullconvError):
            self.failed.append(answer)
            return
        self.images.append(answer.to_dict(self._top))
        if self.form in WRITERS:
            self._lines.append(WRITERS[self.form](answer, self._top))

    def taken(self) -> list[str]:
        """The lines that were not taken yet."""
        lines, self._lines = self._lines, []
        return lines

    def text(self) -> str:
        """All of it; of the lines, those that were not taken."""
        if self.form != "json":
            return "".join(f"{line}\n" for line in self._lines)
        failed = [{"image": error.where, "error": str(error)} for error in self.failed]
        return as_text({"model": self._model, "images": self.images, "failed": failed}) + "\n"

    def raise_failed(self) -> None:
        """Raise what went wrong with images, all of it at once."""
        if not self.failed:
            return
        if self.total == 1:
            raise self.failed[0]
        lines = [f"{error.where or 'an image'}: {error.what}" for error in self.failed]
        raise InputError(
            f"{len(lines):,} of {self.total:,} images could not be scored:{listed(lines)}"
        )


def _as_table(answer: Classification, top: int) -> str:
    rows = [[f"{guess.probability:8.4f}", guess.name] for guess in answer.top(top)]
    return f"{answer.image}\n{table((), rows)}".rstrip("\n")


def _as_csv(answer: Classification, top: int) -> str:
    lines = io.StringIO()
    sheet = csv.writer(lines, lineterminator="\n")
    for rank, guess in enumerate(answer.top(top), 1):
        sheet.writerow((answer.image, rank, guess.index, guess.name, f"{guess.probability:.6g}"))
    return lines.getvalue().rstrip("\n")


def _as_json_line(answer: Classification, top: int) -> str:
    return json.dumps(answer.to_dict(top), allow_nan=False)


WRITERS: dict[str, Callable[[Classification, int], str]] = {
    "table": _as_table,
    "csv": _as_csv,
    "jsonl": _as_json_line,
}
