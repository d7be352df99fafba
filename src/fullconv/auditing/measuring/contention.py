"""Whether the threads that were timed had to wait for a core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TASKS = Path("/proc/self/task")

Spent = dict[str, tuple[int, int]]
"""Of every thread: nanoseconds that it ran, and that it was ready and waited for a core."""


def spent(tasks: Path = TASKS) -> Spent:
    """So far, on Linux; of no thread elsewhere."""
    found: Spent = {}
    for path in tasks.glob("*/schedstat"):
        try:
            ran, waited, *_ = path.read_text().split()
        except (OSError, ValueError):
            continue  # a thread that has ended meanwhile
        found[path.parent.name] = int(ran), int(waited)
    return found


@dataclass(frozen=True, slots=True)
class Waiting:
    """Threads from one moment to another: `before` is what `spent` said at the first."""

    before: Spent

    def share(self, tasks: Path = TASKS) -> float | None:
        """Share of their time that threads waited for a core; None where the system is silent."""
        ran = waited = 0
        for name, (ran_now, waited_now) in spent(tasks).items():
            ran_before, waited_before = self.before.get(name, (0, 0))
            ran, waited = ran + ran_now - ran_before, waited + waited_now - waited_before
        return waited / (ran + waited) if ran + waited > 0 else None


def since_now(tasks: Path = TASKS) -> Waiting:
    """Threads from now on."""
    return Waiting(spent(tasks))
