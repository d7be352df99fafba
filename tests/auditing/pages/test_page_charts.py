import math
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from page_reports import GROWTH, MEMORY, POOLS, STRIDES

from fullconv.auditing.pages.charts import svg
from fullconv.auditing.section import Chart, Series
from fullconv.errors import MissingExtraError

matplotlib = pytest.importorskip("matplotlib", reason="charts need matplotlib")
SVG = "{http://www.w3.org/2000/svg}"
CHARTS = (GROWTH, MEMORY, POOLS, STRIDES)


def drawn(chart: Chart, name: str = "c") -> ET.Element:
    return ET.fromstring(svg(chart, name))


def words(element: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in element.iter(f"{SVG}text")]


def places(element: ET.Element, color: str) -> list[tuple[float, float]]:
    """Where the points of a series stand; the last one is in the legend."""
    return [
        (float(mark.get("x", "")), float(mark.get("y", "")))
        for mark in element.iter(f"{SVG}use")
        if color in mark.get("style", "")
    ]


def test_every_measured_point_has_a_mark_at_its_place():
    element = drawn(GROWTH)
    for place, series in enumerate(GROWTH.series, 1):
        *marks, _ = places(element, f"--series-{place},") or [None]
        if not series.measured:
            assert marks == []
            continue
        assert len(marks) == len(series.x)
        # On logarithmic axes the place goes with the logarithm.
        for values, where, sense in ((series.x, 0, 1), (series.y, 1, -1)):
            logs = [math.log(value) for value in values]
            found = [mark[where] for mark in marks]
            slope = (found[-1] - found[0]) / (logs[-1] - logs[0])
            assert slope * sense > 0
            expected = [found[0] + slope * (log - logs[0]) for log in logs]
            assert found == pytest.approx(expected, abs=0.05)


def test_what_is_counted_is_dashed_and_goes_through_its_points():
    dashed = [
        path for path in drawn(GROWTH).iter(f"{SVG}path") if "dasharray" in path.get("style", "")
    ]
    line, _ = dashed  # and the legend's
    assert all("--series-3" in path.get("style") for path in dashed)
    assert len(re.findall("[ML]", line.get("d"))) == len(GROWTH.series[2].x)


def test_every_bar_is_there_and_as_long_as_its_value():
    element = drawn(POOLS)
    for place, series in enumerate(POOLS.series, 1):
        boxes = []
        for path in element.iter(f"{SVG}path"):
            style = path.get("style", "")
            if f"--series-{place}," in style and path.get("clip-path"):
                xs = [float(x) for x in re.findall(r"[ML] (\S+)", path.get("d"))]
                boxes.append(max(xs) - min(xs))
        assert len(boxes) == len(series.y)
        assert [box / boxes[0] for box in boxes] == pytest.approx(
            [y / series.y[0] for y in series.y], rel=0.02
        )


def test_what_is_counted_is_pale_among_bars():
    assert "fill-opacity" in svg(POOLS, "c")
    assert "fill-opacity" not in svg(replace(POOLS, series=POOLS.series[:2]), "c")


def test_long_names_of_bars_lie_and_short_ones_stand():
    def baseline(chart):
        """The places of the names of the bars, across and down."""
        texts = {"".join(t.itertext()): t for t in drawn(chart).iter(f"{SVG}text")}
        return [(texts[name].get("x"), texts[name].get("y")) for name in chart.ticks]

    lying, standing = baseline(POOLS), baseline(STRIDES)
    assert len({x for x, _ in lying}) == 1
    assert [float(y) for _, y in lying] == sorted(float(y) for _, y in lying)  # the first on top
    assert len({y for _, y in standing}) == 1


def test_the_axis_names_the_sizes_that_were_measured():
    found = words(drawn(GROWTH))
    for side in ("224", "336", "448", "896"):
        assert side in found
    assert [word for word in found if word in ("0.1", "0.3", "1", "3", "10")] == [
        "0.1",
        "0.3",
        "1",
        "3",
        "10",
    ]


def test_small_numbers_keep_their_digits():
    chart = Chart("t", "x, 0.12345", "y", (Series("0.98765", (0.0011, 0.0025), (1e-3, 4.5e-3)),))
    found = words(drawn(chart))
    for word in ("x, 0.12345", "0.98765", "0.0011", "0.0025", "0.001", "0.002", "0.003", "0.004"):
        assert word in found


def test_sizes_that_lie_close_do_not_touch():
    xs = (224.0, 225.0, 226.0, 448.0)
    chart = Chart("t", "x", "y", (Series("s", xs, (1, 2, 3, 4)),))
    found = words(drawn(chart))
    assert "224" in found
    assert "448" in found
    assert "225" not in found


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title)
def test_no_two_texts_touch_and_none_leaves_the_picture(chart):
    element = drawn(chart)
    _, _, width, height = map(float, element.get("viewBox").split())
    boxes = []
    for text in element.iter(f"{SVG}text"):
        size = float(re.search(r"font-size: ([\d.]+)px", text.get("style"))[1])
        long = 0.52 * size * len("".join(text.itertext()))
        anchor = re.search(r"text-anchor: (\w+)", text.get("style"))[1]
        left = float(text.get("x")) - {"start": 0, "middle": long / 2, "end": long}[anchor]
        bottom = float(text.get("y"))
        boxes.append((left, bottom - 0.75 * size, left + long, bottom))
        assert left >= -1
        assert left + long <= width + 1
        assert size <= bottom <= height
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert (
                one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
            )


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title)
def test_the_same_chart_gives_the_same_text(chart):
    before = dict(matplotlib.rcParams)
    one = svg(chart, "a")
    matplotlib.rcParams["font.size"] = 31  # as somebody's own settings may have it
    matplotlib.rcParams["svg.fonttype"] = "path"
    try:
        assert svg(chart, "a") == one
        assert matplotlib.rcParams["font.size"] == 31
    finally:
        matplotlib.rcParams.update(before)
    assert svg(chart, "b").replace("b-", "a-") == one


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title)
def test_charts_of_one_page_share_no_id_and_refer_only_to_their_own(chart):
    found = {}
    for name in ("one", "two"):
        element = drawn(chart, name)
        ids = [part.get("id") for part in element.iter() if part.get("id")]
        assert len(ids) == len(set(ids))
        text = svg(chart, name)
        used = (
            re.findall(r'(?:href="#|url\(#)([^")]+)', text) + element.get("aria-labelledby").split()
        )
        assert set(used) == set(ids)
        found[name] = set(ids)
    assert not found["one"] & found["two"]


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.title)
def test_all_colours_are_the_pages(chart):
    text = svg(chart, "c")
    assert "#01010" not in text
    assert "#0500" not in text
    styles = re.findall(r"(?:fill|stroke): ([^;\"]+)", text)
    assert styles
    assert {style for style in styles if not style.startswith(("var(--", "none", "url(#"))} == set()


def test_it_says_what_it_shows_to_those_who_cannot_see_it():
    element = drawn(GROWTH)
    assert element.get("role") == "img"
    title, desc = element.find(f"{SVG}title"), element.find(f"{SVG}desc")
    assert title.text == GROWTH.title
    assert desc.text == GROWTH.alt
    assert element.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert "width" not in element.attrib
    assert "height" not in element.attrib


def test_hostile_words_stay_words():
    evil = '<script>alert("1")</script> & $x^2$ -- \x00\x1b[31m \ud800 日本'
    series = (Series(evil, (1, 2), (1, 2)), Series(evil, (1, 2), (2, 3), False))
    for chart in (
        Chart(evil, evil, evil, series, alt=evil),
        Chart(evil, evil, evil, series, bars=True, ticks=("a", evil, evil), alt=evil),
    ):
        text = svg(chart, "c")
        text.encode()
        element = ET.fromstring(text)
        assert not list(element.iter(f"{SVG}script"))
        assert "$x^2$" in " ".join(words(element))
        assert '<script>alert("1")</script>' in element.find(f"{SVG}title").text


def test_what_is_no_number_is_left_out():
    series = Series("s", (1, 2, 3, math.nan), (1, math.nan, math.inf, 4))
    chart = Chart("t", "x", "y", (series, Series("none", (), ())), log_x=True, log_y=True)
    assert len(places(drawn(chart), "--series-1,")) == 2  # one, and that of the legend
    assert "none" not in words(drawn(chart))
    assert svg(replace(chart, series=()), "c") == ""
    assert svg(replace(chart, series=(Series("s", (1,), (math.nan,)),)), "c") == ""


def test_an_axis_with_a_zero_is_a_linear_one():
    chart = Chart("t", "x", "y", (Series("s", (0, 1, 2), (0, 5, 10)),), log_x=True, log_y=True)
    *marks, _ = places(drawn(chart), "--series-1,")
    (x0, y0), (x1, y1), (x2, y2) = marks
    assert (x1 - x0, y1 - y0) == pytest.approx((x2 - x1, y2 - y1), abs=0.05)


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("values", [(5,), (0, 0), (-3, -1), (-3, 4), (1e-30, 1e30), (7, 7, 7)])
@pytest.mark.parametrize("log", [False, True])
def test_unusual_values(bars, values, log):
    xs = tuple(range(len(values)))
    chart = Chart("t", "x", "y", (Series("s", xs, values),), log_y=log, bars=bars)
    drawn(chart)


def test_a_counted_line_of_one_point_is_seen():
    chart = Chart("t", "x", "y", (Series("s", (1,), (1,), False),))
    assert len(places(drawn(chart), "--series-1,")) == 2


def test_many_series_differ_in_form_too():
    series = tuple(Series(f"series {i}", (1, 2), (i, i + 1)) for i in range(7))
    element = drawn(Chart("t", "x", "y", series))
    forms = {
        use.get("href") for use in element.iter(f"{SVG}use") if "--series-" in use.get("style")
    }
    assert len(forms) == 7


def test_without_matplotlib_the_install_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as error:
        svg(GROWTH, "c")
    assert str(error.value) == (
        "A page with charts needs matplotlib, which is not installed.\n"
        "Install it with: pip install 'fullconv[plot]'"
    )
