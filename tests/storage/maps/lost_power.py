"""What is on a disk after a power cut, as far as it was flushed.

Of everything that was not flushed, each part may be there or not: names in a folder, and the first
half, all or none of what a file holds.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any


class Disk:
    """Follows what is flushed under a folder (Linux)."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root, self._random = root, random.Random(seed)
        self._names: dict[Path, dict[str, int]] = {root: {}}
        self._contents: dict[int, bytes] = {}
        self._held: list[int] = []  # so that no number of an inode is used twice

    def step(self, name: str, argument: Any) -> None:
        """A step that `disk_events` tells of."""
        if name != "fsync":
            return
        path = Path(os.readlink(f"/proc/self/fd/{argument}"))
        if path.is_dir():
            self._names[path] = {entry.name: entry.stat().st_ino for entry in path.iterdir()}
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()
            self._held.append(os.dup(argument))

    def after_the_cut(self, target: Path) -> None:
        """Make `target` what is there when the power is back."""
        inodes = {path.stat().st_ino: path for path in self._root.rglob("*")}
        self._restore(self._root, target, inodes)

    def _restore(self, folder: Path, target: Path, inodes: dict[int, Path]) -> None:
        target.mkdir()
        flushed = self._names.get(folder, {})
        now = {entry.name: entry.stat().st_ino for entry in folder.iterdir()}
        for name in {**flushed, **now}:
            inode = self._random.choice([flushed.get(name), now.get(name)])
            if inode is None:
                continue
            path = inodes.get(inode)
            if path is not None and path.is_dir():
                self._restore(path, target / name, inodes)
                continue
            flushed_bytes = self._contents.get(inode)
            written = flushed_bytes or b"" if path is None else path.read_bytes()
            if flushed_bytes == written:
                (target / name).write_bytes(written)
                continue
            old = flushed_bytes or b""
            choices = [old, written, written[: len(written) // 2], bytes(len(written))]
            if flushed_bytes is not None:  # what was appended; what was flushed stays
                tail = written[len(old) :]
                choices = [old, written, old + tail[: len(tail) // 2], old + bytes(len(tail))]
            (target / name).write_bytes(self._random.choice(choices))
