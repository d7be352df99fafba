"""The images that `fullconv audit` tries a network on, read one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fullconv.cli.answers import say
from fullconv.errors import FullconvError, InputError, UsageError, listed

if TYPE_CHECKING:
    from torch import Tensor

    from fullconv.auditing.subject import Subject
    from fullconv.hosts.torch_fx.fcn import About


@dataclass(frozen=True)
class AuditImages:
    """The images that were read.

    Attributes:
        prepared: `(1, C, *space)`, by names that tell them apart.
        failed: what is wrong with the others.
        tried: how many there were of both.
        remarks: what the report says of those that were left out.
    """

    prepared: dict[str, Tensor]
    failed: tuple[FullconvError, ...]
    tried: int
    remarks: tuple[str, ...]

    @property
    def failure(self) -> FullconvError:
        """What went wrong with images, all of it at once."""
        if self.tried == 1:
            return self.failed[0]
        lines = [f"{error.where or 'an image'}: {error.what}" for error in self.failed]
        return InputError(
            f"{len(lines):,} of {self.tried:,} images could not be used:{listed(lines)}"
        )


def read_images(
    files: Sequence[Path], subject: Subject, about: About, max_pixels: int
) -> AuditImages:
    """Read as many of the files as an audit looks at; what is left out is said.

    Raises UsageError where the network takes no image files at all.
    """
    from fullconv.auditing.images import left_aside, prepare, spread

    aside = left_aside(len(files))
    for line in aside:
        say(line)
    chosen = spread(list(zip(_names(files), files, strict=True)))
    prepared: dict[str, Tensor] = {}
    failed: list[FullconvError] = []
    for name, file in chosen:
        try:
            prepared[name] = prepare(
                file, str(file), channels=subject.channels, window=subject.window, about=about,
                max_pixels=max_pixels,
            )  # fmt: skip
        except UsageError:
            raise
        except FullconvError as error:
            say(f"left out: {error}")
            failed.append(error)
    return AuditImages(
        prepared, tuple(failed), len(chosen), (*aside, *_left_out(failed, len(chosen)))
    )


def _names(files: Sequence[Path]) -> list[str]:
    """Short names of files by which they can be told apart."""
    short = [file.name for file in files]
    return short if len(set(short)) == len(short) else [str(file) for file in files]


def _left_out(failed: Sequence[FullconvError], count: int) -> list[str]:
    """What the report says of images that could not be used."""
    if not failed:
        return []
    lines = "; ".join(f"{error.where or 'an image'}: {error.what.rstrip('.')}" for error in failed)
    return [f"{len(failed):,} of {count:,} images could not be used. {lines}."]
