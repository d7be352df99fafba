"""What the study of all-convolutional variants supports over its families, and what it does not.

Heads are compared with the base, pools with "gap": each comparison changes one thing. All of them
are tests on one study, so their p values are corrected together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fullconv.study.paired import Difference, difference, holm

Facts = dict[str, Any]

COMPARISONS = (("gap", "fc"), ("strided", "gap"), ("convpool", "gap"), ("allconv", "gap"))
"""A variant, and what differs from it in one thing only."""
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """A variant against another one in one family; `p` is corrected for all that are made."""

    family: str
    found: Difference
    p: float

    def __str__(self) -> str:
        low, high = self.found.low, self.found.high
        return f"{self.family} ({self.found.value:+.2f} [{low:+.2f}, {high:+.2f}])"

    @property
    def word(self) -> str:
        """What can be told."""
        if self.p >= LEVEL:
            return "cannot be told from it"
        return "errs more" if self.found.value > 0 else "errs less"


def comparisons(families: Facts) -> dict[str, list[Comparison]]:
    """By variant, one for every family; intervals are not corrected, p values are."""
    raw = {
        (variant, family): difference(_errors(found, variant), _errors(found, other))
        for variant, other in COMPARISONS
        for family, found in families.items()
    }
    values = [1.0 if one.p is None else one.p for one in raw.values()]
    corrected = dict(zip(raw, holm(values), strict=True))
    return {
        variant: [
            Comparison(family, raw[variant, family], corrected[variant, family])
            for family in families
        ]
        for variant, _ in COMPARISONS
    }


def conclusion(facts: Facts) -> dict[str, str]:
    """A paragraph for each comparison, and what the study does not say."""
    families = facts["families"]
    found = comparisons(families)
    return {
        "control": _control(families),
        "gap": "**1×1 convolution and average for the FC head (gap).** "
        f"{_told(found, 'gap', 'fc')} {_saved(families)} {_within(families)}",
        "strided": "**Max pools dropped, their stride in the convolution before (strided).** "
        f"{_told(found, 'strided', 'gap')} {_steps(families, 'strided')}",
        "convpool": "**A convolution before each pool (convpool).** "
        f"{_told(found, 'convpool', 'gap')} {_steps(families, 'convpool')}",
        "allconv": "**Convolutions in the place of pools (allconv).** "
        f"{_told(found, 'allconv', 'gap')} {_steps(families, 'allconv')}",
        "limits": _limits(facts, found),
    }


def _control(families: Facts) -> str:
    """How far two trainings of the same function lie apart."""
    apart = []
    for family, found in families.items():
        one = difference(_errors(found, "exact"), _errors(found, "fc"))
        apart.append(str(Comparison(family, one, math.nan)))
    return (
        "**The measure of chance.** fc and exact are the same function, started with the same "
        "numbers and shown the same batches: what differs after training is rounding, grown. exact "
        f"less fc, in points: {', '.join(apart)}. Both together have a standard deviation over "
        f"seeds of {_spread(families):.2f} points, pooled over families."
    )


def _told(found: dict[str, list[Comparison]], variant: str, other: str) -> str:
    """In which families a variant errs more or less than another."""
    groups: dict[str, list[str]] = {}
    for one in found[variant]:
        groups.setdefault(one.word, []).append(str(one))
    order = ("errs more", "errs less", "cannot be told from it")
    told = [f"{word} in {listed(groups[word])}" for word in order if word in groups]
    return f"Against {other}, in points: it {'; '.join(told)}."


def _saved(families: Facts) -> str:
    saved = [
        100 * (1 - row(found, "gap")["parameters"] / row(found, "fc")["parameters"])
        for found in families.values()
    ]
    return f"It has {span(saved, '.0f')} % fewer parameters."


def _within(families: Facts) -> str:
    """Whether the drop is within one standard deviation, family by family and pooled."""
    one = _spread(families)
    drops = {
        family: row(found, "gap")["error"] - row(found, "fc")["error"]
        for family, found in families.items()
    }
    beyond = [family for family, drop in drops.items() if drop > one]
    if not beyond:
        return f"Its drop is within one standard deviation ({one:.2f} points) in every family."
    rest = [family for family in drops if family not in beyond]
    within = f"; in {listed(rest)} there is none, or it is within it" if rest else ""
    return f"Its drop is beyond one standard deviation ({one:.2f}) in {listed(beyond)}{within}."


def _steps(families: Facts, variant: str) -> str:
    """How long a step takes, and how many parameters came."""
    steps = [row(found, variant)["step"] for found in families.values()]
    times = ", ".join(
        f"{family} {step['ratio']:.2f} [{step['low']:.2f}, {step['high']:.2f}]"
        for family, step in zip(families, steps, strict=True)
    )
    unlike = all(step["low"] > 1 or step["high"] < 1 for step in steps)
    added = [
        row(found, variant)["parameters"] - row(found, "gap")["parameters"]
        for found in families.values()
    ]
    more = f"It has {span(added, ',.0f')} parameters more than gap. " if any(added) else ""
    return (
        f"{more}A step takes, times that of fc: {times}"
        + ("." if unlike else "; where the brackets hold 1, the two are not told apart.")
    )  # fmt: skip


def _limits(facts: Facts, found: dict[str, list[Comparison]]) -> str:
    every = [one.found for several in found.values() for one in several]
    half = [(one.high - one.low) / 2 for one in every if one.low is not None and one.high]
    return (
        "**What this does not say.** The networks are a sixth as wide as the paper's and were "
        f"trained for {facts['recipe']['epochs']} epochs instead of 350: none is near its best, "
        "and how variants rank at the end of a long training may be another matter. Brackets are "
        f"95 % intervals over {every[0].pairs} seeds, each by itself; what is said to differ does "
        f"so after correction for all {len(every)} comparisons (Holm 1979). Half of an interval is "
        f"{span(half, '.1f')} points: smaller differences than the smallest of these could not "
        "have been told. One test set, and one recipe for all variants, tuned for none."
    )


def _spread(families: Facts) -> float:
    """Standard deviation over seeds of the base's function, pooled over fc, exact and families."""
    variances = [
        row(found, variant)["deviation"] ** 2
        for found in families.values()
        for variant in ("fc", "exact")
    ]
    return math.sqrt(sum(variances) / len(variances))


def _errors(found: Facts, variant: str) -> list[float]:
    return [run["error"] for run in row(found, variant)["runs"]]


def row(found: Facts, variant: str) -> Facts:
    """The figures of one variant."""
    one: Facts = next(row for row in found["rows"] if row["variant"] == variant)
    return one


def span(values: Sequence[float], form: str) -> str:
    """Lowest to highest."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def listed(names: Sequence[str]) -> str:
    """Names with an "and"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
