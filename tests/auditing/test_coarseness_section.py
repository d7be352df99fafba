"""What a report says of strides."""

from dataclasses import replace

import pytest

from audited import check_section, column, excited, lenet, quiet, small, strided
from fullconv.auditing.costs.strides import Stride, Strides
from fullconv.auditing.measuring.timing import Spread
from fullconv.auditing.sections import coarseness
from fullconv.auditing.subject import subject_of

MIB, GIGA = 2**20, 10**9


def found() -> Strides:
    """Figures like those of VGG-16 on 448×448 px."""
    rows = (
        Stride((32, 32), 64, 69 * GIGA, 100 * MIB, 300 * MIB, 14.3, 35.4, Spread(1, 1, 1)),
        Stride((16, 16), 225, 138 * GIGA, 100 * MIB, 300 * MIB, 25, 76.6, Spread(2, 2, 2),
               Spread(2.1, 2, 2.2)),
        Stride((8, 8), 841, 414 * GIGA, 200 * MIB, 500 * MIB, 31, 104, foreseen=6),
        Stride((4, 4), 3249, 1380 * GIGA, 800 * MIB, 1500 * MIB, 36, 111, foreseen=20),
    )  # fmt: skip
    return Strides(
        rows, (448, 448), (224, 224), (404, 404), 0.69, (), 1024 * MIB, True, 5, None, "cpu", 2
    )


def test_the_verdict_is_short_and_made_of_figures():
    section = coarseness.written(found())
    check_section(section)
    assert section.verdict == (
        "There is one score every 32 px; a cell sees 404×404 px, 69 % of them outside its 224×224 "
        "px window.",
        "A stride of 16 px has 3.52 times the cells for 2.00 times the MACs and 2.1 times the "
        "seconds (2.00–2.20); the finest, 4 px, takes 20.0 times the MACs: 1.38 TMACs for 448×448 "
        "px.",
    )
    assert section.skipped == (
        "Stride 4 px: counted only, it needs 1.5 GiB of memory, and 1.0 GiB is allowed.",
        "Stride 8 px: counted only, for want of time, about 6.00 s for a pass by its MACs.",
    )
    assert section.how[-1].startswith("Seconds are medians of up to 5 rounds in turn")


def test_a_finer_stride_within_the_noise_is_called_so():
    native, half = found().rows[:2]
    half = replace(half, slower=Spread(1.02, 0.93, 1.1, 5))
    section = coarseness.written(replace(found(), rows=(native, half)))
    assert section.verdict[1].endswith(
        "for 2.00 times the MACs and no more seconds than rounds differ (0.93–1.10)."
    )


def test_several_strides_share_a_sentence():
    section = coarseness.written(replace(found(), allowed=4000 * MIB))
    assert section.skipped == (
        "Strides 8 px and 4 px: counted only, for want of time, about 6.00 s to 20.0 s for a pass "
        "by its MACs.",
    )
    section = coarseness.written(replace(found(), allowed=400 * MIB, given=False))
    assert section.skipped == (
        "Strides 8 px and 4 px: counted only, they need 500.0 MiB to 1.5 GiB of memory, and 400.0 "
        "MiB is free.",
    )


def test_table_and_chart_hold_the_same():
    section = coarseness.written(found())
    assert column(section, 0, "stride") == ["32 px", "16 px", "8 px", "4 px"]
    assert column(section, 0, "cells") == ["64", "225", "841", "3,249"]
    assert column(section, 0, "× native") == ["1.00", "2.00", "6.00", "20.0"]
    assert column(section, 0, "s") == ["1.00", "2.00", "–", "–"]
    assert column(section, 0, "large images") == ["35.4", "76.6", "104", "111"]
    (chart,) = section.charts
    assert chart.ticks == ("32 px", "16 px", "8 px", "4 px")
    lines = {line.name: line for line in chart.series}
    assert lines["MACs"].y == (1, 2, 6, 20)
    assert lines["cells"].y == (1, 225 / 64, 841 / 64, 3249 / 64)
    assert (lines["seconds"].x, lines["seconds"].y) == ((0, 1), (1, 2.1))
    assert lines["seconds"].measured
    assert not lines["MACs"].measured


def test_strides_that_differ_by_axis_are_written_out():
    rows = (replace(found().rows[0], stride=(8, 4)), replace(found().rows[1], stride=(4, 2)))
    section = coarseness.written(replace(found(), rows=rows, outside=0.0))
    assert section.verdict[0] == (
        "There is one score every 8×4 px; a cell sees nothing outside its 224×224 px window."
    )
    assert column(section, 0, "stride") == ["8×4 px", "4×2 px"]


def test_nothing_timed_has_no_column_of_seconds():
    rows = tuple(replace(row, seconds=None, slower=None) for row in found().rows)
    section = coarseness.written(replace(found(), rows=rows, rounds=0))
    check_section(section)
    assert "s" not in section.tables[0].header
    assert [line.name for line in section.charts[0].series] == ["MACs", "cells"]


@pytest.mark.parametrize(
    ("build", "window"),
    [(lenet, 28), (small, 8), (lambda: small(1), 8), (excited, 8), (lambda: strided(3, 2), 12)],
)
def test_a_whole_section(build, window):
    section = coarseness.section(subject_of(build(), window), 300.0, quiet)
    check_section(section)
    assert section.key == coarseness.KEY == "coarseness"
    assert len(section.tables) == len(section.charts) == 1


def test_a_network_that_steps_by_one_px():
    section = coarseness.section(subject_of(strided(1), 2), 2.0, quiet)
    check_section(section)
    assert section.verdict == (
        "There is one score every 1 px; a cell sees nothing outside its 2×2 px window.",
    )
    assert section.text == ("The map cannot be finer: there is a cell for every px already.",)
    assert section.charts == ()
