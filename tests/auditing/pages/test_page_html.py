import base64
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import urlparse

import numpy as np
import PIL.Image
import pytest
from page_reports import picture, rich_report

from fullconv.auditing.pages.html import LARGEST, html
from fullconv.auditing.pages.report import Report, glued
from fullconv.auditing.section import Chart, Picture, Section, Series, Table

pytest.importorskip("matplotlib", reason="charts need matplotlib")

VOID = {"meta", "link", "img", "br", "hr", "input"}
EVIL = """</script></style></title><script>alert('x')</script>"><img src=x onerror=alert(1)>{{ 7*7 }} & ü"""


class Page(HTMLParser):
    """A page taken apart; an element that is not closed, or closed twice, is an error."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.links: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert "svg" in self.open, f"<{tag}/> outside of SVG"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))
        if self.open[-1:] == ["a"]:
            self.links.append((self.elements[-1][1]["href"], data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if not tags or tag in tags]

    @property
    def shown(self) -> str:
        """What a reader sees, spaces as one."""
        text = " ".join(
            t for tag, t in self.texts if tag not in ("style", "script", "title", "desc")
        )
        return " ".join(text.split())


@pytest.fixture(scope="module")
def text() -> str:
    return html(rich_report())


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def test_it_is_one_whole_page(text, page):
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert [len(page.all(tag)) for tag in ("html", "head", "body", "main", "h1", "title")][:5] == [
        1
    ] * 5
    assert {"charset": "utf-8"} in page.all("meta")
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert html(rich_report()) == text


def test_ids_are_unique_and_every_link_has_its_end(page):
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] for _, a in page.elements if a.get("href", "").startswith("#")]
    assert links
    assert {link[1:] for link in links} <= set(ids)


def test_it_needs_nothing_beside_it(text, page):
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "data", "srcset", "action", "poster", "xlink:href"):
                assert value.startswith(("#", "data:")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
        assert tag not in ("iframe", "object", "embed", "base", "form")
    css = " ".join(page.said("style"))
    assert "@import" not in css
    assert "url(" not in css
    assert {a.get("type") for a in page.all("script")} == {"application/json"}
    addresses = re.findall(r"\b(?:https?|file|ftp)://[^\s\"'<>]+", text)
    assert {urlparse(address).netloc for address in addresses} <= {"www.w3.org"}


def test_the_verdict_comes_first_and_every_sentence_leads_to_its_section(page):
    sections = rich_report().sections
    expected = [(f"#{s.key}", sentence) for s in sections for sentence in s.verdict]
    links = [(href, text.replace("\u00a0", " ")) for href, text in page.links]
    assert [link for link in links if link[1] not in titles(sections)] == expected
    assert page.texts.index(("h2", "The verdict")) < page.texts.index(("h2", sections[0].title))


def titles(sections) -> list[str]:
    """What the contents link to."""
    return ["The verdict", *(section.title for section in sections)]


def test_the_contents_name_every_section(page):
    sections = rich_report().sections
    expected = [("#verdict", "The verdict"), *((f"#{s.key}", s.title) for s in sections)]
    assert page.links[: len(expected)] == expected


def test_every_figure_of_every_table_is_there(page):
    cells = [t.replace("\u00a0", " ") for t in page.said("td", "th", "figcaption")]
    for section in rich_report().sections:
        for table in section.tables:
            for cell in (table.caption, *table.header, *(c for row in table.rows for c in row)):
                assert cell in cells


def test_all_that_is_said_is_there(page):
    report, shown = rich_report(), page.shown
    said = [*report.remarks, *(word for pair in report.about for word in pair)]
    for section in report.sections:
        said += [section.title, *section.verdict, *section.text, *section.skipped, *section.how]
        said += [p.caption for p in section.pictures] + [c.title for c in section.charts]
    for sentence in said:
        assert sentence in shown


def test_pictures_are_part_of_the_page(page):
    first, _ = page.all("img")
    kind, _, data = first["src"].partition(",")
    assert kind == "data:image/png;base64"
    with PIL.Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert (np.asarray(image) == picture().pixels).all()
    assert (first["width"], first["height"]) == ("320", "240")
    assert first["alt"] == "A photo with 3 of 36 cells marked."


def test_huge_pictures_are_made_smaller():
    section = Section("a", "A", pictures=(picture(3000, 2000),))
    (image,) = Page(html(Report("x", sections=(section,)))).all("img")
    assert (image["height"], image["width"]) == (str(LARGEST), str(round(LARGEST * 2 / 3)))


def test_charts_that_say_more_than_the_tables_can_be_read_as_a_table(page):
    summaries = page.said("summary")
    charts = [chart for section in rich_report().sections for chart in section.charts]
    assert len(page.all("svg")) == len(charts)
    assert len(summaries) == len(page.all("details")) == 4
    said = Section("a", "A", tables=(Table(("x", "y"), (("1", "22.5"),)),),
                   charts=(Chart("t", "x", "y", (Series("s", (1,), (22.5,)),)),))  # fmt: skip
    assert not Page(html(Report("x", sections=(said,)))).all("details")


def test_figures_as_json_come_back_as_they_were():
    facts = {
        "text": EVIL, "none": None, "nan": math.nan, "deep": [{"inf": -math.inf, "n": 138357544}],
        "small": 3.1e-15, "line": "\u2028",
    }  # fmt: skip
    page = Page(html(Report("x", facts=facts)))
    (text,) = page.said("script")
    read = json.loads(text, parse_constant=lambda name: 1 / 0)
    assert read == {**facts, "nan": None, "deep": [{"inf": None, "n": 138357544}]}
    assert not set("<>&") & set(text)


def test_hostile_words_stay_words():
    table = Table((EVIL, EVIL), ((EVIL, EVIL),), EVIL)
    chart = Chart(EVIL, EVIL, EVIL, (Series(EVIL, (1, 2), (3, 4)),), alt=EVIL)
    bars = replace(chart, bars=True, ticks=(EVIL, EVIL, EVIL))
    pixels = np.zeros((4, 4, 3), np.uint8)
    section = Section(
        EVIL, EVIL, (EVIL,), (EVIL,), (table,), (chart, bars), (Picture(pixels, EVIL, EVIL),),
        {}, (EVIL,), (EVIL,),
    )  # fmt: skip
    text = html(Report(EVIL, EVIL, ((EVIL, EVIL),), (EVIL,), (section, section), {EVIL: EVIL}))
    page = Page(text)
    assert len(page.all("script")) == 1
    assert len(page.all("img")) == 2
    assert all("onerror" not in attributes for _, attributes in page.elements)
    assert "49" not in page.said("h1")[0]
    assert page.said("h1") == [EVIL]
    assert page.said("title")[0] == f"Audit of {EVIL}"
    assert EVIL in page.said("td")


def test_two_sections_of_one_name_do_not_share_ids():
    section = Section(
        "a b", "A", ("Yes.",), charts=(Chart("t", "x", "y", (Series("s", (1,), (1,)),)),)
    )
    page = Page(html(Report("x", sections=(section, section, Section("", "B", ("No.",))))))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_an_empty_report_and_empty_sections_are_pages():
    page = Page(html(Report("x")))
    assert page.said("h1") == ["x"]
    assert not page.all("section")
    empty = Section(
        "a",
        "Alone?",
        tables=(Table((), ()), Table(("a", "b"), ())),
        charts=(Chart("t", "x", "y", ()),),
    )
    page = Page(html(Report("x", sections=(empty,))))
    assert page.said("h2") == ["Alone?"]
    assert not page.all("svg")
    assert not page.all("figure")


def test_a_section_that_was_left_out_says_so(page):
    assert "Left out. Only one image was given." in page.shown


def test_words_that_no_page_can_hold():
    lost = "caf\udce9 \x00\x1b"
    html(Report(lost, sections=(Section("a", lost, (lost,)),))).encode()


def test_numbers_stay_with_their_units():
    assert glued("at 896 px, 8.3 % of 12 cells in 3 s, 3 sizes") == (
        "at 896\u00a0px, 8.3\u00a0% of 12\u00a0cells in 3\u00a0s, 3 sizes"
    )


def test_the_reason_follows_the_headline_line_by_line():
    page = Page(html(Report("x", "No: it cannot.\nfft: no rule.\n    extend(fft)  # <b>")))
    assert page.said("p")[1:4] == ["No: it cannot.", "fft: no rule.", "    extend(fft)  # <b>"]
    assert [a.get("class") for a in page.all("p")][1:4] == ["headline", "reason", "reason"]
