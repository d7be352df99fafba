"""The memory a machine has left, and amounts of memory in words."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from fullconv.errors import UsageError
from fullconv.storage.amounts import written_bytes

__all__ = [
    "available_bytes",
    "parse_bytes",
    "peak_resident_bytes",
    "resident_bytes",
    "written_bytes",
]

_UNITS = {"": 1}
for _power, _letter in enumerate("kmgt", 1):
    _UNITS |= {_letter: 1024**_power, f"{_letter}ib": 1024**_power, f"{_letter}b": 1000**_power}
_UNITS["b"] = 1
_UNLIMITED = 2**60
"""What version 1 of control groups says where there is no limit is above this."""


def parse_bytes(text: str) -> int:
    """`"2GiB"`, `"500MB"`, `"1.5g"` (of 1024³) or plain bytes as a number.

    Raises UsageError for anything else, and for less than one byte.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)", text.strip().lower(), re.ASCII)
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None or int(float(match[1]) * unit) < 1:
        raise UsageError(
            f"{text!r} is no amount of memory.",
            hint="Write it like 2GiB, 500MB, 1.5g or 800000000.",
        )
    return int(float(match[1]) * unit)


def available_bytes(
    meminfo: Path = Path("/proc/meminfo"),
    own: Path = Path("/proc/self/cgroup"),
    groups: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Bytes that a process can still take before the system must kill something.

    On Linux the least of what the kernel says is available and of what the control groups (v2 and
    v1) around the process leave; elsewhere all memory the machine has.
    """
    found = []
    for line in _lines(meminfo):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    for line in _lines(own):
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            names = ("memory.max", "memory.current", "inactive_file")
            found += _left(groups, path, *names)
        elif "memory" in kinds.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            found += _left(groups / "memory", path, *names)
    if found:
        return max(0, min(found))
    ask = getattr(os, "sysconf", None)
    if ask is None:  # Windows does not say; nothing is refused there without a limit
        return sys.maxsize
    return int(ask("SC_PHYS_PAGES")) * int(ask("SC_PAGE_SIZE"))


def status_bytes(entry: str, status: Path = Path("/proc/self/status")) -> int | None:
    """What Linux says of this process, in bytes: `VmRSS` or `VmHWM`. None elsewhere."""
    for line in _lines(status):
        if line.startswith(f"{entry}:"):
            return int(line.split()[1]) * 1024
    return None


def resident_bytes() -> int:
    """Bytes of memory that this process holds, libraries included; elsewhere than on Linux its
    peak so far."""
    held = status_bytes("VmRSS")
    return peak_resident_bytes() if held is None else held


def give_back_freed() -> None:
    """Let memory that was freed go back to the system, where its C library can be told to."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def peak_resident_bytes() -> int:
    """The most bytes that this process has held so far; 0 where the system does not tell."""
    most = status_bytes("VmHWM")
    if most is not None:  # what Linux says through getrusage counts the process that started it
        return most
    try:
        import resource
    except ImportError:  # Windows
        return 0
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else 1024 * found


def _lines(path: Path) -> list[str]:
    """Those of a file the kernel writes; none where there is no such file."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _left(root: Path, path: str, limit: str, used: str, cached: str) -> list[int]:
    """What every group from `path` up to the root leaves; cached file pages count as free."""
    folder = root / path.strip("/")
    found = []
    for group in (folder, *folder.parents):
        if not group.is_relative_to(root):
            break
        most, now = _lines(group / limit), _lines(group / used)
        if not most or not now or not most[0].isdigit() or int(most[0]) >= _UNLIMITED:
            continue
        pairs = (line.split() for line in _lines(group / "memory.stat"))
        freed = sum(int(value) for name, value in pairs if name == cached)
        found.append(int(most[0]) - int(now[0]) + freed)
    return found
