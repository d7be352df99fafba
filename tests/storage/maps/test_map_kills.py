"""A process that is killed, or whose power is cut, loses no chunk that it had written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="forks, and reads /proc"
)


def driven(how: str, folder: Path, runs: int = 0) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(HERE / "map_driver.py"), how, str(folder), str(runs)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_killed_at_every_step_on_the_disk(memory_disk):
    done = driven("every-step", memory_disk)
    assert done["steps"] > 60  # of each chunk: two files, and a line of the journal


@pytest.mark.parametrize("seed", range(20 if NIGHTLY else 1))
def test_no_power_at_any_step(seed, memory_disk):
    """What was not flushed may be lost; what was reported as written was flushed."""
    done = driven("power", memory_disk, seed)
    assert done["steps"] > 60


def test_killed_at_random_moments(memory_disk):
    runs = 1000 if NIGHTLY else 60
    done = driven("random", memory_disk, runs)
    assert done["runs"] == runs
    assert done["kills"] > runs / 2
