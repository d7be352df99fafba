from page_reports import rich_report

from fullconv.auditing.pages.report import Report
from fullconv.auditing.pages.text import text, verdict
from fullconv.auditing.section import Section, Table


def one_line(shown: str) -> str:
    return " ".join(shown.split())


def test_every_figure_of_every_table_is_there(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    shown = one_line(text(rich_report()))
    for section in rich_report().sections:
        for table in section.tables:
            for row in table.rows:
                assert one_line(" ".join(row)) in shown
            assert table.caption in shown


def test_figures_stand_under_each_other(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    lines = text(rich_report()).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("network "))
    rows = lines[start + 2 : start + 5]
    assert (
        len(
            {
                line.index(end) + len(end)
                for line, end in zip(rows, ("553.4", "553.4", "60.9"), strict=True)
            }
        )
        == 1
    )


def test_the_verdict_is_first_and_alone_too():
    report = rich_report()
    shown = text(report)
    assert shown.startswith(verdict(report))
    short = one_line(verdict(report))
    for section in report.sections:
        for sentence in section.verdict:
            assert sentence in short
    assert "Cells against crops" not in short
    assert report.remarks[0] in short


def test_no_line_is_wider_than_the_terminal(monkeypatch):
    for columns in (80, 100, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert max(map(len, text(rich_report()).splitlines())) <= columns


def test_numbers_stay_with_their_units():
    section = Section("k", "K", ("x" * 80 + " and 8.3 % of it.",))
    for shown in (
        text(Report("x", sections=(section,))),
        verdict(Report("x", sections=(section,))),
    ):
        assert "8.3 %" in shown
        assert "\u00a0" not in shown


def test_all_that_is_said_is_there():
    shown = one_line(text(rich_report()))
    for section in rich_report().sections:
        for sentence in (
            section.title,
            *section.verdict,
            *section.text,
            *section.skipped,
            *section.how,
        ):
            assert sentence in shown
        for picture in section.pictures:
            assert picture.caption in shown
    assert "Left out: Only one image was given." in shown


def test_nothing_moves_the_cursor():
    evil = "a\x1b[2J\rb\x00\u202e"
    section = Section(
        "k", evil, (evil,), (evil,), (Table((evil, evil), ((evil, evil),), evil),), skipped=(evil,)
    )
    shown = text(Report(evil, evil, ((evil, evil),), (evil,), (section,)))
    assert all(char == "\n" or char.isprintable() for char in shown)


def test_an_empty_report():
    assert text(Report("x")) == "Audit of x\n"
