import re

import pytest
from page_reports import rich_report

from fullconv.auditing.pages.markdown import anchor, escaped, markdown
from fullconv.auditing.pages.report import Report
from fullconv.auditing.section import Chart, Section, Series, Table


def cells(text: str) -> list[list[str]]:
    """The rows of all tables."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_every_figure_of_every_table_is_there():
    rows = cells(markdown(rich_report()))
    for section in rich_report().sections:
        for table in section.tables:
            for row in (table.header, *table.rows):
                assert list(row) in rows


def test_every_table_is_one_to_github():
    lines = markdown(rich_report()).splitlines()
    for index, line in enumerate(lines):
        if re.fullmatch(r"\|---(\|---:)*\|", line):
            assert lines[index - 2] == ""
            wide = line.count("|")
            length = 0
            while lines[index + 1 + length].startswith("|"):
                assert len(re.findall(r"(?<!\\)\|", lines[index + 1 + length])) == wide
                length += 1
            assert len(re.findall(r"(?<!\\)\|", lines[index - 1])) == wide
            assert length > 0


def test_every_sentence_of_the_verdict_is_at_the_top_and_links_to_its_section():
    text = markdown(rich_report())
    top = text.split("## Is it the same function?")[0]
    for section in rich_report().sections:
        for sentence in section.verdict:
            assert sentence in top
        if section.verdict:
            assert f"[{section.title}](#{anchor(section.title)})" in top
    headings = [anchor(line[3:]) for line in text.splitlines() if line.startswith("## ")]
    assert set(re.findall(r"\]\(#([^)]+)\)", top)) <= set(headings)


def test_charts_are_tables_where_they_say_more():
    text = markdown(rich_report())
    assert "What finer strides cost: times the MACs of the native stride" in text
    assert ["4", "42.5"] in cells(text)
    said = Section("a", "A", tables=(Table(("x", "y"), (("1", "22.5"),)),),
                   charts=(Chart("t", "x", "y", (Series("s", (1,), (22.5,)),)),))  # fmt: skip
    assert len(cells(markdown(Report("x", sections=(said,))))) == 2


def test_what_was_left_out_and_how_is_said():
    text = markdown(rich_report())
    assert "Left out: Only one image was given." in text
    assert "How: Each layer alone, on its input at the window." in text
    assert "> The pretrained weights could not be fetched" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mobilenet_v2", "mobilenet_v2"),
        ("_all_ __init__", r"\_all\_ \_\_init\_\_"),
        ("a|b", r"a\|b"),
        ("<script>&amp;", "&lt;script&gt;&amp;amp;"),
        ("*x* `y` [z](u) ~~w~~ $a$", r"\*x\* \`y\` \[z\](u) \~\~w\~\~ \$a\$"),
        ("back\\slash", r"back\\slash"),
        ("two\nlines\r\n\n| x", r"two lines \| x"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("- no list", r"\- no list"),
        ("3.1 % of it", "3.1 % of it"),
    ],
)
def test_words_are_shown_as_they_stand(text, shown):
    assert escaped(text) == shown


def test_hostile_names_break_no_table():
    evil = "a|b\n| - | <img src=x> \\"
    text = markdown(
        Report(
            evil,
            sections=(Section("k", evil, (evil,), tables=(Table(("a", "b"), ((evil, "1"),)),)),),
        )
    )
    assert "<img" not in text
    assert len(cells(text)) == 2
    assert all(len(row) == 2 for row in cells(text))


def test_an_empty_report():
    assert markdown(Report("x")).startswith("# Audit of x\n\nMade by fullconv ")


def test_the_reason_follows_the_headline_line_by_line():
    text = markdown(Report("x", "No: it cannot.\n- fft: no rule.\n    extend(fft)  # if so"))
    assert "**No: it cannot.**\n\n\\- fft: no rule.\n\nextend(fft) # if so\n" in text
