"""What every source promises: boxes, memory, fingerprints, and files that change."""

import errno
import os
import tracemalloc
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from broken_files import FLOATS, GREY, RGB, interlaced, jpeg, png, tiff, tiled, zarr_array
from hypothesis import given
from hypothesis import strategies as st

from fullconv.errors import InputError, UsageError
from fullconv.storage.sources import ArraySource, DrawnSource, Fault, open_source
from fullconv.storage.sources.flat import tail
from fullconv.storage.sources.samples import boxes


def zeros(box):
    return np.zeros((box[2] - box[0], box[3] - box[1], 1), np.uint8)


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def sources(folder):
    np.save(folder / "a.npy", RGB)
    yield open_source(folder / "a.npy")
    yield open_source(written(folder, "a.png", png()))
    yield open_source(written(folder, "i.png", interlaced()), channels=1)
    yield open_source(written(folder, "a.jpg", jpeg()))
    yield open_source(written(folder, "a.tif", tiff(RGB)))
    yield open_source(written(folder, "b.tif", tiled(compression="zlib")))
    yield open_source(zarr_array(folder / "a.zarr"))
    yield ArraySource(RGB)
    yield DrawnSource((60, 80), 1, np.uint8, zeros)


def test_a_box_outside_is_refused_by_every_source(tmp_path):
    for source in sources(tmp_path):
        with source, pytest.raises(UsageError) as caught:
            source.read((0, 0, 60, 81))
        assert str(caught.value).startswith(
            f"{source.name}: the box (0, 0, 60, 81) does not lie inside the image of 60×80 px.\n"
        )
        with pytest.raises(UsageError, match="a box of 2 axes has 4 numbers, got 2"):
            source.read((0, 60))


def test_an_empty_box_has_no_px(tmp_path):
    for source in sources(tmp_path):
        with source:
            assert source.read((5, 7, 5, 9)).pixels.shape == (0, 2, source.channels)


def test_a_fingerprint_tells_contents_and_views_apart(tmp_path):
    found = [source.fingerprint() for source in sources(tmp_path)]
    assert len(set(found)) == len(found)
    assert all(len(one) == 64 for one in found)
    assert found == [source.fingerprint() for source in sources(tmp_path)]
    path = tmp_path / "a.png"
    views = [{}, {"channels": 1}, {"region": (0, 0, 5, 5)}, {"region": (1, 1, 6, 6)}]
    assert len({open_source(path, **view).fingerprint() for view in views}) == len(views)
    before = open_source(path).fingerprint()
    os.utime(path, (1, 1))
    assert open_source(path).fingerprint() == before  # the content counts
    changed = RGB.copy()
    changed[30, 40, 1] ^= 1
    assert ArraySource(changed).fingerprint() != ArraySource(RGB).fingerprint()
    assert DrawnSource((60, 80), 1, np.uint8, zeros, name="b").fingerprint() != found[-1]


def test_a_fingerprint_of_a_large_file_sees_its_length_and_all_places_it_samples(tmp_path):
    pixels = np.zeros((4000, 4000, 3), np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    before = open_source(tmp_path / "a.npy").fingerprint()
    for place in (0, 3999):
        pixels[place, place] = 1
        np.save(tmp_path / "a.npy", pixels)
        assert open_source(tmp_path / "a.npy").fingerprint() != before
        pixels[place, place] = 0


def test_a_fingerprint_of_a_zarr_sees_its_chunks(tmp_path):
    path = zarr_array(tmp_path / "a.zarr")
    before = open_source(path).fingerprint()
    (path / "c/1/1/0").unlink()
    assert open_source(path).fingerprint() != before


def test_a_file_that_changed_is_told(tmp_path):
    for name, data in (("a.png", png()), ("a.tif", tiff(RGB))):
        path = written(tmp_path, name, data)
        with open_source(path) as source:
            source.check()
            os.utime(path, ns=(1, 1))
            with pytest.raises(InputError) as caught:
                source.check()
            assert str(caught.value) == (
                f"{path}: the file changed while it was read.\nWhat was read before and what is "
                "read now are not one image. Start again when nothing writes to it any more."
            )
            path.unlink()
            with pytest.raises(InputError, match="the file changed while it was read"):
                source.check()


@pytest.mark.parametrize("kind", ["npy", "tif", "tiles", "png"])
def test_a_file_that_is_cut_short_while_it_is_read_loses_px_and_nothing_else(kind, tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 256, (600, 500, 3), np.uint8)
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, pixels)
    elif kind == "png":
        PIL.Image.fromarray(pixels).save(path, "PNG", compress_level=1)
    else:
        tiles = {"tile": (64, 64), "compression": "zlib"} if kind == "tiles" else {}
        tifffile.imwrite(path, pixels, photometric="rgb", **tiles)
    with open_source(path) as source:
        assert np.array_equal(source.read((0, 0, 10, 500)).pixels, pixels[:10])
        os.truncate(path, path.stat().st_size // 2)
        found = source.read((10, 0, 600, 500))
        assert found.faults
        good = np.ones((590, 500), bool)
        for fault in found.faults:
            good[fault.box[0] - 10 : fault.box[2] - 10, fault.box[1] : fault.box[3]] = False
        assert good.sum() > 590 * 500 // 4
        assert np.array_equal(found.pixels[good], pixels[10:][good])


@pytest.mark.parametrize(("number", "lost"), [(errno.EIO, True), (errno.ESTALE, False)])
def test_a_bad_sector_is_a_fault_and_a_disk_that_is_gone_an_error(
    number, lost, tmp_path, monkeypatch
):
    from fullconv.storage.sources.formats import tiffs

    def fails(*_):
        raise OSError(number, os.strerror(number))

    path = written(tmp_path, "b.tif", tiled(compression="zlib"))
    with open_source(path) as source:
        monkeypatch.setattr(tiffs, "check_segment", fails)
        if lost:
            (fault,) = source.read((0, 0, 5, 5)).faults
            assert fault.why == "it cannot be decoded ([Errno 5] Input/output error)"
        else:
            with pytest.raises(InputError, match=r"b.tif: can no longer be read: Stale file"):
                source.read((0, 0, 5, 5))


def test_a_read_takes_no_more_memory_than_it_says(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 256, (800, 900, 3), np.uint8)
    floats = (pixels / 255).astype(np.float32)
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    picture = PIL.Image.fromarray(pixels)
    picture.save(tmp_path / "a.png", compress_level=1)
    picture.save(tmp_path / "t.png", compress_level=1, exif=turned.tobytes())
    picture.quantize(40).save(tmp_path / "p.png", compress_level=1)
    picture.save(tmp_path / "a.jpg", exif=turned.tobytes())
    np.save(tmp_path / "a.npy", floats)
    settings = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **settings)
    tifffile.imwrite(tmp_path / "f.tif", floats.astype(np.float64), **settings)
    tifffile.imwrite(tmp_path / "s.tif", floats, photometric="rgb")
    zarr_array(tmp_path / "a.zarr", floats, chunks=(256, 256, 3))
    names = ["a.png", "t.png", "p.png", "a.jpg", "a.npy", "a.tif", "f.tif", "s.tif", "a.zarr"]
    for name in names:
        for channels in (1, 3):
            with open_source(tmp_path / name, channels=channels, budget=40_000_000) as source:
                box = (400, 20, 600, source.size[1] - 30)
                tracemalloc.start()
                found = source.read(box)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                allowed = found.pixels.nbytes + source.held() + source.beside(box)
                assert peak < allowed, (name, channels)
                assert source.held() + source.beside(box) < 60_000_000, (name, channels)


def test_float_px_of_an_array_that_are_no_brightness():
    pixels = FLOATS.copy()
    pixels[3, 4:6] = np.nan
    pixels[9, 9] = 2
    found = ArraySource(pixels).read((2, 3, 20, 20))
    assert found.faults == (
        Fault((3, 4, 4, 6), "its samples are NaN"),
        Fault((9, 9, 10, 10), found.faults[1].why),
    )
    assert found.faults[1].why.startswith("its floating-point samples lie between 2 and 2, and")
    assert not found.pixels[1, 1:3].any()
    assert not found.pixels[7, 6].any()


def test_arrays_that_are_no_images():
    with pytest.raises(InputError, match=r"^the array: its samples are int32.\nIt is not known"):
        ArraySource(RGB.astype(np.int32))
    with pytest.raises(InputError, match=r"^photo: holds no pixels: its shape is 0×3"):
        ArraySource(np.zeros((0, 3), np.uint8), name="photo")
    with pytest.raises(InputError, match=r"has 3 channels per pixel, but channels=5 was asked for"):
        ArraySource(RGB, channels=5)
    assert np.array_equal(
        ArraySource(GREY, channels=3).read((0, 0, 5, 5)).pixels, np.stack([GREY[:5, :5]] * 3, 2)
    )


def test_a_drawn_source_keeps_its_word():
    source = DrawnSource((60, 80), 3, np.uint8, zeros)
    with pytest.raises(UsageError, match=r"gave 5×5×1 uint8 for a box of 5×5×3 uint8"):
        source.read((0, 0, 5, 5))
    with pytest.raises(UsageError, match="dtype=int32 is none of uint8, uint16 and float32"):
        DrawnSource((60, 80), 3, np.int32, zeros)


@pytest.mark.parametrize("options", [{"channels": 0}, {"budget": 0}])
def test_options_that_make_no_sense(options, tmp_path):
    with pytest.raises(UsageError, match="must be a positive"):
        open_source(written(tmp_path, "a.png", png()), **options)


def test_nothing_stays_open(tmp_path):
    first = 0
    for number in range(3):
        for source in sources(tmp_path):
            if not source.name.endswith("zarr"):
                source.close()
        here = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
        first = here if number == 0 else first
        assert here <= first
    for options in ({"region": (0, 0, 99, 99)}, {"level": 1}, {"channels": 5}):
        with pytest.raises((InputError, UsageError)):
            open_source(tmp_path / "b.tif", **options)
    for data in (b"nothing", png()[:33], tiff(RGB.astype(np.int16))):
        for _ in range(3):
            with pytest.raises(InputError):
                open_source(written(tmp_path, "bad", data))
    assert not Path("/proc/self/fd").is_dir() or len(os.listdir("/proc/self/fd")) <= first


def test_strips_over_the_whole_width_decode_every_tile_once(tmp_path, monkeypatch):
    from fullconv.storage.sources.formats.tiffs import Segments

    decoded = []
    decode = Segments.decode
    monkeypatch.setattr(Segments, "decode", lambda *args: decoded.append(args[1]) or decode(*args))
    with open_source(written(tmp_path, "b.tif", tiled(compression="zlib"))) as source:
        assert source.grain == (32, 32)
        for top in range(0, 60, 5):
            source.read((top, 0, top + 5, 80))
    assert sorted(decoded) == [(row, column) for row in range(2) for column in range(3)]


def test_what_is_kept_stays_within_what_is_said(tmp_path):
    pixels = np.random.default_rng(0).integers(1, 256, (640, 640, 3), np.uint8)
    path = written(tmp_path, "b.tif", tiff(pixels, tile=(64, 64), compression="zlib"))
    with open_source(path, budget=200_000) as source:
        assert source.held() == 50_000
        tracemalloc.start()
        for top in range(0, 640, 64):
            assert np.array_equal(source.read((top, 0, top + 9, 640)).pixels, pixels[top : top + 9])
        assert tracemalloc.get_traced_memory()[0] < 150_000
        tracemalloc.stop()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_the_tail_of_an_array_in_boxes(shape, data):
    number = data.draw(st.integers(0, int(np.prod(shape))))
    marked = np.zeros(shape, int)
    for box in tail(tuple(shape), number):
        dims = len(shape)
        marked[tuple(slice(a, b) for a, b in zip(box[:dims], box[dims:], strict=True))] += 1
    assert np.array_equal(marked.ravel(), np.arange(marked.size) >= number)


@given(st.integers(1, 3), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_marked_px_in_boxes(dims, seed, share):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 8, dims)) < share
    count = np.zeros(mask.shape, int)
    for box in boxes(mask):
        count[tuple(slice(a, b) for a, b in zip(box[:dims], box[dims:], strict=True))] += 1
    assert np.array_equal(count, mask)


def test_very_many_marked_px_are_named_in_few_boxes():
    mask = np.indices((300, 300)).sum(0) % 2 == 1
    found = boxes(mask)
    assert len(found) <= 300
    covered = np.zeros_like(mask)
    for top, left, bottom, right in found:
        covered[top:bottom, left:right] = True
    assert covered[mask].all()
