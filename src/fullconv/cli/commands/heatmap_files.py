"""The files that `fullconv heatmap` writes: a picture, perhaps the map and its geometry."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fullconv.cli.commands.heatmap_answer import Shown
from fullconv.cli.options import distinct
from fullconv.errors import FullconvError, UsageError
from fullconv.evaluate.maps.geometry import MAP_FORMAT
from fullconv.storage.description import write_description
from fullconv.storage.files import atomic
from fullconv.storage.outputs import check_replaceable, check_writable


@dataclass(frozen=True, slots=True)
class HeatmapFiles:
    """Where to write; without `scores` only the picture is."""

    picture: Path
    scores: Path | None

    @classmethod
    def named(cls, image: str, output: str | None, scores: str | None) -> HeatmapFiles:
        """From the words of the command. Raises UsageError for an ending that is not known."""
        picture = Path(output or f"{Path(image).stem}-heatmap.png")
        if picture.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            raise UsageError(f"-o {output} must be a name that ends in .png or .jpg.")
        if scores is not None and Path(scores).suffix != ".npy":
            raise UsageError(f"--map {scores} must be a name that ends in .npy.")
        return cls(picture, None if scores is None else Path(scores))

    @property
    def geometry(self) -> Path | None:
        """The description beside the raw map."""
        return None if self.scores is None else self.scores.with_suffix(".json")

    def check(self, inputs: dict[str, Path | None]) -> None:
        """Raise what writing would raise, before the work is done.

        Nothing is overwritten that is read, or whose name nobody typed and that is something else.
        """
        outputs = {"-o": self.picture, "--map": self.scores, "beside --map": self.geometry}
        distinct(outputs, inputs)
        check_writable(*(path for path in outputs.values() if path is not None))
        if self.geometry is not None and self.scores is not None:
            check_replaceable(self.geometry, MAP_FORMAT, self.scores.name)

    def write(self, shown: Shown) -> list[str]:
        """Write all files or none; their names."""
        picture = shown.picture()
        written = [str(self.picture)]
        with ExitStack() as stack:
            part = stack.enter_context(atomic(self.picture))
            try:
                picture.save(part, quality=92)
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # the disk, not the format
                raise FullconvError(
                    f"a picture of {picture.height}×{picture.width} px cannot be written so: "
                    f"{error}.",
                    where=str(self.picture),
                    hint="Name a .png file.",
                ) from error
            if self.scores is not None and self.geometry is not None:
                np.save(stack.enter_context(atomic(self.scores)), shown.values)
                write_description(stack.enter_context(atomic(self.geometry)), shown.geometry())
                written += [str(self.scores), str(self.geometry)]
        return written
