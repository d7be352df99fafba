"""Progress on stderr: lines in a log, a bar on a terminal, nothing for short jobs."""

import io

import pytest

from fullconv.cli.progress import Progress, per_second, span


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(clock):
    log = io.StringIO()
    with Progress("images", 400, stream=log, clock=clock) as progress:
        for done in range(1, 401):
            clock.now += 0.0625  # 16 images a second, 25 s in all
            progress(done)
    assert log.getvalue() == (
        "160 of 400 images, 16.0/s, 15 s left\n"
        "320 of 400 images, 16.0/s, 5 s left\n"
        "400 of 400 images in 25 s, 16.0/s\n"
    )


def test_what_was_done_before_counts_for_no_rate(clock):
    log = io.StringIO()
    with Progress("epochs", goes_on=True, stream=log, clock=clock) as progress:
        progress(300, 400)
        for done in range(301, 401):
            clock.now += 0.25  # 4 epochs a second, 25 s for the last hundred
            progress(done, 400)
    assert log.getvalue() == (
        "340 of 400 epochs, 4.0/s, 15 s left\n"
        "380 of 400 epochs, 4.0/s, 5 s left\n"
        "400 of 400 epochs in 25 s, 4.0/s\n"
    )


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_a_short_job_says_nothing(stream, clock):
    with Progress("images", 10, stream=stream, clock=clock) as progress:
        for done in range(11):
            clock.now += 0.08
            progress(done)
    assert stream.getvalue() == ""


def test_a_total_may_come_later_and_nothing_need_be_done_yet(clock):
    log = io.StringIO()
    with Progress("crops", stream=log, clock=clock) as progress:
        clock.now += 11
        progress(0, 9000)
        clock.now += 11
        progress(4500, 9000)
    assert log.getvalue().splitlines()[:2] == [
        "0 of 9,000 crops",
        "4,500 of 9,000 crops, 205/s, 22 s left",
    ]


def test_a_job_that_fails_claims_no_end(clock):
    log = io.StringIO()
    with (
        pytest.raises(ZeroDivisionError),
        Progress("images", 4, stream=log, clock=clock) as progress,
    ):
        clock.now += 30
        progress(1)
        raise ZeroDivisionError
    assert log.getvalue() == "1 of 4 images, 2.0/min, 1 min 30 s left\n"


def test_a_terminal_has_a_bar_that_goes_away_and_keeps_the_cursor(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    with Progress("images", 400, stream=terminal, clock=clock) as progress:
        clock.now += 20
        progress(200)
        clock.now += 20
        progress(400)
    shown = terminal.getvalue()
    assert "images" in shown
    assert "400/400" in shown
    assert "10.0/s" in shown
    assert "\x1b[?25l" not in shown  # hides the cursor
    assert shown.rstrip("\r").endswith("\x1b[2K")  # the line is erased


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (11520, "3 h 12 min")],
)
def test_times(seconds, words):
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("rate", "words"), [(1234.5, "1,234/s"), (99.94, "99.9/s"), (1.0, "1.0/s"), (0.5, "30.0/min")]
)
def test_rates(rate, words):
    assert per_second(rate) == words


@pytest.mark.parametrize("answers", [Terminal(), io.StringIO(), None])
def test_no_bar_where_a_terminal_shows_the_answers(answers, clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        with Progress("images", 400, answers=answers, stream=stream, clock=clock) as progress:
            clock.now += 20
            progress(200)
    assert (terminal.getvalue() == "") == isinstance(answers, Terminal)
    assert log.getvalue().startswith("200 of 400 images")
