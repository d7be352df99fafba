import math

import pytest
from page_reports import GROWTH, MEMORY, POOLS

from fullconv.auditing.pages.report import figures, says_more
from fullconv.auditing.section import Chart, Series, Table


def test_the_points_of_a_chart_are_a_table():
    table = figures(GROWTH)
    assert table.header == ("side of the image, px", *(series.name for series in GROWTH.series))
    assert table.caption == "Seconds for one image as it grows: seconds, median of 5"
    assert table.rows[1] == ("336", "0.263", "0.523", "0.273")


def test_bars_have_the_names_of_their_places():
    assert figures(POOLS).rows[4] == ("features.30", "0.120", "6.40", "6.50")


def test_series_need_not_have_the_same_points():
    chart = Chart("t", "x", "", (Series("a", (1, 2), (5, 6)), Series("b", (3, 2), (7, math.nan))))
    assert figures(chart) == Table(
        ("x", "a", "b"), (("1", "5", "–"), ("2", "6", "–"), ("3", "–", "7")), "t"
    )


def test_no_points_no_table():
    assert figures(Chart("t", "x", "y", ())) is None
    assert not says_more(Chart("t", "x", "y", ()), ())


@pytest.mark.parametrize(
    ("cells", "more"),
    [
        ((), True),
        (("0.1213", "138.4 M"), False),  # in millions
        (("12.1 %", "138,357,544"), False),  # in per cent; with commas
        (("0.1213 s (−3)", "131.9 MiB"), False),
        (("121.3 ms", "138.4"), False),
        (("0.1213", "138.9 M"), True),
        (("0.1213", "1"), True),  # one digit says too little
        (("0.13", "138.4 M"), True),
    ],
)
def test_whether_a_table_says_what_a_chart_says(cells, more):
    chart = Chart("t", "x", "y", (Series("s", (1, 2), (0.1213, 138357544.0)),))
    table = Table(("what", "value"), tuple((f"row {i}", cell) for i, cell in enumerate(cells)))
    assert says_more(chart, (table,)) is more


def test_the_name_of_a_row_is_no_value():
    chart = Chart("t", "x", "y", (Series("s", (1,), (224.0,)),))
    assert says_more(chart, (Table(("size", "cells"), (("224", "1"),)),))


def test_a_zero_must_be_written():
    chart = Chart("t", "x", "y", (Series("s", (1,), (0.0,)),))
    assert says_more(chart, (Table(("a", "b"), (("r", "12.3"),)),))
    assert not says_more(chart, (Table(("a", "b"), (("r", "0"),)),))


def test_its_own_table_says_it_all():
    for chart in (GROWTH, POOLS, MEMORY):
        assert not says_more(chart, (figures(chart),))
