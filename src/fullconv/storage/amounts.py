"""Amounts of memory in words."""

from __future__ import annotations


def written_bytes(count: int) -> str:
    """A number of bytes for people: `"1.5 GiB"`."""
    amount, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1023.95:
            break
        amount, unit = amount / 1024, larger
    return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
