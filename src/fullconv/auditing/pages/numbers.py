"""Numbers as people read them, and which of them stand along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterable

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, *, even: bool = False) -> str:
    """Three significant digits, or all of a whole number: 0.0123, 1,280, −0.5, 2.1×10⁹.

    With `even` zeros at the end are kept, for columns: 0.500.
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    size = abs(value)
    if size == 0:
        text = "0"
    elif size >= 1e7 or size < 1e-4:
        exponent = math.floor(math.log10(size))
        mantissa = f"{size / 10.0**exponent:.3g}"
        if mantissa == "10":  # 9.999 was rounded up
            mantissa, exponent = "1", exponent + 1
        power = f"10{str(exponent).translate(_RAISED)}"
        text = power if mantissa == "1" else f"{mantissa}×{power}"
    elif size == round(size):
        text = f"{round(size):,}"
    elif size >= 100:
        text = f"{size:,.0f}"
    else:
        text = f"{size:.{2 - math.floor(math.log10(size))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text and not even else text
    return f"−{text}" if value < 0 else text


def ticks(low: float, high: float, *, log: bool, most: int = 6) -> list[float]:
    """At most `most` round numbers from `low` to `high`, evenly spaced on the axis.

    On a logarithmic axis they are powers of ten, with 2 and 5 or 3 between them where it is short;
    less than a factor of about four has linear steps.
    """
    if not log or high / low < 4:
        return _even(low, high, most)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for between in ((1, 2, 5), (1, 3)):
        found = [m * 10.0**e for e in range(first, last + 1) for m in between]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) <= most:
            return found
    every = 1
    while (last - first) / every + 1 > most:
        every += 1
    found = [10.0**e for e in range(first, last + 1, every)]
    return [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def _even(low: float, high: float, most: int) -> list[float]:
    span = high - low
    if span <= 0:
        return [low]
    exponent = math.floor(math.log10(span / most))
    for power in range(exponent, exponent + 3):
        for factor in (1, 2, 5):
            step = factor * 10.0**power
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            if last - first + 1 <= most:
                return [index * step for index in range(first, last + 1)]
    return [low, high]


def apart(places: Iterable[tuple[float, float]], gap: float) -> list[int]:
    """Which labels can stand without touching: the first, the last, and what fits between.

    `places` are centre and width of each label along the axis, ascending; `gap` is what stays free
    between two. Returns their indices.
    """
    boxes = [(centre - width / 2, centre + width / 2) for centre, width in places]
    if len(boxes) < 2:
        return list(range(len(boxes)))
    kept = [0]
    for index in range(1, len(boxes) - 1):
        if boxes[index][0] >= boxes[kept[-1]][1] + gap and boxes[index][1] + gap <= boxes[-1][0]:
            kept.append(index)
    if boxes[-1][0] >= boxes[kept[-1]][1] + gap:
        kept.append(len(boxes) - 1)
    return kept
