"""What is said of differences: never more than their intervals allow."""

import pytest

from fullconv.study.sentences import overall, sentence
from fullconv.study.value import Row, Run, StepTime, Study, compared

BASE = [10.0, 10.4, 9.8, 10.2, 10.1]


def row(variant, errors, base=None, parameters=1000, gap=None, step=None) -> Row:
    runs = tuple(
        Run(variant, seed, error, (), parameters, 1.0, "" if error is not None else "no number")
        for seed, error in enumerate(errors)
    )
    return Row(variant, runs, parameters, 100, compared(runs, base.runs) if base else None, step,
               gap)  # fmt: skip


FC = row("fc", BASE)


def study(*rows: Row, base: Row = FC) -> Study:
    return Study({"recipe": {}}, (base, *rows), (1000, 2000))


def said(errors, **options) -> str:
    own = row("gap", errors, FC, **options)
    return sentence(own, study(own))


def test_the_base():
    assert sentence(FC, study()) == (
        "fc errs on 10.10 ± 0.22 % of the test images; the others are compared with it."
    )


def test_a_difference_beyond_chance_and_deviation():
    text = said([e + 2 + x for e, x in zip(BASE, (0.1, -0.1, 0, 0.05, -0.05), strict=True)],
                parameters=250)  # fmt: skip
    assert text.startswith("gap errs 2.00 points more than fc ([+1.90, +2.10], 5 seeds, p = ")
    assert text.endswith(
        "; its mean error is above that of fc by an amount beyond one standard deviation of fc "
        "(0.22 points over 5 seeds); it has 75 % fewer parameters."
    )


def test_a_difference_beyond_chance_but_within_the_deviation():
    text = said([e + 0.1 + x for e, x in zip(BASE, (0.01, -0.01, 0, 0, 0), strict=True)])
    assert text.startswith("gap errs 0.10 points more than fc ([+0.09, +0.11], 5 seeds, p = ")
    assert "by an amount within one standard deviation of fc" in text


def test_fewer_errors():
    text = said([e - 1 + x for e, x in zip(BASE, (0.01, -0.01, 0, 0, 0), strict=True)])
    assert text.startswith("gap errs 1.00 points less than fc ([-1.01, -0.99], 5 seeds")
    assert "its mean error is not above that of the base" in text


def test_a_difference_that_may_be_chance_is_not_called_one():
    text = said([10.5, 9.9, 10.6, 10.0, 10.3])
    assert text.startswith(
        "gap shows no difference from fc that could be told from chance (+0.16 points [-0.49, "
        "+0.81], 5 seeds, p = 0.5"
    )
    assert "more than fc" not in text


def test_one_seed_says_nothing_of_chance():
    base = row("fc", [10.0])
    own = row("gap", [12.0], base)
    assert sentence(own, study(own, base=base)).startswith(
        "gap errs 2.00 points more than fc with the one seed they share, which says nothing of "
        "chance; the standard deviation of fc is not known from one seed"
    )
    assert overall(study(own, base=base)).startswith("One seed for each variant says nothing")
    same = row("gap", [10.0], base)
    assert sentence(same, study(same, base=base)).startswith(
        "gap errs exactly as fc does with the one seed they share, which says nothing of chance;"
    )
    lost = row("allconv", [None], base)
    assert overall(study(own, lost, base=base)).startswith(
        "Against fc: one seed in common, which says nothing of chance: gap; no result to compare: "
        "allconv. One seed for each variant says nothing of chance"
    )


def test_the_deviation_is_that_of_the_seeds_both_have():
    """Without the last seed that of the base is 0.1, and the drop of 0.15 beyond it."""
    base = row("fc", [10.0, 10.1, 10.2, 14.0])
    own = row("gap", [10.15, 10.26, 10.34, None], base)
    assert own.against.value == pytest.approx(0.15)
    assert (
        "by an amount beyond one standard deviation of fc (0.10 points over 3 seeds)"
    ) in sentence(own, study(own, base=base))


def test_seeds_that_all_differ_alike():
    same = row("gap", BASE, FC)
    assert sentence(same, study(same)).startswith(
        "gap errs exactly as fc does with each of 5 seeds"
    )
    base = row("fc", [10.0, 11.0])
    more = row("gap", [10.5, 11.5], base)
    assert sentence(more, study(more, base=base)).startswith(
        "gap errs 0.50 points more than fc with each of 2 seeds alike"
    )
    assert overall(study(more, base=base)).startswith(
        "Against fc: the same difference with every seed, of which no test can be made: gap. "
        "All of it is over trainings"
    )


def test_the_conclusion_leaves_no_variant_out():
    rows = [
        row("gap", [e + 1 + x for e, x in zip(BASE, (0.1, -0.1, 0, 0, 0), strict=True)], FC),
        row("strided", [None] * 5, FC),
        row("convpool", [12.0, None, None, None, None], FC),
        row("allconv", BASE, FC),
    ]
    assert overall(study(*rows)).startswith(
        "Against fc, at 95 %: more errors: gap; the same difference with every seed, of which no "
        "test can be made: allconv; one seed in common, which says nothing of chance: convpool; no "
        "result to compare: strided. With 5 seeds, differences smaller than"
    )
    assert "no result to compare: strided" in overall(study(rows[1]))


def test_the_exact_conversion_is_evidence_not_a_contest():
    own = row("exact", [10.1, 10.3, 9.9, 10.2, 10.0], FC, gap=4e-16)
    assert sentence(own, study(own)).startswith(
        "exact is the same function as fc (largest difference of scores at the start 4e-16), so "
        "that what differs after training is rounding and chance: it shows no difference from fc"
    )
    # The means differ by 0; then by 0.11 points, of deviations sqrt(0.05).
    assert sentence(own, study(own)).endswith(
        "; its mean is 0.0 standard deviations of fc from that of fc (0.22 points over 5 seeds), "
        "which is chance alone."
    )
    off = row("exact", [10.1, 10.3, 9.9, 10.2, 10.55], FC)
    assert "; its mean is 0.5 standard deviations of fc from" in sentence(off, study(off))
    turned = row("fc", BASE, own)
    assert sentence(turned, study(turned, base=own)).startswith("fc is the same function as exact")
    assert overall(study(turned, base=own)) == "Nothing was compared."


def test_the_time_of_a_step():
    step = StepTime(1, 2, 1.5, 1.4, 1.6, 9, 64, 1)
    assert said(BASE, step=step, parameters=1100).endswith(
        "it has 10 % more parameters, and a step takes 1.50 times as long."
    )


def test_runs_that_failed_are_named():
    assert "(1 of 5 runs failed: seed 2)" in said([10.0, 10.1, None, 10.2, 10.4])
    assert said([None] * 5) == "gap has no result (5 of 5 runs failed: seed 0, 1, 2, 3, 4)."


def test_the_conclusion_sorts_variants_and_counts_comparisons():
    shifts = (0.1, -0.1, 0, 0.05, -0.05)

    def shifted(variant, by, scale=1.0):
        return row(variant, [e + by + scale * x for e, x in zip(BASE, shifts, strict=True)], FC)

    found = overall(
        study(shifted("exact", 0, 0.1), shifted("gap", 2), shifted("strided", 0.0, 3),
              shifted("allconv", -1))
    )  # fmt: skip
    assert found.startswith(
        "Against fc, at 95 %, corrected for 3 comparisons (Holm): more errors: gap; fewer errors: "
        "allconv; no difference that could be told from chance: strided. With 5 seeds, "
        "differences smaller than about 0.1 points (half the narrowest interval) could not be told "
        "from chance here. All of it is over trainings, on the same 2,000 test images"
    )
    assert "smaller than about 0.3 points" in overall(study(shifted("gap", 2, 3)))
    assert "smaller than about 0.01 points" in overall(study(shifted("gap", 2, 0.1)))


def test_the_correction_takes_back_what_many_comparisons_find():
    """p = 0.03 alone is below 0.05; as one of four it is not."""
    errors = [e + x for e, x in zip(BASE, (0.5, 0.1, 0.45, 0.3, 0.05), strict=True)]
    one = row("gap", errors, FC)
    assert one.against is not None
    assert 0.0125 < one.against.p < 0.05
    assert "more errors: gap" in overall(study(one))
    noise = [row(name, [10.5, 9.9, 10.6, 10.0, 10.3], FC) for name in ("strided", "convpool",
                                                                      "allconv")]  # fmt: skip
    assert "no difference that could be told from chance: gap, strided" in overall(
        study(one, *noise)
    )


@pytest.mark.parametrize("rows", [(), (row("exact", BASE, FC),)])
def test_nothing_to_compare(rows):
    assert overall(study(*rows)) == "Nothing was compared."


def test_a_base_that_failed():
    base = row("fc", [None, None])
    own = row("gap", [1.0, 2.0], base)
    assert own.against is None
    assert overall(study(own, base=base)) == "Nothing can be compared: fc has no result."
    assert "fc has no run with the same seed" in sentence(own, study(own, base=base))
