"""The machine and the versions that figures belong to."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

import fullconv


def describe(device: torch.device) -> dict[str, str]:
    """What figures depend on, by name, in words; nothing that tells which machine it is."""
    about = {
        "fullconv": fullconv.__version__,
        "torch": torch.__version__.partition("+")[0],
        "python": platform.python_version(),
        "device": device.type,
        "processor": f"{cpu_name()}, {os.cpu_count()} cores",
        "threads": str(torch.get_num_threads()),
    }
    if device.type == "cuda":
        about["gpu"] = torch.cuda.get_device_name(device)
    return about


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, from Linux or else from Python."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
