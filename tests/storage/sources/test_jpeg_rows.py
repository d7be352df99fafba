import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from broken_files import SMOOTH, jpeg, pillow

from fullconv.errors import InputError
from fullconv.storage.sources import open_source
from fullconv.storage.sources.formats.jpeg import head_of

PHOTO = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8).repeat(16, 0).repeat(16, 1)


@pytest.mark.parametrize("budget", [2**29, 100_000])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_rows_before_a_cut_are_those_of_the_whole_file(mode, budget, tmp_path):
    picture = PIL.Image.fromarray(PHOTO).convert(mode)
    path = tmp_path / "a.jpg"
    picture.save(path, quality=90)
    whole = np.asarray(PIL.Image.open(path).convert("RGB" if mode == "CMYK" else mode))
    whole = whole if whole.ndim == 3 else whole[..., None]
    data = path.read_bytes()
    read = []
    for share in (0.2, 0.5, 0.8, 0.99):
        path.write_bytes(data[: int(share * len(data))])
        with open_source(path, channels=whole.shape[2], budget=budget) as source:
            found = source.read((0, 0, *source.size))
            (fault,) = found.faults
            row = fault.box[0]
            assert fault.box == (row, 0, 640, 800)
            assert fault.why == f"the file is cut short: its pixels end in row {row}"
            assert np.array_equal(found.pixels[:row], whole[:row])
            read.append(row)
    assert read == sorted(read)
    assert read[0] > 64
    assert read[-1] > 560


def test_black_rows_are_not_taken_for_lost_ones(tmp_path):
    pixels = PHOTO.copy()
    pixels[:300] = 0
    for grey in (False, True):
        data = pillow(pixels[..., 0] if grey else pixels, "JPEG")
        (tmp_path / "a.jpg").write_bytes(data[: int(0.8 * len(data))])
        with open_source(tmp_path / "a.jpg") as source:
            (fault,) = source.read((0, 0, *source.size)).faults
            assert fault.box[0] > 400


def test_the_temporary_file_has_no_name_and_is_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "there"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "there").mkdir()
    (tmp_path / "a.jpg").write_bytes(pillow(PHOTO, "JPEG"))
    with open_source(tmp_path / "a.jpg", budget=100_000) as source:
        source.read((5, 6, 7, 8))
        assert not os.listdir(tmp_path / "there")


def test_a_disk_that_is_full_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    path = tmp_path / "a.jpg"
    path.write_bytes(pillow(PHOTO, "JPEG"))
    with (
        open_source(path, budget=100_000) as source,
        pytest.raises(InputError) as caught,
    ):
        source.read((5, 6, 7, 8))
    assert str(caught.value).startswith(
        f"{path}: decoding it takes a temporary file of 2.0 MiB, which cannot be made in "
        f"{tmp_path}: No space left on device.\n"
    )
    assert "TMPDIR" in str(caught.value)


def test_heads():
    assert head_of(jpeg()).size == SMOOTH.shape[:2]
    assert head_of(jpeg()).sequential
    assert not head_of(jpeg(progressive=True)).sequential
    assert head_of(pillow(SMOOTH[..., 0], "JPEG")).components == 1
    assert head_of(b"\xff\xd8\xff\xe0") is None
    assert head_of(b"") is None
    assert head_of(b"\xff\xd8nonsense") is None


CODE = """
import resource, sys
from fullconv.storage.sources import open_source
with open_source(sys.argv[1], budget=20_000_000) as source:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for top in range(0, source.size[0] - 64, 64):
        source.read((top, 0, top + 64, source.size[1]))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, source.size[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_memory_does_not_grow_with_the_image(kind, tmp_path):
    """As the operating system counts it, pages of the temporary file included."""
    taken = []
    for rows in (1600, 8000):
        path = tmp_path / "a"
        pixels = np.resize(PHOTO, (rows, 2000, 3))
        options = {"compress_level": 1} if kind == "PNG" else {}
        PIL.Image.fromarray(pixels).save(path, kind, **options)
        run = [sys.executable, "-c", CODE, str(path)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")}
        done = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
        taken.append(int(done.stdout.split()[0]))
    assert taken[1] - taken[0] < 12_000_000  # the image itself grows by 38 MB
