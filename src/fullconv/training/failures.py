"""What can go wrong while a network trains or answers, told as errors that say what to do."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import fullconv
from fullconv.errors import FullconvError, InputError

FOREIGN = tuple(str(Path(str(module.__file__)).parent) + os.sep for module in (torch, fullconv))
"""Where code lies that is not the user's."""


class Diverged(FullconvError):  # noqa: N818
    """The loss of a training, or the scores of what it led to, are no longer numbers."""


@contextmanager
def failures_told(images: int, doing: str = "a step of") -> Iterator[None]:
    """Say what to do where `images` images do not fit, or batch norm has too little to learn from.

    Any other error that is not fullconv's own comes from the network: it is told as FullconvError,
    by its type and the line that raised it.
    """
    try:
        yield
    except FullconvError:
        raise
    except Exception as error:
        short = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if short or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):
            raise FullconvError(
                f"the memory does not suffice for {doing} {images} images.",
                hint="Give it fewer (--batch, batch=).",
            ) from error
        if isinstance(error, ValueError) and "more than 1 value per channel" in str(error):
            raise InputError(
                f"{doing} {images} images is too small for batch norm: {error}.",
                hint="Give it more (--batch, batch=).",
            ) from error
        raise unexpected(error, f"{doing} {images} images") from error


def unexpected(error: Exception, doing: str) -> FullconvError:
    """An error that nobody foresaw: what it is, and the line of the user's code that it is from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(FOREIGN)]
    at = next(reversed(own or frames), None)
    said = traceback.format_exception_only(error)[-1].strip()
    where = "" if at is None else f"{at.filename}:{at.lineno}"
    return FullconvError(f"{doing} failed with {said}", where=where)
