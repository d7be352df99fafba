"""Fixtures for every test."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("fullconv", deadline=None)
settings.load_profile("fullconv")


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
