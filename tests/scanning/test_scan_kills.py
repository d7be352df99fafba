"""A scan that is killed at any moment goes on, and its map is that of one that was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
LINUX = sys.platform.startswith("linux")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


@pytest.mark.skipif(not LINUX, reason="forks")
def test_killed_at_random_moments(folder):
    runs = 1000 if NIGHTLY else 200
    done = subprocess.run(
        [sys.executable, str(HERE / "scan_driver.py"), str(folder), str(runs)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["runs"] == runs
    assert found["chunks"] == 12
    assert found["kills"] >= runs
    assert found["halfway"] > runs / 20
