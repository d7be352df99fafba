"""`fullconv scan`: its answers, its messages and its exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest
import tifffile
from cli_runs import NETS, SRC, files, picture
from cli_runs import process as run_process

from fullconv.scanning import room
from fullconv.storage.locking import locked
from fullconv.storage.maps import open_map

NET = "nets.py:build"


@pytest.fixture
def damaged(here):
    """A TIFF with a tile that is no longer what it was."""
    pixels = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    path = here / "damaged.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset, length = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bytes(length)
    path.write_bytes(bytes(content))
    return path


def test_a_scan_writes_a_map_and_says_what_it_did(fullconv, here):
    run = fullconv("scan", NET, "photo.png", "-o", "map")
    assert run.code == 0
    rows = dict(line.split("  ", 1) for line in run.out.splitlines())
    assert rows["image"].strip() == "photo.png, 40×57 px"
    assert rows["score map"].strip() == "map, 13×21 cells, 2×2 px apart"
    assert rows["chunks"].strip() == "1: 1 computed"
    assert re.fullmatch(r"\d+\.\d s, [\d.e+-]+ megapixels a second", rows["time"].strip())
    there = open_map("map")
    assert there.complete
    assert there.about.classes == ("cat", "dog", "tiger cat, Felis tigrina", "bird")
    assert there.about.settings["mean"] == [0.5, 0.4, 0.3]
    assert not np.isnan(there.read()).any()


def test_the_map_has_a_name_if_nobody_names_it(fullconv, here):
    assert fullconv("scan", NET, "photo.png").code == 0
    assert open_map("photo-map.zarr").complete
    again = fullconv("scan", NET, "photo.png")
    assert again.code == 0
    assert "photo-map.zarr: 1 of 1 chunks are there\n" in again.err
    assert "1: 0 computed, 1 were there" in again.out


def test_options_reach_the_scan(fullconv, here):
    run = fullconv(
        "scan", NET, "photo.png", "-o", "map", "--region", "2,3,40,50", "--top", "2",
        "--probabilities", "--store", "float16", "--strip", "3", "--band", "5", "--mean", "0.5",
        "--std", "0.25", "--max-memory", "4GiB", "--dtype", "float64", "--level", "0",
    )  # fmt: skip
    assert run.code == 0
    about = open_map("map").about
    assert about.size == (38, 47)
    assert about.kept == ("top", 2)
    assert about.values == "probabilities"
    assert open_map("map").layout.dtype == "float16"
    assert about.settings == {
        "mean": [0.5], "std": [0.25], "numbers": "float64", "device": "cpu", "mask": None,
        "strip": 3, "band": 5,
    }  # fmt: skip
    assert (
        fullconv("scan", NET, "photo.png", "-o", "two", "--keep", "bird", "--keep", "0").code == 0
    )
    assert open_map("two").numbers == (3, 0)


def test_events_for_programs(fullconv, here, monkeypatch):
    monkeypatch.setattr(room, "CHUNK", 1)
    run = fullconv("scan", NET, "photo.png", "-o", "map", "--strip", "4", "--json")
    assert run.code == 0
    events = [json.loads(line) for line in run.out.splitlines()]
    assert [one["event"] for one in events] == ["start", *["progress"] * 4, "done"]
    assert events[0]["target"] == "map"
    assert events[0]["plan"]["height"] == 4
    shares = [one["share"] for one in events[1:-1]]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {"px", "total", "rate", "left", "chunks", "memory", "seconds"} <= events[1].keys()
    assert events[-1]["model"] == NET
    assert events[-1]["chunks"] == events[-1]["computed"] == 4
    assert events[-1]["faults"] == []


@pytest.mark.parametrize("as_json", [False, True])
def test_px_that_cannot_be_read(fullconv, damaged, as_json):
    run = fullconv("scan", NET, "damaged.tif", "-o", "map", *["--json"] * as_json)
    assert run.code == 3
    (fault,) = open_map("map").faults
    told = f"rows 0 to 16, columns 0 to 16: {fault.why}"
    assert run.err.endswith(
        "error: damaged.tif: 1 place of the image could not be read; cells that look there have "
        f"no score.\n- {told}\n"
    )
    if as_json:
        events = [json.loads(line) for line in run.out.splitlines()]
        boxes = [one["box"] for one in events if one["event"] == "fault"]
        assert sum((box[2] - box[0]) * (box[3] - box[1]) for box in boxes) == 256
        assert events[-1]["faults"] == [{"box": [0, 0, 16, 16], "why": fault.why}]
    else:
        assert "could not be read: rows 0 to " in run.err  # as it is read, strip by strip
        assert "not read         256 px in 1 place" in run.out
    scores = open_map("map").read()
    assert np.isnan(scores[:8, :8]).all()
    assert not np.isnan(scores[8:]).any()


def test_strict_scans_stop_there(fullconv, damaged):
    run = fullconv("scan", NET, "damaged.tif", "-o", "map", "--strict")
    assert run.code == 3
    assert run.error.startswith("damaged.tif: px could not be read: rows 0 to ")
    assert not open_map("map", incomplete=True).complete


def test_masks(fullconv, here):
    mask = np.zeros((40, 57), np.uint8)
    mask[:10] = 255
    PIL.Image.fromarray(mask).save("mask.png")
    assert fullconv("scan", NET, "photo.png", "-o", "map", "--mask", "mask.png").code == 0
    assert np.array_equal(
        np.isnan(open_map("map").read()[..., 0]).all(axis=1), np.arange(13) * 2 >= 10
    )
    run = fullconv("scan", NET, "photo.png", "-o", "auto", "--mask", "auto")
    assert run.code == 0
    assert re.search(r"mask: [\d.]+% of the image is no background \(saturation above 0", run.err)


def test_a_dry_run_tells_and_writes_nothing(fullconv, here):
    before = files(here)
    run = fullconv("scan", NET, "photo.png", "-o", "map", "--dry-run", "--max-memory", "6GiB")
    assert run.code == 0
    assert files(here) == before
    assert "2 (Conv2d)" in run.out
    for name in ("image", "score map", "strips", "bands", "written", "memory", "in all", "time"):
        assert re.search(rf"^{name}  ", run.out, re.MULTILINE), name
    assert "of the 6.0 GiB allowed" in run.out
    told = fullconv("scan", NET, "photo.png", "-o", "map", "--dry-run", "--json").json
    assert told["plan"]["grid"] == [13, 21]
    assert told["plan"]["layers"][0]["where"] == "the image"
    assert told["seconds"] > 0
    assert told["memory"] > told["held"] > 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.png"], 3, "none.png: there is no such file.\nDid you mean photo.png or nets.py?"),
        (["photo.png", "--region", "1,2,3"], 2, "Invalid value for '--region': '1,2,3' is no region; write top,left,bottom,right in px, as 0,0,4096,8192.\nTry fullconv scan --help."),
        (["photo.png", "--region", "0,0,99,9"], 2, "photo.png: the region (0, 0, 99, 9) does not lie inside the image of 40×57 px.\nIt is half-open: top, left, bottom, right in px of the level that is read. Stay within (0, 0, 40, 57)."),
        (["photo.png", "--region", "0,0,9,9"], 3, "photo.png: the image is 9×9 px, smaller than the 16×16 window of the classifier.\nA score needs one whole window. Use a larger image, or enlarge this one to at least the window."),
        (["photo.png", "--level", "1"], 2, "photo.png: there is no level 1; there is 0: 40×57 px.\nLeave level out."),
        (["photo.png", "--top", "2", "--keep", "cat"], 2, "--top and --keep exclude each other.\nOne stores the best classes of each cell, the other certain ones."),
        (["photo.png", "--keep", "lion"], 2, "the network has no class 'lion'.\nIt has 'cat', 'dog', 'tiger cat, Felis tigrina', 'bird'."),
        (["photo.png", "--store", "uint8"], 2, "dtype='uint8' holds probabilities, from 0 to 1, and scores are asked for.\nAsk for values='probabilities', or for float32 or float16."),
        (["photo.png", "-o", "photo.png"], 2, "-o: photo.png would overwrite the image.\nName another file."),
        (["photo.png", "-o", "."], 3, ".: this folder holds something else: there is no zarr.json in it.\nName an empty folder, or one that is not there yet."),
        (["photo.png", "--mask", "none.png"], 3, "none.png: there is no such file.\nDid you mean photo.png or nets.py?"),
        (["photo.png", "--max-memory", "lots"], 2, "Invalid value for '--max-memory': 'lots' is no amount of memory.\nWrite it like 2GiB, 500MB, 1.5g or 800000000.\nTry fullconv scan --help."),
        (["photo.png", "--compile"], 2, "No such option '--compile'. Did you mean '--optimize'?\nTry fullconv scan --help."),
    ],
)  # fmt: skip
def test_mistakes(fullconv, here, words, code, message):
    before = files(here)
    run = fullconv("scan", NET, *words)
    assert run.code == code
    assert run.error == message
    assert files(here) == before


def test_too_little_memory(fullconv, here):
    run = fullconv("scan", NET, "photo.png", "--max-memory", "20MiB")
    assert run.code == 3
    assert re.fullmatch(
        r"photo\.png: the scan does not fit into memory\.\nOf the 20\.0 MiB allowed the process "
        r"holds [\d.]+ \w+ already: libraries, weights, the image file\. Allow more memory "
        r"\(max_memory, --max-memory\), or free some\.",
        run.error,
    )


def test_networks_that_look_at_whole_images_are_refused(fullconv, here):
    (here / "whole.py").write_text(
        NETS + "\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)\n"
        "        self.fc = nn.Linear(4 * 16 * 16, 4)\n\n    def forward(self, x):\n"
        "        x = self.a(x)\n        x = x * self.b(x.mean((2, 3), keepdim=True)).sigmoid()\n"
        "        return self.fc(x.flatten(1))\n\n\ndef net():\n    return Net()\n"
    )
    run = fullconv("scan", "whole.py:net", "photo.png", "--context", "image")
    assert run.code == 4
    assert "whole image" in run.error
    assert fullconv("scan", "whole.py:net", "photo.png").code == 0


def test_another_model_is_refused(fullconv, here):
    assert fullconv("scan", NET, "photo.png", "-o", "map").code == 0
    run = fullconv("scan", "nets.py:padded", "photo.png", "-o", "map")
    assert run.code == 3
    assert run.error.startswith("map: this folder holds a map that was begun otherwise:\n- ")
    assert "\n- model: " in run.error


def test_a_second_process_is_refused(fullconv, here):
    assert fullconv("scan", NET, "photo.png", "-o", "map").code == 0
    with locked(here / "map"):
        run = fullconv("scan", NET, "photo.png", "-o", "map")
    assert run.code == 1
    assert run.error.startswith("map: another process works in this folder.\n")


def test_a_full_disk_halfway_is_incomplete(fullconv, here, monkeypatch):
    from fullconv.errors import FullconvError
    from fullconv.storage.maps import MapWriter

    monkeypatch.setattr(room, "CHUNK", 1)
    write = MapWriter.write

    def failing(self, index, block, faults=()):
        if len(self.done) == 2:
            raise FullconvError("cannot be written: No space left on device.", where="map/c")
        write(self, index, block, faults)

    with monkeypatch.context() as patch:
        patch.setattr(MapWriter, "write", failing)
        run = fullconv("scan", NET, "photo.png", "-o", "map", "--strip", "3")
    assert run.code == 5
    assert run.error == "map/c: cannot be written: No space left on device."
    run = fullconv("scan", NET, "photo.png", "-o", "map", "--strip", "3")
    assert run.code == 0
    assert "map: 2 of 5 chunks are there\n" in run.err


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
def test_ctrl_c_keeps_what_is_written(here):
    picture(here / "large.png", 200, 1600)
    words = [sys.executable, "-m", "fullconv", "scan", NET, "large.png", "-o", "map",
             "--strip", "1", "--band", "200", "--stride", "1"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # Whatever started the tests may have told its children to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    journal = here / "map" / "journal.jsonl"
    until = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("interrupted")]
    found = re.fullmatch(
        r"interrupted; (\d+) chunks stay in map, and the same command goes on", line
    )
    there = open_map("map", incomplete=True)
    assert not there.complete
    assert 0 <= len(there.done) - int(found[1]) <= 1
    assert not (here / "map" / ".lock").exists()
    again = run_process(*words[3:])
    assert again.code == 0, again.err
    assert f"map: {len(there.done):,} of {len(there.layout):,} chunks are there" in again.err
    assert open_map("map").complete
