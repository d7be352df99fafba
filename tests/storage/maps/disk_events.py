"""Every step that fullconv takes on a disk, so that a test can stop it, or let it fail, at each.

Writes are two steps, the halves of what is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

Step = Callable[[str, Any], None]


@contextmanager
def watched(step: Step) -> Iterator[None]:
    """Call `step(name, argument)` before each step."""
    open_, fsync, replace, mkdir = os.open, os.fsync, os.replace, os.mkdir
    open_path = Path.open

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            step("open", path)
        return open_(path, flags, *more, **named)

    def synced(handle: int) -> None:
        step("fsync", handle)
        fsync(handle)

    def replaced(old: Any, new: Any) -> None:
        step("replace", new)
        replace(old, new)

    def made(path: Any, *more: Any, **named: Any) -> None:
        step("mkdir", path)
        mkdir(path, *more, **named)

    def halves(write: Callable[[Any], int], path: Any, data: bytes) -> int:
        step("write", path)
        middle = len(data) // 2
        write(data[:middle])
        step("write", path)
        return middle + write(data[middle:])

    def write_bytes(path: Path, data: bytes) -> int:
        with open_path(path, "wb", buffering=0) as file:
            return halves(file.write, path, data)

    class Halved:
        """A file that is opened to be changed in place."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, data: Any) -> int:
            return halves(self._file.write, self._file.name, bytes(data))

        def truncate(self, size: int) -> None:
            step("truncate", self._file.name)
            self._file.truncate(size)

        def __enter__(self) -> Halved:
            return self

        def __exit__(self, *error: object) -> None:
            self._file.close()

    def path_open(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        file = open_path(path, mode, *more, **named)
        return Halved(file) if mode == "r+b" else file

    with (
        mock.patch.object(os, "open", opened),
        mock.patch.object(os, "fsync", synced),
        mock.patch.object(os, "replace", replaced),
        mock.patch.object(os, "mkdir", made),
        mock.patch.object(Path, "write_bytes", write_bytes),
        mock.patch.object(Path, "open", path_open),
    ):
        yield
