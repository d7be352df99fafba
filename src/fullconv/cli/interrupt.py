"""Ctrl-C, also while one operation of PyTorch runs for a minute."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fullconv.cli.answers import say

INTERRUPTED = 130


@contextmanager
def at_once() -> Iterator[None]:
    """Let Ctrl-C end the program at once; nothing may be half written meanwhile.

    Python itself waits for the end of an operation before it looks at signals. They are also
    written to a pipe, and a thread that waits there need not wait for the operation.
    """
    if os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield  # where signals do not come by such a pipe
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def watch() -> None:
        while signals := os.read(reader, 64):
            if signal.SIGINT in signals:
                say("interrupted")
                os._exit(INTERRUPTED)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)  # the thread reads an end
        watcher.join()
        os.close(reader)
