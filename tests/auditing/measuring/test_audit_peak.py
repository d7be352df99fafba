"""The peak of the memory, as the system tells it."""

import sys

import pytest
import torch
from torch import nn

import fullconv
from fullconv.api.counting import peak_bytes
from fullconv.api.memory import Budget
from fullconv.auditing.measuring import peak
from fullconv.auditing.measuring.passes import train, trainable, training_bytes
from fullconv.auditing.measuring.peak import peak_of

MIB = 2**20

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a run")


@linux
def test_what_is_held_for_a_moment_counts():
    def run():
        held = [torch.ones(40 * MIB // 4) for _ in range(3)]
        del held
        return torch.ones(10 * MIB // 4)

    for _ in range(2):  # what was held before counts no more
        found = peak_of(run)
        assert found is not None
        assert 118 * MIB < found < 140 * MIB
    assert 0 <= peak_of(lambda: None) < 8 * MIB


@linux
def test_measured_is_what_was_counted():
    """Forward and in training, with maps of 20 MiB; and the allocator keeps what it is known to."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4),
    ).eval()  # fmt: skip
    fcn = fullconv.convert(model, 16)
    fast, twin, shape = fcn.optimize(), trainable(fcn), (1, 3, 400, 400)
    for run, counted in (
        (lambda: fast(torch.ones(shape)), peak_bytes(fast, shape)),
        (lambda: train(twin, torch.ones(shape)), training_bytes(twin, shape).peak),
    ):
        run()
        found = peak_of(run)
        assert found is not None
        assert counted > 35 * MIB
        bound = Budget(fcn, limit=1).with_allocator(counted)
        assert 0.7 * counted < found < 1.2 * bound < 3 * counted + 40 * MIB


@pytest.mark.parametrize("missing", ["STATUS", "REFS"])
def test_a_system_that_does_not_tell(monkeypatch, tmp_path, missing):
    monkeypatch.setattr(peak, missing, tmp_path / "none" / "none")
    ran = []
    assert peak_of(lambda: ran.append(1)) is None
    assert ran == [1]
    assert not peak.tells_peak()
