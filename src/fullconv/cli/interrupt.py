"""Ctrl-C, also while one operation of PyTorch runs for a minute."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fullconv.cli.answers import say

INTERRUPTED = 130


@contextmanager
def at_once() -> Iterator[None]:
    """Let Ctrl-C end the program at once; nothing may be half written meanwhile."""
    with _watched(_end):
        yield


@contextmanager
def deferred(step: str) -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait for the end of a step, named by `step`: what is given says whether it came.

    A second one ends the program at once; nothing may be half written meanwhile.
    """
    came, told = threading.Event(), threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if not _main_thread() or before is None or before == signal.SIG_IGN:
        yield came.is_set  # where signals are not for us
        return

    def pressed() -> None:
        if told.is_set():
            _end()
        told.set()
        say(f"stopping after {step}; Ctrl-C again stops at once")

    def note(number: int, frame: FrameType | None) -> None:
        if came.is_set() and not watched:
            raise KeyboardInterrupt
        came.set()

    with _watched(pressed) as watched:
        signal.signal(signal.SIGINT, note)
        try:
            yield came.is_set
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _watched(pressed: Callable[[], None]) -> Iterator[bool]:
    """Call `pressed` at every Ctrl-C, in a thread of its own; whether that can be.

    Python itself waits for the end of an operation before it looks at signals. They are also
    written to a pipe, and a thread that waits there need not wait for the operation.
    """
    if os.name == "nt" or not _main_thread():
        yield False  # where signals do not come by such a pipe
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        while signals := os.read(reader, 64):
            for _ in range(signals.count(signal.SIGINT)):
                pressed()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield True
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)  # the thread reads an end
        watcher.join()
        os.close(reader)


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _end() -> None:
    say("interrupted")
    os._exit(INTERRUPTED)
