"""The memory that a run takes, as the system tells it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import torch

from fullconv.api.machine import give_back_freed, status_bytes

STATUS, REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(run: Callable[[], object], device: str | torch.device = "cpu") -> int | None:
    """The most bytes held at once while `run` runs, beside those held before.

    On Linux what the process has in memory, libraries and what the allocator keeps with it; on a
    GPU what PyTorch has allocated there. None where the system does not tell. Other work in the
    same process counts too.
    """
    device = torch.device(device)
    gc.collect(1)  # a whole collection takes longer than many a run
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    held = _resident() if device.type == "cpu" and _reset() else None
    run()
    most = None if held is None else _entry("VmHWM")
    return None if most is None or held is None else max(0, most - held)


def tells_peak(device: str | torch.device = "cpu") -> bool:
    """Whether the peak of a run can be measured there."""
    return peak_of(lambda: None, device) is not None


def _resident() -> int | None:
    return _entry("VmRSS")


def _reset() -> bool:
    """Let the peak so far be what there is now; whether the system lets us."""
    # What was freed goes back to the system. What another C library keeps is not counted again.
    give_back_freed()
    try:
        REFS.write_text("5")
    except OSError:
        return False
    return True


def _entry(name: str) -> int | None:
    return status_bytes(name, STATUS)
