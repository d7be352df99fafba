"""What a scan takes, as the system tells it, and what its plan says of that."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scans import network, noise

import fullconv
from fullconv.errors import InputError
from fullconv.scanning.scan import preview
from fullconv.storage.sources import DrawnSource

HERE = Path(__file__).parent
MIB = 2**20
LINUX = sys.platform.startswith("linux")

PROGRAM = """
import json, sys
import numpy as np, torch, fullconv
from scans import network
from fullconv.storage.sources import DrawnSource
torch.set_num_threads(1)
_, fcn, channels = network("padded")
fcn = fcn.optimize(dtype=torch.float32)
tall, wide, limit, target = *map(int, sys.argv[1:4]), sys.argv[4]
def draw(box):
    rows = np.arange(box[0], box[2])[:, None, None]
    return np.broadcast_to(rows % 251, (box[2] - box[0], box[3] - box[1], channels)).astype(np.uint8)
source = DrawnSource((tall, wide), channels, "uint8", draw)
done = fullconv.scan(fcn, source, target, max_memory=limit, mask=np.eye(2, dtype=bool))
(line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
peak = int(line.split()[1]) * 1024
assert abs(done.memory - peak) < 2**20, (done.memory, peak)
print(json.dumps({"peak": peak, "bands": done.plan.bands, "height": done.plan.height}))
"""


def measured(folder: Path, tall: int, wide: int, limit: int) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tall), str(wide), str(limit), str(folder / f"{tall}")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not LINUX, reason="peaks are those of Linux")
def test_memory_is_bounded_and_does_not_grow_with_the_height(folder):
    base = measured(folder, 50, 50, 2**34)["peak"]
    limit = base + 150 * MIB
    low = measured(folder, 2000, 3000, limit)
    tall = measured(folder, 7000, 3000, limit)
    assert low["peak"] < limit
    assert tall["peak"] < limit
    assert low["peak"] > base + 20 * MIB, "nothing was measured"
    assert (tall["bands"], tall["height"]) == (low["bands"], low["height"])
    assert abs(tall["peak"] - low["peak"]) < 0.05 * low["peak"]


def test_less_memory_makes_smaller_plans(monkeypatch):
    _, fcn, channels = network("padded")
    source = DrawnSource(
        (3000, 20000), channels, "uint8", lambda box: noise(box[2] - box[0], box[3] - box[1], 3)
    )
    monkeypatch.setattr("fullconv.scanning.room.resident_bytes", lambda: 300 * MIB)
    monkeypatch.setattr("fullconv.scanning.preview.resident_bytes", lambda: 300 * MIB)
    monkeypatch.setattr("fullconv.scanning.preview._seconds", lambda ready: 1.0)
    before = None
    for limit in (4096, 2048, 1024, 560):
        told = preview(fcn, source, max_memory=limit * MIB)
        assert 300 * MIB < told.memory <= limit * MIB
        strip = told.plan.height * told.plan.width
        assert before is None or strip <= before
        before = strip
        assert f"of the {limit / 1024:.1f} GiB" in str(told) or limit < 1000
    assert told.plan.bands > 1
    with pytest.raises(InputError) as little:
        preview(fcn, source, max_memory=310 * MIB)
    what, why = str(little.value).splitlines()
    assert what == "the drawn image: the scan does not fit into memory."
    assert why == (
        "Of the 310.0 MiB allowed the process holds 300.0 MiB already: libraries, weights, the "
        "image file. Allow more memory (max_memory, --max-memory), or free some."
    )


def test_without_a_limit_a_scan_takes_what_is_free(monkeypatch, folder):
    _, fcn, channels = network("padded")
    pixels = noise(100, 100, channels)
    monkeypatch.setattr("fullconv.scanning.room.available_bytes", lambda: 40 * MIB)
    with pytest.raises(InputError) as little:
        fullconv.scan(fcn, pixels, folder / "map")
    assert str(little.value).splitlines()[1] == (
        "36.0 MiB is free for it. Allow more memory (max_memory, --max-memory), or free some."
    )
    monkeypatch.setattr("fullconv.scanning.room.available_bytes", lambda: 400 * MIB)
    assert fullconv.scan(fcn, pixels, folder / "map").chunks == 1


def test_a_preview_tells_what_a_scan_does_and_writes_nothing(folder):
    _, fcn, channels = network("unpadded")
    pixels = noise(90, 80, channels)
    told = preview(fcn, pixels, folder / "map", strip=4, band=9)
    assert not (folder / "map").exists()
    done = fullconv.scan(fcn, pixels, folder / "map", strip=4, band=9)
    assert told.plan.to_dict() == done.plan.to_dict()
    assert told.difference < 1e-12
    assert 0 < told.seconds < 60
    # A map that is there says how it is gone on with.
    assert preview(fcn, pixels, folder / "map").plan.height == 4
    text = str(told)
    assert "0 (Conv2d)" in text
    assert "rows kept" in text
    assert "measured on one strip" in text
    assert json.loads(json.dumps(told.to_dict()))["plan"]["strips"] == 10
