"""From the name of a class, as a person writes it, to its number."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from fullconv.errors import UsageError, near


def class_name(index: int, classes: tuple[str, ...] | None) -> str:
    """The name of a class, or its number where names are not known."""
    return classes[index] if classes else f"class {index}"


def find_class(target: SupportsIndex | str, classes: tuple[str, ...] | None, count: int) -> int:
    """The number of a class given by name, by one of several names, or by number.

    Names compare without regard to case; where a class has several (`"tabby, tabby cat"`), any of
    them will do. A name that is a number (`"7"`) goes before the number. Raises UsageError for a
    class that is not there, naming near ones.
    """
    if not isinstance(target, str):
        return _numbered(operator.index(target), count)
    if classes is not None and len(classes) != count:
        raise UsageError(f"there are {len(classes)} class names for {count} scores.")
    wanted = target.strip().lower()
    named = list(enumerate(classes or ()))
    whole = [i for i, name in named if name.strip().lower() == wanted]
    found = whole or [i for i, name in named if wanted in _names(name)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{i} ({name})" for i, name in named if i in found)
        raise UsageError(f"class {target!r} is ambiguous: {listed}.", hint="Give its number.")
    try:
        return _numbered(int(wanted), count)
    except ValueError:
        pass
    if classes is None:
        raise UsageError(
            f"class {target!r}: the names of the classes are not known.",
            hint=f"Give a number from 0 to {count - 1}, or the names (fcn.about.classes, "
            "--classes FILE).",
        )
    every = list(dict.fromkeys(part for name in classes for part in (name, *_names(name))))
    raise UsageError(
        f"the network has no class {target!r}.",
        hint=near(target, every)
        or f"It has {', '.join(map(repr, classes[:8]))}{', …' * (count > 8)}.",
    )


def _numbered(number: int, count: int) -> int:
    if 0 <= number < count:
        return number
    raise UsageError(f"class {number}: the network has classes 0 to {count - 1}.")


def _names(name: str) -> list[str]:
    return [part.strip().lower() for part in name.split(",")]
