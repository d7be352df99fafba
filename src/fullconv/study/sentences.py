"""What a study shows, in sentences that say no more than its intervals allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fullconv.study.paired import LEVEL, Difference, holm, spread
from fullconv.study.value import Row, Run, Study


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
    if _same_function(row, base):
        gap = (
            "" if row.gap is None else f" (largest difference of scores at the start {row.gap:.0e})"
        )
        return (
            f"{row.variant} is the same function as {base.variant}{gap}, so that what differs "
            f"after training is rounding and chance: it {found}{failed}{_control(row, base)}."
        )
    return f"{row.variant} {found}{failed}; {_within(row, base)}{_costs(row, base)}."


def compared(against: Difference, base: Row) -> str:
    """A difference to the base in words."""
    name = base.variant
    points = f"{abs(against.value):.2f} points"
    if against.pairs < 2:
        how = f"{points} {'more' if against.value > 0 else 'less'} than {name}"
        return (
            f"errs {f'exactly as {name} does' if against.value == 0 else how} with the one seed "
            "they share, which says nothing of chance"
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
    others = [row for row in study.rows[1:] if not _same_function(row, base)]
    if base.mean is None:
        return f"Nothing can be compared: {base.variant} has no result."
    if not others:
        return "Nothing was compared."
    sorted_ = _verdicts(others)
    found = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in sorted_.items())
    if set(sorted_) <= {SINGLE, NOTHING}:
        advice = (
            "One seed for each variant says nothing of chance: train with more (--seeds 5) before "
            "believing any difference."
        )
        return advice if set(sorted_) == {SINGLE} else f"Against {base.variant}: {found}. {advice}"
    tested = [row.against for row in others if row.against and row.against.p is not None]
    many = f", corrected for {len(tested)} comparisons (Holm)" if len(tested) > 1 else ""
    level = f", at 95 %{many}" if tested else ""
    return (
        f"Against {base.variant}{level}: {found}. {_reach(tested)}All of it is over trainings, on "
        f"the same {study.images[1]:,} test images and with one recipe for all variants; other "
        "data, recipes and widths may say otherwise."
    )


WORSE, BETTER = "more errors", "fewer errors"
OPEN = "no difference that could be told from chance"
ALIKE = "the same difference with every seed, of which no test can be made"
SINGLE = "one seed in common, which says nothing of chance"
NOTHING = "no result to compare"


def mixed(runs: Iterable[Run]) -> tuple[str, ...]:
    """A remark where runs were not all trained with the same threads, PyTorch and device."""
    every = list(runs)
    found = []
    for name, words in (("threads", "threads"), ("torch", "PyTorch"), ("device", "device")):
        counts = Counter(getattr(run, name) or "not known" for run in every)
        if len(counts) > 1:
            found.append(f"{words} " + ", ".join(f"{x} ({n} runs)" for x, n in counts.items()))
    if not found:
        return ()
    return (
        f"runs were not all trained alike: {'; '.join(found)}. Their rounding differs, and after "
        "many steps their errors may for that alone",
    )


def _verdicts(others: list[Row]) -> dict[str, list[str]]:
    """Every variant under one verdict, in the order above; p values corrected for their number."""
    tested = [row for row in others if row.against is not None and row.against.p is not None]
    p_values = [row.against.p for row in tested if row.against and row.against.p is not None]
    corrected = {
        row.variant: p for row, p in zip(tested, holm(p_values) if p_values else [], strict=True)
    }

    def verdict(row: Row) -> str:
        if row.against is None:
            return NOTHING
        if row.variant not in corrected:
            return SINGLE if row.against.pairs < 2 else ALIKE
        if not row.against.certain or corrected[row.variant] >= 1 - LEVEL:
            return OPEN
        return WORSE if row.against.value > 0 else BETTER

    of_row = {row.variant: verdict(row) for row in others}
    order = (WORSE, BETTER, OPEN, ALIKE, SINGLE, NOTHING)
    return {
        one: [name for name, found in of_row.items() if found == one]
        for one in order
        if one in of_row.values()
    }


def _reach(tested: list[Difference]) -> str:
    """How small a difference could not be seen."""
    halves = [
        (one.high - one.low) / 2 for one in tested if one.low is not None and one.high is not None
    ]
    if not halves:
        return ""
    half = min(halves)
    return (
        f"With {min(one.pairs for one in tested)} seeds, differences smaller than about "
        f"{f'{half:.1f}' if half >= 0.095 else f'{half:.1g}'} points (half the narrowest interval) "
        "could not be told from chance here. "
    )


def _same_function(row: Row, base: Row) -> bool:
    """Whether two variants compute the same: between them there is only chance."""
    return {row.variant, base.variant} == {"fc", "exact"}


def _deviation(row: Row, base: Row) -> tuple[float | None, int]:
    """The standard deviation of the base over the seeds that both have, and how many those are."""
    shared = [error for seed, error in base.errors.items() if seed in row.errors]
    return spread(shared), len(shared)


def _control(row: Row, base: Row) -> str:
    """How far chance alone takes a mean from that of the base, in deviations of the base."""
    deviation, seeds = _deviation(row, base)
    if row.against is None or not deviation:
        return ""
    return (
        f"; its mean is {abs(row.against.value) / deviation:.1f} standard deviations of "
        f"{base.variant} from that of {base.variant} ({deviation:.2f} points over {seeds} seeds), "
        "which is chance alone"
    )


def _within(row: Row, base: Row) -> str:
    """Whether the drop is within one standard deviation of the base."""
    assert row.against is not None
    deviation, seeds = _deviation(row, base)
    if deviation is None:
        return f"the standard deviation of {base.variant} is not known from one seed"
    drop = row.against.value
    if drop <= 0:
        return "its mean error is not above that of the base"
    relation = "within" if drop <= deviation else "beyond"
    return (
        f"its mean error is above that of {base.variant} by an amount {relation} one standard "
        f"deviation of {base.variant} ({deviation:.2f} points over {seeds} seeds)"
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
