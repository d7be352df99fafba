"""Ctrl-C that waits for the end of a step."""

import os
import signal
import threading
from contextlib import nullcontext

import pytest

from fullconv.cli import interrupt
from fullconv.cli.interrupt import deferred


def press() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    """The handler of Python, whatever the tests run under."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def said(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(interrupt, "say", lines.append)
    return lines


@pytest.mark.skipif(os.name == "nt", reason="signals come by no pipe")
def test_the_first_is_noted_and_the_second_ends_the_program(said, monkeypatch):
    ended = threading.Event()

    def leave(code: int) -> None:
        said.append(f"exit {code}")
        ended.set()

    monkeypatch.setattr(os, "_exit", leave)
    with deferred("the image at hand") as came:
        assert not came()
        press()
        assert came()
        assert not ended.wait(0.05)
        press()
        assert ended.wait(20)
    told = "stopping after the image at hand; Ctrl-C again stops at once"
    assert said[:3] == [told, "interrupted", "exit 130"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_pipe_the_second_interrupts_as_usual(said, monkeypatch):
    monkeypatch.setattr(interrupt, "_watched", lambda pressed: nullcontext(False))
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred("the image at hand") as came:
        press()
        steps.append(came())
        press()
        steps.append("never")
    assert steps == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_any_nothing_is_changed(said):
    with deferred("the image at hand") as came:
        pass
    assert not came()
    assert said == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_that_ignores_it_goes_on_doing_so(said):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred("the image at hand") as came:
        press()
        assert not came()
    assert said == []


def test_another_thread_gets_no_signals():
    found = []

    def work() -> None:
        with deferred("the image at hand") as came:
            found.append(came())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
