"""Fixtures of the tests of scans."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fullconv.scanning import room

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder, in memory where there is such a thing: chunks are flushed to the disk."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="fullconv-tests-", dir=MEMORY))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def strip_by_strip(monkeypatch) -> None:
    """Every strip of a band is a chunk of its own."""
    monkeypatch.setattr(room, "CHUNK", 1)
