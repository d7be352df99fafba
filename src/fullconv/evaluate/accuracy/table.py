"""What an evaluation on labelled images found, as the tables of the VGG paper print it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fullconv.errors import InputError, UsageError, listed
from fullconv.evaluate.accuracy.bootstrap import RESAMPLES, Estimate, mean_interval
from fullconv.tables import table

EVERY = "all"
"""In place of a scale: the average of the probabilities at all of them."""

ABSENT = -1
"""In place of a rank: the image was not evaluated so."""

PLACES = (1, 5)


@dataclass(frozen=True, slots=True)
class Problem:
    """An image that could not be evaluated.

    Attributes:
        index: its place in the data set.
        name: its file, or its place in an array.
        reason: what is wrong with it.
    """

    index: int
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One way to evaluate, on all images.

    Attributes:
        evaluation: "centre", "dense", "multi-crop" or "both".
        scale: "256", "0.5x", or "all".
        ranks: how many classes were rated above the right one, `(N,)`: 0 where it was the first;
            -1 for an image that was not evaluated so.
    """

    evaluation: str
    scale: str
    ranks: npt.NDArray[np.int64]

    @property
    def images(self) -> int:
        """How many images were evaluated so."""
        return int((self.ranks != ABSENT).sum())

    def wrong(self, places: int) -> npt.NDArray[np.bool_]:
        """Where the right class is not among the first `places`, `(N,)`; see `ranks` for absent."""
        wrong: npt.NDArray[np.bool_] = self.ranks >= places
        return wrong

    def error(self, places: int = 1) -> Estimate:
        """Top-1 or top-`places` error in % with its 95 % bootstrap interval over images."""
        return mean_interval(self.wrong(places)[self.ranks != ABSENT], scale=100)

    def difference(self, other: Row, places: int = 1) -> Estimate:
        """This error minus the other, in percentage points, on the images that both have.

        Paired: the same images are drawn for both, which is far sharper than two intervals.
        Raises UsageError where there is no such image.
        """
        common = (self.ranks != ABSENT) & (other.ranks != ABSENT)
        if not common.any():
            raise UsageError("the two have no image in common.")
        own, its = (row.wrong(places)[common].astype(np.int64) for row in (self, other))
        return mean_interval(own - its, scale=100)


@dataclass(frozen=True, eq=False)
class Accuracies:
    """The errors of a network on labelled images; prints as a table.

    Attributes:
        rows: by scale and evaluation, with what was found for every image.
        labels: the right classes, `(N,)`.
        classes: how many there are.
        problems: images that could not be evaluated.
        flip: whether mirror images were averaged in.
        average: what dense evaluation averaged.
        remarks: what was taken for granted, and what was left out.
    """

    rows: tuple[Row, ...]
    labels: npt.NDArray[np.int64]
    classes: int
    problems: tuple[Problem, ...]
    flip: bool
    average: str
    remarks: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return len(self.labels) - len(self.problems)

    @property
    def places(self) -> tuple[int, ...]:
        """Top-1, and top-5 where there are more than five classes."""
        return tuple(places for places in PLACES if places == 1 or self.classes > places)

    def row(self, evaluation: str, scale: str | int = EVERY) -> Row:
        """One row. Raises UsageError if there is none."""
        for row in self.rows:
            if (row.evaluation, row.scale) == (evaluation, str(scale)):
                return row
        raise UsageError(
            f"there is no row of {evaluation!r} at {scale!r}.",
            hint=f"There are {', '.join(f'{r.evaluation} at {r.scale}' for r in self.rows)}.",
        )

    def baseline(self, row: Row) -> Row | None:
        """The centre crop at the same scale; None for itself, or if it was left out."""
        for other in self.rows:
            if other.evaluation == "centre" and other.scale == row.scale and other is not row:
                return other
        return None

    @cached_property
    def estimates(self) -> tuple[dict[str, Any], ...]:
        """A dict for every row: its evaluation, scale, images, errors, and differences to centre.

        `top1_error`, `top5_error`: in %; `top1_difference`, `top5_difference`: percentage points.
        """
        return tuple(self._estimated(row) for row in self.rows)

    def _estimated(self, row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {
            "evaluation": row.evaluation, "scale": row.scale, "images": row.images
        }  # fmt: skip
        baseline = self.baseline(row)
        for places in self.places:
            found[f"top{places}_error"] = row.error(places)
            found[f"top{places}_difference"] = (
                None if baseline is None else row.difference(baseline, places)
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """All numbers, JSON-serialisable."""
        return {
            "images": self.images,
            "classes": self.classes,
            "flip": self.flip,
            "average": self.average,
            "resamples": RESAMPLES,
            "rows": [
                {
                    key: value.to_dict() if isinstance(value, Estimate) else value
                    for key, value in row.items()
                }
                for row in self.estimates
            ],
            "problems": [{"image": p.name, "reason": p.reason} for p in self.problems],
            "remarks": list(self.remarks),
        }

    def lines(self) -> Iterator[list[str]]:
        """The header and the rows of a CSV file."""
        names = [
            f"top{places}_{what}" for places in self.places for what in ("error", "difference")
        ]
        yield ["evaluation", "scale", "images"] + [
            f"{name}{end}" for name in names for end in ("", "_low", "_high")
        ]
        for row in self.estimates:
            numbers: list[str] = []
            for name in names:
                estimate: Estimate | None = row[name]
                if estimate is None:
                    numbers += ["", "", ""]
                else:
                    numbers += [
                        f"{number:.4f}" for number in (estimate.value, estimate.low, estimate.high)
                    ]
            yield [row["evaluation"], row["scale"], str(row["images"]), *numbers]

    def __str__(self) -> str:
        uneven = len({row.images for row in self.rows}) > 1
        header = ["scale", "evaluation", *(["images"] if uneven else [])]
        for places in self.places:
            header += [f"top-{places} error %", "vs centre"]
        rows = []
        for row in self.estimates:
            cells = [row["scale"], row["evaluation"], *([f"{row['images']:,}"] if uneven else [])]
            for places in self.places:
                difference = row[f"top{places}_difference"]
                cells += [
                    str(row[f"top{places}_error"]),
                    "" if difference is None else signed(difference),
                ]
            rows.append(cells)
        flips = "; with flips, except for the centre crop" if self.flip else ""
        notes = [
            f"{self.images:,} images, {self.classes} classes; dense averages {self.average}{flips}",
            "in brackets: 95 % bootstrap intervals over images; vs centre: paired, in points, "
            "at the same scale",
            *self.remarks,
        ]
        return table(header, rows) + "\n" + "\n".join(notes) + "\n"


class NothingEvaluated(InputError):  # noqa: N818
    """None of the images could be evaluated; `found` has their problems, and no rows."""

    def __init__(self, found: Accuracies) -> None:
        self.found = found
        super().__init__(
            f"none of the {len(found.labels):,} images can be evaluated:{listed(found.problems)}"
        )


def evaluated(found: Accuracies) -> Accuracies:
    """The same. Raises NothingEvaluated if there is no image in it."""
    if not found.images:
        raise NothingEvaluated(found)
    return found


def signed(estimate: Estimate) -> str:
    """A difference, with its sign."""
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"
