"""The machine and the versions a figure belongs to; nothing that tells which machine it is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

import torch

import fullconv
from fullconv.auditing.machine import cpu_name

LIBRARIES = ("torch", "torchvision", "timm", "monai")


def describe(device: str = "cpu") -> dict[str, str]:
    """What the figures depend on, by name, in words."""
    kind = torch.backends.cpu.get_cpu_capability()
    about = {
        "processor": f"{cpu_name()}, {os.cpu_count()} cores, {kind}"
        + (", bf16 instructions" if has_bf16() else ", no bf16 instructions"),
        "threads": str(torch.get_num_threads()),
        "memory": f"{memory() / 2**30:.0f} GiB",
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }
    if torch.device(device).type == "cuda":
        about["gpu"] = torch.cuda.get_device_name(device)
        about["cuda"] = str(torch.version.cuda)
    return about


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 numbers itself."""
    found = torch.cpu.get_capabilities()
    return any(bool(value) for name, value in found.items() if name.endswith("bf16"))


def memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def version(package: str) -> str:
    """Of an installed package, without its build; "not installed" if it is not."""
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def code() -> str:
    """Of fullconv itself, as a hash: whether a figure is of the code that is here now."""
    found = hashlib.sha256()
    for path in sorted(Path(fullconv.__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
