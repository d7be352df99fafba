"""The page in Chromium, at the width of a telephone and of a desk, in light and in dark."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from page_reports import rich_report

from fullconv.auditing.pages.html import html

pytest.importorskip("matplotlib", reason="charts need matplotlib")
api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
SIZES = {"telephone": (390, 844), "desk": (1280, 900)}

# Every piece of text with the contrast between its colour and what is behind it.
CONTRASTS = """() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = channels(color).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor, parts = channels(color);
      if (parts.length < 4 || parts[3] > 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !element.getClientRects().length) continue;
    if (element.closest("script, style, title, desc")) continue;
    const style = getComputedStyle(element);
    const color = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(color), light(behind(element))].sort((x, y) => y - x);
    found.push({text, ratio: (a + 0.05) / (b + 0.05), size: parseFloat(style.fontSize) *
      (element instanceof SVGElement ? element.getScreenCTM().a : 1)});
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with api.sync_playwright() as playwright:
        # Without its sandbox, which root may not use; the page is our own.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html(rich_report()), encoding="utf-8")
    return path


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(params=SIZES)
def page(request, scheme, browser, report):
    """The page, open; what it asked for and complained about is in `page.asked`, `page.said`."""
    width, height = SIZES[request.param]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.asked, page.said = [], []
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(report.as_uri())
    yield page
    page.close()


def test_it_asks_for_nothing_and_complains_of_nothing(page, report):
    assert [url for url in page.asked if not url.startswith("data:")] == [report.as_uri()]
    assert page.said == []


def test_the_page_does_not_move_sideways(page):
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= page.viewport_size["width"]
    # Nor is anything cut off, but tables, which move within themselves.
    out = page.evaluate(
        """() => [...document.querySelectorAll("h1, h2, p, li, dd, svg, img, summary, .scroll")]
        .filter(e => e.getClientRects().length)
        .filter(e => e.getBoundingClientRect().right > innerWidth || e.getBoundingClientRect().left < 0)
        .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert out == []


def test_text_stands_out_and_is_large_enough(page):
    for part in page.query_selector_all("details"):
        part.evaluate("e => e.open = true")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 200
    assert [part for part in found if part["ratio"] < 4.5] == []
    assert [part for part in found if part["size"] < 9.5] == []


def test_the_scheme_is_the_readers(page, scheme):
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = sum(map(int, paper.removeprefix("rgb(").rstrip(")").split(","))) < 384
    assert dark == (scheme == "dark")


def test_lines_of_charts_stand_out(page):
    """At least 3:1, as for everything that has a meaning and is no text (WCAG 1.4.11)."""
    ratios = page.evaluate(
        """() => {
        const light = color => {
          const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        return [1, 2, 3, 4, 5, 6, 7].map(i => {
          const probe = document.createElement("i");
          probe.style.color = `var(--series-${i})`;
          document.body.append(probe);
          const [a, b] = [light(getComputedStyle(probe).color), paper].sort((x, y) => y - x);
          probe.remove();
          return (a + 0.05) / (b + 0.05);
        });
        }"""
    )
    assert min(ratios) >= 3


def test_every_picture_has_words_and_shows(page):
    pictures = page.evaluate(
        "[...document.images].map(e => [e.alt, e.complete && e.naturalWidth, e.getBoundingClientRect().width])"
    )
    assert len(pictures) == 2
    for alt, natural, wide in pictures:
        assert alt
        assert natural > 0
        assert 0 < wide <= page.viewport_size["width"]
    for chart in page.query_selector_all("svg"):
        assert chart.get_attribute("role") == "img"
        assert chart.evaluate(
            "e => document.getElementById(e.getAttribute('aria-labelledby').split(' ')[0]).textContent"
        )


def test_a_sentence_of_the_verdict_leads_to_its_section(page):
    page.click("text=A training step takes 1.21")
    top = page.evaluate("document.getElementById('pools').getBoundingClientRect().top")
    assert abs(top) < page.viewport_size["height"] / 2


def test_charts_of_one_page_do_not_lend_each_other_their_parts(page):
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    lost = page.evaluate(
        "[...document.querySelectorAll('use')].filter(e => !e.closest('svg').querySelector(e.getAttribute('href'))).length"
    )
    assert lost == 0


def test_the_contents_are_there_where_there_is_room(page):
    visible = page.is_visible("nav")
    assert visible == (page.viewport_size["width"] >= 1200)


def test_on_paper_it_is_black_on_white(browser, report):
    page = browser.new_page(color_scheme="dark")
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    style = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    page.close()
    assert style == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
