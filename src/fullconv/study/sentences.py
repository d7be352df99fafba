"""What a study shows, in sentences that say no more than its intervals allow."""

from __future__ import annotations

from fullconv.study.paired import Difference, holm
from fullconv.study.value import Row, Study


def sentence(row: Row, study: Study) -> str:
    """One on a variant."""
    base = study.base
    failed = _failed(row)
    if row.mean is None:
        return f"{row.variant} has no result{failed}."
    errs = f"{row.variant} errs on {_with_deviation(row)} of the test images{failed}"
    if row is base:
        return f"{errs}; the others are compared with it."
    if row.against is None:
        return f"{errs}; {base.variant} has no run with the same seed to compare it with."
    found = compared(row.against, base)
    if row.variant == "exact" and base.variant == "fc":
        gap = (
            "" if row.gap is None else f" (largest difference of scores at the start {row.gap:.0e})"
        )
        return (
            f"exact is the same function as fc{gap}, so that what differs after training is "
            f"rounding and chance: it {found}."
        )
    return f"{row.variant} {found}{failed}; {_within(row, base)}{_costs(row, base)}."


def compared(against: Difference, base: Row) -> str:
    """A difference to the base in words."""
    name = base.variant
    points = f"{abs(against.value):.2f} points"
    if against.pairs < 2:
        direction = "more" if against.value > 0 else "less"
        return (
            f"errs {points} {direction} than {name} with the one seed they share, "
            "which says nothing of chance"
        )
    if against.low is None or against.high is None or against.p is None:
        if against.value == 0:
            return f"errs exactly as {name} does with each of {against.pairs} seeds"
        direction = "more" if against.value > 0 else "less"
        return f"errs {points} {direction} than {name} with each of {against.pairs} seeds alike"
    interval = f"[{against.low:+.2f}, {against.high:+.2f}], {against.pairs} seeds"
    interval = f"{interval}, p = {written_p(against.p)}"
    if against.certain:
        direction = "more" if against.value > 0 else "less"
        return f"errs {points} {direction} than {name} ({interval})"
    return (
        f"shows no difference from {name} that could be told from chance "
        f"({against.value:+.2f} points {interval})"
    )


def overall(study: Study) -> str:
    """What the study as a whole supports, and what it does not."""
    base = study.base
    others = [row for row in study.rows[1:] if row.variant != "exact" and row.against is not None]
    tested = [row for row in others if row.against is not None and row.against.p is not None]
    if base.mean is None:
        return f"Nothing can be compared: {base.variant} has no result."
    if not others:
        return "Nothing was compared."
    if not tested:
        return (
            "One seed for each variant says nothing of chance: train with more (--seeds 5) before "
            "believing any difference."
        )
    corrected = holm([row.against.p for row in tested if row.against and row.against.p is not None])
    worse: list[str] = []
    better: list[str] = []
    open_: list[str] = []
    for row, p in zip(tested, corrected, strict=True):
        assert row.against is not None
        certain = row.against.certain and p < 0.05
        (open_ if not certain else worse if row.against.value > 0 else better).append(row.variant)
    found = [
        f"{verdict}: {', '.join(names)}"
        for verdict, names in (
            ("more errors", worse),
            ("fewer errors", better),
            ("no difference that could be told from chance", open_),
        )
        if names
    ]
    halves = sorted(
        (row.against.high - row.against.low) / 2
        for row in tested
        if row.against and row.against.high is not None and row.against.low is not None
    )
    reach = dict.fromkeys(f"{half:.1f}" for half in (halves[0], halves[-1]))
    pairs = min(row.against.pairs for row in tested if row.against)
    many = f", corrected for {len(tested)} comparisons (Holm)" if len(tested) > 1 else ""
    return (
        f"Against {base.variant}, at 95 %{many}: {'; '.join(found)}. With {pairs} seeds the "
        f"intervals reach {' to '.join(reach)} points to either side: a smaller difference cannot "
        f"be seen in this study. They are over trainings, on the same {study.images[1]:,} test "
        "images and with one recipe for all variants; other data, recipes and widths may say "
        "otherwise."
    )


def _within(row: Row, base: Row) -> str:
    """Whether the drop is within one standard deviation of the base."""
    assert row.against is not None
    if base.deviation is None:
        return f"the standard deviation of {base.variant} is not known from one seed"
    drop = row.against.value
    if drop <= 0:
        return "its mean error is not above that of the base"
    relation = "within" if drop <= base.deviation else "beyond"
    return (
        f"its mean error is above that of {base.variant} by an amount {relation} one standard "
        f"deviation of {base.variant} ({base.deviation:.2f} points over {len(base.errors)} seeds)"
    )


def _costs(row: Row, base: Row) -> str:
    more = row.parameters - base.parameters
    share = f"{100 * abs(more) / base.parameters:.2g} % {'fewer' if more < 0 else 'more'}"
    text = f"; it has {share if more else 'as many'} parameters"
    if row.step is not None:
        text += f", and a step takes {row.step.ratio:.2f} times as long"
    return text


def _with_deviation(row: Row) -> str:
    deviation = "" if row.deviation is None else f" ± {row.deviation:.2f}"
    return f"{row.mean:.2f}{deviation} %"


def _failed(row: Row) -> str:
    if not row.failed:
        return ""
    seeds = ", ".join(str(run.seed) for run in row.failed)
    return f" ({len(row.failed)} of {len(row.runs)} runs failed: seed {seeds})"


def written_p(p: float) -> str:
    """A p value for people: `0.023`, or `4e-05` where that would be zero."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"
