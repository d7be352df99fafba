"""Slides: the real one against OpenSlide, and those that OpenSlide reads for us."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from broken_files import SMOOTH, pillow, segments, shortened

from fullconv.errors import InputError, MissingExtraError
from fullconv.storage.sources import open_source
from fullconv.storage.sources.file_source import FileSource
from fullconv.storage.sources.formats.slide import open_slide

DATA = Path(os.environ.get("FULLCONV_DATA", Path(__file__).parents[4] / "shared" / "data"))
SLIDE = DATA / "slides" / "cmu-1-small-region.svs"
SCENE = DATA / "slides" / "rgb_byte_geotiff.tif"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the real files are absent; name their folder in $FULLCONV_DATA"
)


def some_boxes(size, count, most=400):
    rng = np.random.default_rng(4)
    for _ in range(count):
        height, width = rng.integers(1, most, 2)
        top, left = (
            int(rng.integers(0, n - m)) for n, m in zip(size, (height, width), strict=True)
        )
        yield top, left, int(top + height), int(left + width)


@needs_data
def test_the_real_slide_is_what_openslide_reads():
    openslide = pytest.importorskip("openslide")
    slide = openslide.OpenSlide(SLIDE)
    with open_source(SLIDE, mpp=0.5) as source:
        assert source.size == (2967, 2220)
        assert source.frame.mpp == (0.499, 0.499)
        assert source.grain == (240, 240)
        for top, left, bottom, right in some_boxes(source.size, 20):
            found = source.read((top, left, bottom, right))
            picture = slide.read_region((left, top), 0, (right - left, bottom - top))
            assert np.array_equal(found.pixels, np.asarray(picture)[..., :3])
            assert not found.faults


@needs_data
def test_a_tile_of_the_real_slide_that_is_cut_short(tmp_path):
    data = SLIDE.read_bytes()
    path = tmp_path / "a.svs"
    path.write_bytes(shortened(data, 17, segments(data)[17][1] - 500))
    with open_source(path) as source, open_source(SLIDE) as sound:
        found = source.read((0, 0, *source.size))
        (fault,) = found.faults
        assert fault.box == (240, 1680, 480, 1920)
        assert fault.why.endswith("tile 18 of 130 does not end in the JPEG end marker FFD9")
        whole = sound.read((0, 0, *source.size)).pixels
        assert (found.pixels != whole).any(2).sum() <= 240 * 240
        assert np.array_equal(found.pixels[480:], whole[480:])


@needs_data
def test_the_real_slide_by_openslide():
    pytest.importorskip("openslide")
    opened = open_slide(SLIDE, channels=3, level=None, mpp=0.5, budget=2**29)
    with FileSource(SLIDE, opened, 3) as by_openslide, open_source(SLIDE) as source:
        assert by_openslide.frame == source.frame
        for box in some_boxes(source.size, 8, 900):
            one, other = by_openslide.read(box), source.read(box)
            assert np.array_equal(one.pixels, other.pixels)
            assert not one.faults
            assert one.missing is None


@needs_data
def test_what_openslide_cannot_decode_is_a_fault_and_the_rest_is_read(tmp_path):
    pytest.importorskip("openslide")
    data = SLIDE.read_bytes()
    path = tmp_path / "a.svs"
    path.write_bytes(shortened(data, 17, 40))
    opened = open_slide(path, channels=3, level=0, mpp=None, budget=2**29)
    with FileSource(path, opened, 3) as source, open_source(SLIDE) as sound:
        found = source.read((0, 0, *source.size))
        assert {fault.box for fault in found.faults} == {
            (0, 1536, 512, 2048)
        }  # the block of 512 px that holds the tile
        whole = sound.read((0, 0, *source.size)).pixels
        good = np.ones(source.size, bool)
        good[0:512, 1536:2048] = False
        assert np.array_equal(found.pixels[good], whole[good])


def test_without_openslide_its_slides_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    (tmp_path / "a.mrxs").write_bytes(b"x")
    with pytest.raises(MissingExtraError) as caught:
        open_source(tmp_path / "a.mrxs")
    assert str(caught.value) == (
        "Reading a.mrxs needs openslide, which is not installed.\n"
        "Install it with: pip install 'fullconv[wsi]'"
    )


@needs_data
def test_the_real_geotiff_is_what_rasterio_reads():
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(SCENE) as file, open_source(SCENE) as source:
        assert source.size == (file.height, file.width) == (718, 791)
        assert source.frame.crs == file.crs.to_wkt()
        assert source.frame.transform == tuple(file.transform)[:6]
        for top, left, bottom, right in some_boxes(source.size, 20):
            found = source.read((top, left, bottom, right))
            window = rasterio.windows.Window(left, top, right - left, bottom - top)
            assert np.array_equal(found.pixels, np.moveaxis(file.read(window=window), 0, 2))
            assert np.array_equal(found.missing, file.dataset_mask(window=window) == 0)
            assert not found.faults


def ndpi(path: Path) -> list[int]:
    """What an NDPI is: one JPEG with restart markers, and a list of where its parts begin.

    Each part is an MCU of 16×16 px. Returns the list. (The name must not end in .ndpi: tifffile
    expects the offsets of 64 bits that Hamamatsu's own files have.)
    """
    coded = pillow(SMOOTH, "JPEG", quality=95, restart_marker_blocks=1, subsampling=2)
    scan = coded.index(b"\xff\xda")
    first = scan + 2 + int.from_bytes(coded[scan + 2 : scan + 4], "big")
    starts = [first] + [
        at + 2 for at in range(first, len(coded) - 1)
        if coded[at] == 0xFF and 0xD0 <= coded[at + 1] <= 0xD7
    ]  # fmt: skip
    tifffile.imwrite(
        path, SMOOTH, photometric="ycbcr", compression="jpeg", rowsperstrip=60, metadata=None,
        extratags=[
            (271, 2, 10, "Hamamatsu", True), (65420, 4, 1, 1, True),
            (65426, 4, len(starts), tuple(starts), True),
        ],
    )  # fmt: skip
    data = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        places = {name: tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")}
    end = len(data).to_bytes(4, "little")
    changed = bytearray(data + coded)
    changed[places["StripOffsets"] : places["StripOffsets"] + 4] = end
    changed[places["StripByteCounts"] : places["StripByteCounts"] + 4] = len(coded).to_bytes(4, "little")  # fmt: skip
    path.write_bytes(changed)
    return starts


def test_an_ndpi_in_tiles_between_restart_markers(tmp_path):
    ndpi(tmp_path / "a.tif")
    with open_source(tmp_path / "a.tif") as source:
        assert source.grain == (16, 16)
        found = source.read((0, 0, *source.size))
        assert not found.faults
        assert np.abs(found.pixels.astype(int) - SMOOTH).max() < 16


def test_an_ndpi_that_is_cut_short(tmp_path):
    starts = ndpi(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    coded = data.rindex(b"\xff\xd8\xff")
    (tmp_path / "a.tif").write_bytes(data[: coded + starts[12] - 4])
    with open_source(tmp_path / "a.tif") as source:
        found = source.read((0, 0, *source.size))
        lost = {fault.box for fault in found.faults}
        assert (32, 0, 48, 16) not in lost
        assert {(32, 16, 48, 32), (48, 64, 60, 80)} <= lost
        assert len(lost) == 9


@needs_data
def test_an_ndpi_beyond_tifffile_is_tried_with_openslide(tmp_path):
    pytest.importorskip("openslide")
    data = SLIDE.read_bytes()  # any slide: what counts is that the one reader hands on
    (tmp_path / "a.ndpi").write_bytes(data)
    with open_source(tmp_path / "a.ndpi") as source:
        assert source.grain == (512, 512)


def test_an_ndpi_that_nobody_reads_gives_the_first_reason(tmp_path):
    (tmp_path / "a.ndpi").write_bytes(b"II*\0" + b"\x80\0\0\0" * 9)
    with pytest.raises(InputError, match=r"the file is cut short: its directory reaches to byte"):
        open_source(tmp_path / "a.ndpi")
