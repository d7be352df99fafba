"""The errors a person can cause, each with the exit code the command line answers with.

    FullconvError                1   something failed
    ├── NotFetchedError          1   pretrained weights could not be fetched
    ├── UsageError               2   the call itself is wrong: an option, a name, a value
    │   └── MissingExtraError    2   an optional dependency is not installed
    ├── InputError               3   the data is bad: an image, a weights file
    │   ├── WeightsError         3   weights with which no image can be scored
    │   └── NothingEvaluated     3   none of the images of a data set can be scored
    ├── RefusedError             4   the model cannot be converted, or is unsafe to load
    └── IncompleteError          5   a part is done and kept; the same call goes on

A message has up to four parts: *where* (node and module path), *what* was found, *why* it cannot
be, and *what to do*:

    classifier.1 (Linear): expects 25088 features, but its input is a 512×6×6 map (18432).
    The window given was 192×192; pass window=224, the size the model was built for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

LISTED = 20  # lines of a list in a message, at most


class FullconvError(Exception):
    """Base of every error fullconv raises on purpose.

    `what` says what was found; `where` names the node, file or option; `why` and `hint` (what to
    do) follow on a line of their own.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", hint: str = "") -> None:
        self.what, self.where, self.why, self.hint = what, where, why, hint
        first = f"{where}: {what}" if where else what
        rest = " ".join(part for part in (why, hint) if part)
        super().__init__(f"{first}\n{rest}" if rest else first)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process it is put together from its parts, not made again from its text.

        Kinds of errors are made of other words than these.
        """
        return _put_together, (type(self), self.args, self.__dict__)


def _put_together(
    kind: type[FullconvError], text: tuple[Any, ...], parts: dict[str, Any]
) -> FullconvError:
    """An error as it was in another process."""
    error = kind.__new__(kind, *text)  # which sets `args`
    error.__dict__.update(parts)
    return error


class UsageError(FullconvError):
    """The call is wrong: an unknown name, an option that does not fit."""

    exit_code = 2


class MissingExtraError(UsageError):
    """An optional dependency is needed and not there; the message names the install line."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed.",
            hint=f"Install it with: pip install 'fullconv[{extra}]'",
        )


class InputError(FullconvError):
    """The data is bad: an image that cannot be read, is too small, or is cut short."""

    exit_code = 3


class RefusedError(FullconvError):
    """The model cannot be converted exactly, or cannot be loaded safely."""

    exit_code = 4

    @classmethod
    def merge(cls, refusals: Sequence[RefusedError], what: str = "converted") -> RefusedError:
        """One error that names every refusal, so that a person sees all of them at once."""
        if len(refusals) == 1:
            return refusals[0]
        lines = "\n".join(f"- {refusal}" for refusal in refusals)
        return cls(f"{len(refusals)} places cannot be {what}:\n{lines}")


class IncompleteError(FullconvError):
    """Something is left to do; what is done is kept, and the same call goes on with it."""

    exit_code = 5


def listed(entries: Sequence[object], most: int = LISTED) -> str:
    """A line for each of the first entries, to follow a message, and how many more there are."""
    more = len(entries) - most
    lines = [f"- {entry}" for entry in entries[:most]] + ([f"- and {more:,} more"] * (more > 0))
    return "".join(f"\n{line}" for line in lines)


def near(name: str, known: Sequence[str], limit: int = 3) -> str:
    """`" Did you mean a, b or c?"` for a mistyped name, or an empty string."""
    import difflib

    lowered = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), list(lowered), n=limit, cutoff=0.5)
    if not found:
        found = [low for low in lowered if name.lower() in low][:limit]
    words = [lowered[low] for low in found]
    if not words:
        return ""
    listed = words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
    return f"Did you mean {listed}?"
