"""Fixtures for every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# How long an example takes says more about the machine than about the code. The same examples in
# every run: a change must not fail for what it did not touch. The nightly run looks for new ones.
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def data() -> Path:
    """Real weights, photos and data sets; tests that need them are skipped where they are not."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("FULLCONV_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data is not at {folder}")
    return folder


@pytest.fixture(autouse=True)
def repeatable():
    """The same weights in every run, whichever tests run."""
    torch.manual_seed(0)


@pytest.fixture
def tables() -> Iterator[None]:
    """Whatever a test adds to fullconv's tables is gone after it."""
    from fullconv.api import extend

    held = (
        extend.FUNCTIONS, extend.MODULES, extend.RULES, extend.LOOKS_AROUND, extend.WRITERS,
        extend.TYPES,
    )  # fmt: skip
    before: list[dict] = [dict(table) for table in held]
    yield
    for table, entries in zip(held, before, strict=True):
        table.clear()
        table.update(entries)
