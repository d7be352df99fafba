"""How far a scan is: lines in a log, a bar on a terminal, events for programs."""

import io
import json

from test_progress import Clock, Terminal

from fullconv.cli.commands.scan_progress import ScanProgress, words
from fullconv.scanning.summary import Standing


def standing(share: float, seconds: float = 10.0) -> Standing:
    total = 3_000_000_000
    done = round(share * total)
    rate = done / seconds
    left = (total - done) / rate if rate else None
    return Standing(done, total, rate, seconds, left, int(100 * share), 3 << 29)


def test_the_words():
    assert words(standing(0.25, 150)) == "25.0% of 3,000 Mpx, 5 Mpx/s, 7 min 30 s left, 1.5 GiB"
    assert words(standing(0)) == "0.0% of 3,000 Mpx, 1.5 GiB"
    small = Standing(50_000, 200_000, 1e6, 0.05, 0.15, 1, 1 << 20)
    assert words(small) == "25.0% of 0.2 Mpx, 1 Mpx/s, 0 s left, 1.0 MiB"


def test_a_log_gets_a_line_every_ten_seconds():
    clock, log = Clock(), io.StringIO()
    with ScanProgress(stream=log, clock=clock) as progress:
        for step in range(1, 31):
            clock.now += 1
            progress(standing(step / 30, step))
    assert [line.split(",")[0] for line in log.getvalue().splitlines()] == [
        "33.3% of 3", "66.7% of 3", "100.0% of 3",
    ]  # fmt: skip
    assert progress.last == standing(1.0, 30)


def test_a_terminal_gets_a_bar_that_goes_away():
    clock, terminal = Clock(), Terminal()
    with ScanProgress(stream=terminal, clock=clock) as progress:
        progress(standing(0.1))
        assert terminal.getvalue() == ""  # short scans have none
        clock.now += 2
        progress(standing(0.5))
    assert "50.0% of 3,000 Mpx" in terminal.getvalue()
    assert "\x1b[?25l" not in terminal.getvalue()


def test_programs_get_events(capsys):
    with ScanProgress(events=True) as progress:
        progress(standing(0.0))
    assert json.loads(capsys.readouterr().out) == {
        "event": "progress", "px": 0, "total": 3_000_000_000, "rate": 0.0, "seconds": 10.0,
        "left": None, "chunks": 0, "memory": 3 << 29, "share": 0.0,
    }  # fmt: skip
