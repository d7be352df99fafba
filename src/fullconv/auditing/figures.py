"""How figures are written for people: three digits, one unit for a column, right plurals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MISSING = "–"
"""In place of a figure that was not measured, or is no number."""

TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
MACS = ((1e12, "TMAC"), (1e9, "GMAC"), (1e6, "MMAC"), (1e3, "kMAC"), (1.0, "MAC"))
BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "bytes"))

BUSY = 0.05
"""From this share of waiting on, other work shows in what is timed."""

Units = Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Unit:
    """One of the units of a quantity: what it is in the smallest terms, and its name."""

    size: float
    name: str

    @classmethod
    def of(cls, values: Iterable[float | None], units: Units) -> Unit:
        """The largest unit in which the middle one of the values is at least 1."""
        known = sorted(value for value in values if value is not None and math.isfinite(value))
        middle = known[len(known) // 2] if known else 0.0
        size, name = next((unit for unit in units if middle >= unit[0]), units[-1])
        return cls(size, name)

    def write(self, value: float | None) -> str:
        """A value in this unit, without its name."""
        return MISSING if value is None else figure(value / self.size)


def figure(value: float | None) -> str:
    """Three digits: `0.0123`, `1.23`, `123`, `1,230`; a dash for None and what is not finite."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{float(f'{value:.4g}'):,.0f}" if abs(value) < 1e6 else f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):#.3g}"


def amount(value: float, units: Units) -> str:
    """A value with the unit that suits it: `12.3 ms`, `15.5 GMAC`, `1.20 GiB`."""
    unit = Unit.of([value], units)
    return f"{unit.write(value)} {unit.name}"


def whole(value: float) -> str:
    """Three digits, without the zeros behind the point: `16`, `19.7`; of what is counted."""
    written = figure(value)
    return written.rstrip("0").rstrip(".") if "." in written else written


def tiny(value: float) -> str:
    """A difference that may be rounding: `1.8e-15`, `exactly 0`."""
    if not math.isfinite(value):
        return MISSING
    return f"{value:.1e}" if value else "exactly 0"


def rough(value: float) -> str:
    """Two digits, for what is measured and differs from round to round: `0.97`, `2.1`, `23`."""
    if not math.isfinite(value):
        return MISSING
    two = float(f"{value:.2g}")
    return f"{two:,.0f}" if two >= 10 else f"{two:.1f}" if two >= 1 else f"{two:#.2g}"


def compared(
    median: float, low: float, high: float, count: int, words: str = "times as long"
) -> str:
    """A measured ratio with its rounds: `2.1 times as long (2.00–2.30)`.

    Of a single round it says so; rounds are `count`, 0 where nobody counted.
    """
    if count == 1:
        return f"{rough(median)} {words} in one round"
    return f"{rough(median)} {words} ({span(low, high)})"


def span(low: float, high: float) -> str:
    """The lowest and the highest round: `0.90–1.12`, `22–24`."""
    ends = [f"{end:.2f}" if high < 10 else rough(end) for end in (low, high)]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)


def percent(share: float | None, digits: int = 0) -> str:
    """A share as a percentage; a dash for None and what is not finite."""
    if share is None or not math.isfinite(share):
        return MISSING
    return f"{100 * share:.{digits}f} %"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 pool`, `5 pools`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def layer(where: str) -> str:
    """A layer by its path: `classifier.0`; one that is a mere number is `layer 4`.

    Its kind may stand behind it: `layer 4 (Linear)`.
    """
    return f"layer {where}" if where.partition(" (")[0].isdigit() else where


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def busy(waited: float | None) -> tuple[str, ...]:
    """The remark on timings whose threads waited for a core in this share of the time, if any."""
    if waited is None or waited < BUSY:
        return ()
    return (
        f"Its threads waited for a core {percent(waited)} of the time, as they do where other work "
        "runs too: seconds are too long, and ratios are rough.",
    )
