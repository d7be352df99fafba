"""Fixtures for what scores many images."""

import pytest

from fullconv.evaluate.dense import batches


@pytest.fixture
def patient(monkeypatch):
    """However slow this machine is, the network waits for images that are not decoded yet."""
    monkeypatch.setattr(batches, "PATIENCE", 60.0)
