"""What a score map says about itself: where its cells lie, what they mean and what made them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any, Literal

from fullconv.errors import UsageError
from fullconv.geometry import Grid, times

Kept = Literal["all"] | tuple[int, ...] | tuple[Literal["top"], int]
"""The classes that are stored: all, the ones numbered, or at every cell the k best."""

VALUES = ("scores", "probabilities")
TOLD = ("source", "made_by")
"""What is told, and not compared: a source is known by its content, not by its name."""
SHOWN = 60  # characters of a value in a message, at most


@dataclass(frozen=True, kw_only=True)
class MapAbout:
    """The attributes of a score map. All but `source` and `made_by` must match to resume one.

    Attributes:
        window, stride: of the network, px per axis.
        size: of the source, px per axis.
        offset: px of the source where the window of the first cell starts, per axis; () for zeros.
        padded: px added after the end of each axis, by reflection, so that every px is covered; ()
            for none.
        frame: where the source's px lie in the world or at level 0, as `dataclasses.asdict` of the
            source's frame has it; fractions become text, "3/2".
        classes: names of all classes of the network, in order, or None.
        kept: which classes are stored: "all", their numbers, or ("top", k).
        values: "scores" or "probabilities" (0 to 1).
        model, plan: sha256 of the weights and of the plan, in hexadecimal.
        source: its name, for people.
        fingerprint: sha256 of the source's content, in hexadecimal.
        settings: anything else that scores depend on (a mask, a precision), JSON-serialisable.
        made_by: name and version of the program that began the map.

    Raises UsageError for values that fit no map; InputError if the source is below the window.
    """

    window: tuple[int, ...]
    stride: tuple[int, ...]
    size: tuple[int, ...]
    model: str
    plan: str
    source: str
    fingerprint: str
    offset: tuple[int, ...] = ()
    padded: tuple[int, ...] = ()
    frame: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    kept: Kept = "all"
    values: str = "scores"
    settings: Mapping[str, Any] = field(default_factory=dict)
    made_by: str = ""

    def __post_init__(self) -> None:
        zeros = (0,) * len(self.size)
        for name in ("offset", "padded"):
            object.__setattr__(self, name, tuple(getattr(self, name)) or zeros)
        for name in ("frame", "settings"):  # as they are when read again
            object.__setattr__(
                self, name, json.loads(json.dumps(getattr(self, name), default=_text))
            )
        if self.values not in VALUES:
            raise UsageError(f"values={self.values!r} must be one of {', '.join(VALUES)}.")
        if not len(zeros) == len(self.offset) == len(self.padded):
            raise UsageError(
                f"size {self.size}, offset {self.offset} and padded {self.padded} "
                "must name the same number of axes."
            )
        _check_kept(self.kept)
        _ = self.grid

    @property
    def grid(self) -> Grid:
        """Which window each cell stands for, in px counted from `offset`."""
        triples = zip(self.size, self.padded, self.offset, strict=True)
        size = tuple(size + more - start for size, more, start in triples)
        return Grid(size, self.window, self.stride)

    def to_dict(self) -> dict[str, Any]:
        """All attributes, as JSON has them."""
        kept = {"top": self.kept[1]} if self.kept[0] == "top" else self.kept
        value: dict[str, Any] = json.loads(json.dumps({**asdict(self), "kept": kept}))
        return value

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> MapAbout:
        """What `to_dict` gave. Raises KeyError, TypeError, ValueError or UsageError otherwise."""
        given = {entry.name: value[entry.name] for entry in fields(cls)}
        for name in ("window", "stride", "size", "offset", "padded"):
            if any(type(number) is not int for number in given[name]):
                raise TypeError(f"{name} is {given[name]}")
            given[name] = tuple(given[name])
        for name in ("model", "plan", "source", "fingerprint", "values", "made_by"):
            if not isinstance(given[name], str):
                raise TypeError(f"{name} is {given[name]}")
        for name in ("frame", "settings"):
            if not isinstance(given[name], Mapping):
                raise TypeError(f"{name} is {given[name]}")
        if given["classes"] is not None:
            given["classes"] = tuple(map(str, given["classes"]))
        kept = given["kept"]
        if isinstance(kept, Mapping):
            kept = ("top", kept["top"])
        given["kept"] = tuple(kept) if isinstance(kept, list) else kept
        return cls(**given)


def _text(value: Any) -> str:
    """A fraction as JSON holds it exactly."""
    if isinstance(value, Fraction):
        return str(value)
    raise TypeError(f"{value!r} cannot be an attribute of a map")


def _check_kept(kept: Any) -> None:
    """Refuse what names no classes."""
    if kept == "all":
        return
    if isinstance(kept, tuple) and len(kept) == 2 and kept[0] == "top":
        if type(kept[1]) is int and kept[1] >= 1:
            return
    elif isinstance(kept, tuple) and kept and all(type(k) is int and k >= 0 for k in kept):
        if len(set(kept)) == len(kept):
            return
        raise UsageError(f"kept={kept} names a class twice.")
    raise UsageError(
        f'kept={kept!r} must be "all", numbers of classes, or ("top", k) with k of at least 1.'
    )


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """A line for every entry that differs, with both values, but those in `TOLD`."""
    for name in dict.fromkeys((*there, *now)):
        old, new = there.get(name), now.get(name)
        if name in TOLD or old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for key in dict.fromkeys((*old, *new)):
                if old.get(key) != new.get(key):
                    yield f"{name} {key}: {_short(old.get(key))} there, {_short(new.get(key))} now"
        elif name == "classes":
            yield _renamed(old, new)
        elif name == "kept":
            yield f"kept: {_chosen(old)} there, {_chosen(new)} now"
        else:
            yield f"{name}: {_short(old)} there, {_short(new)} now"


def _renamed(old: list[str] | None, new: list[str] | None) -> str:
    """The first class that has another name, or how many have names."""
    if old is None or new is None or len(old) != len(new):
        there, now = ("none" if names is None else len(names) for names in (old, new))
        return f"names of classes: {there} there, {now} now"
    number = next(k for k, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1])
    return f"name of class {number}: {_short(old[number])} there, {_short(new[number])} now"


def _chosen(kept: Any) -> str:
    if isinstance(kept, Mapping):
        return f"top {kept['top']}"
    return _short(", ".join(map(str, kept))) if isinstance(kept, list) else str(kept)


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:8]}…"  # a checksum
    if isinstance(value, list) and all(type(entry) is int for entry in value):
        text = times(value)
    elif isinstance(value, list):
        text = ", ".join(map(str, value))
    else:
        text = "none" if value is None else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
