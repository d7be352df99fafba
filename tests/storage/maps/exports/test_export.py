"""What all formats have in common."""

import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drawn_maps import DrawnMap, about, noise, stored
from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.storage.maps import exports
from fullconv.storage.maps.exports import export, format_of
from fullconv.storage.maps.exports.given import pieces

NAMES = ("map.ome.zarr", "map.ome.tif", "map.tif", "map.geojson")


@pytest.fixture(params=NAMES)
def name(request):
    if request.param == "map.tif":
        pytest.importorskip("rasterio")
    return request.param


def bands(path):
    """The classes of an OME-TIFF, `(K, rows, cols)`."""
    with tifffile.TiffFile(path) as file:
        return file.series[0].asarray()


def test_a_real_store_is_written_as_it_is(name, tmp_path):
    drawn = noise()
    for source, target in (
        (drawn, tmp_path / "drawn"),
        (stored(tmp_path / "s", drawn), tmp_path / "stored"),
    ):
        target.mkdir()
        export(source, target / name)
    files = [
        {str(f.relative_to(tmp_path / part)): f.read_bytes() for f in (tmp_path / part).rglob("*") if f.is_file()}
        for part in ("drawn", "stored")
    ]  # fmt: skip
    assert files[0] == files[1]


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_stored_values_are_floats_again(dtype, tmp_path):
    drawn = noise()
    export(stored(tmp_path / "s", drawn, dtype), tmp_path / "map.ome.tif")
    expected = np.moveaxis(drawn.scores, 2, 0)
    half = np.rint(expected * 254) / np.float32(254)
    expected = expected.astype(np.float16) if dtype == "float16" else half
    np.testing.assert_array_equal(bands(tmp_path / "map.ome.tif"), expected)


def test_chosen_classes_in_the_order_asked_for(tmp_path):
    drawn = noise(classes=("cat", "dog", "ape"))
    made = export(drawn, tmp_path / "map.ome.tif", classes=[2, 0, 2])
    assert [(c.number, c.name) for c in made.channels] == [(2, "ape"), (0, "cat")]
    np.testing.assert_array_equal(bands(made.path), np.moveaxis(drawn.scores[..., [2, 0]], 2, 0))


def test_a_map_of_chosen_classes(tmp_path):
    drawn = noise(kept=(2, 1), classes=("cat", "dog", "ape"))
    made = export(stored(tmp_path / "s", drawn), tmp_path / "map.ome.tif")
    assert [(c.number, c.name) for c in made.channels] == [(2, "ape"), (1, "dog")]
    np.testing.assert_array_equal(bands(made.path), np.moveaxis(drawn.scores[..., [2, 1]], 2, 0))
    with pytest.raises(UsageError) as caught:
        export(stored(tmp_path / "s", drawn), tmp_path / "map.ome.tif", classes=[0])
    assert str(caught.value) == (
        "class 0 is not in the map.\nIt holds classes 2, 1. Scan again with it, or leave it out."
    )


def test_a_map_of_the_best_classes_has_values_where_a_class_is_among_them(tmp_path):
    drawn = noise(kept=("top", 2))
    given = stored(tmp_path / "s", drawn)
    export(given, tmp_path / "map.ome.tif", classes=[1, 0])
    lowest = drawn.scores.argmin(2)
    for number, found in zip((1, 0), bands(tmp_path / "map.ome.tif"), strict=True):
        expected = np.where(lowest == number, np.nan, drawn.scores[..., number])
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(UsageError) as caught:
        export(given, tmp_path / "map.ome.tif")
    assert str(caught.value) == (
        "the map holds the best 2 classes of each cell, which are others in every cell.\n"
        "Name the classes to write: where one is not among the best, there is no value."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": [3]}, "class 3 is not in the map.\nIt holds classes 0 to 2. Scan again"),
        ({"classes": [-1]}, "class -1 is not in the map."),
        ({"classes": []}, "no class was asked for.\nLeave them out to get all of them."),
        ({"threshold": 0.5}, "threshold=0.5: a file of ome-tiff holds the values themselves.\n"
         "Leave the threshold out, or write .geojson."),
        ({"format": "png"}, "format 'png' is not known.\n"
         "Name one of ome-zarr, ome-tiff, geotiff, geojson."),
    ],
)  # fmt: skip
def test_wrong_calls(options, message, tmp_path):
    with pytest.raises(UsageError) as caught:
        export(noise(), tmp_path / "map.ome.tif", **options)
    assert str(caught.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_the_name_says_the_format():
    assert format_of(Path("a.ome.ZARR")) == format_of(Path("a.zarr")) == "ome-zarr"
    assert format_of(Path("a.ome.tif")) == format_of(Path("a.OME.tiff")) == "ome-tiff"
    assert format_of(Path("a.tif")) == format_of(Path("ome.tif")) == "geotiff"
    assert format_of(Path("a.geojson")) == format_of(Path("a.b.json")) == "geojson"
    assert format_of(Path("a.tif"), "ome-tiff") == "ome-tiff"
    with pytest.raises(UsageError) as caught:
        format_of(Path("a.svs"))
    assert str(caught.value) == (
        "a.svs: the end of the name says no format.\nEnd it in .ome.zarr, .zarr, .ome.tif, "
        ".ome.tiff, .tif, .tiff, .geojson, .json, or name a format."
    )


def test_maps_of_one_axis_or_three_are_refused(name, tmp_path):
    for axes in (1, 3):
        given = about((40,) * axes, (8,) * axes, (8,) * axes)
        with pytest.raises(UsageError, match=r"a map of (1 axis|3 axes) cannot be written so\."):
            export(DrawnMap(given, lambda *_: 0.0), tmp_path / name)


class FailingError(Exception):
    pass


@pytest.mark.parametrize(
    "error", [FailingError(), KeyboardInterrupt(), InputError("chunk (3, 0) is damaged.")]
)
def test_an_export_that_fails_leaves_what_was_there(name, error, tmp_path):
    drawn = noise(600, 20)
    export(drawn, tmp_path / name)
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    read = drawn.read

    def broken(rows, cols):
        if rows[1] > 500:
            raise error
        return read(rows, cols)

    drawn.read = broken
    with pytest.raises(type(error)) as caught:
        export(drawn, tmp_path / name)
    assert caught.value is error
    assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="files have no limit here")
@pytest.mark.parametrize("limit", [100, 20_000, 90_000])
def test_a_full_disk(name, limit, tmp_path, capfd):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    drawn = noise(300, 300)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(FullconvError) as caught:
            export(drawn, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        capfd.readouterr()  # libtiff says something of its own
    assert caught.value.exit_code == 1
    assert str(caught.value).startswith(f"{tmp_path / name}: cannot be written")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(name, tmp_path):
    with pytest.raises(FullconvError) as caught:
        export(noise(), tmp_path / "no" / name)
    assert str(caught.value) == (
        f"{tmp_path / 'no' / name}: cannot be written: the folder {tmp_path / 'no'} does not exist."
        "\nCreate it first, or name another place."
    )


def test_a_map_of_one_cell(name, tmp_path):
    drawn = noise(1, 1)
    drawn.scores[:] = 0.5
    export(drawn, tmp_path / name)
    assert (tmp_path / name).exists()


def test_a_name_that_no_text_can_hold(name, tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    made = export(noise(), folder / f"b\udcff\x01{name}")
    assert made.path.exists()


def test_pieces_are_whole_tiles_that_cover_all_once_and_fit():
    for rows, cols, values in ((1000, 700, 3), (5, 5, 1), (256, 257, 100)):
        seen = np.zeros((rows, cols), int)
        for (top, bottom), (left, right) in pieces(rows, cols, values, tile=64, budget=200_000):
            seen[top:bottom, left:right] += 1
            assert top % 64 == left % 64 == 0
            assert (bottom - top) * (right - left) * values * 4 <= max(
                200_000, 64 * 64 * 4 * values
            )
        assert (seen == 1).all()


def test_no_more_is_read_at_once_than_the_budget(name, tmp_path):
    given = about((30_000, 3_000), (16, 16), (16, 16))
    drawn = DrawnMap(given, lambda row, col, number: row * 0.0 + number / 200, count=200)
    export(drawn, tmp_path / name, classes=[7])
    assert drawn.most * 4 <= exports.given.BUDGET
    whole = np.prod(drawn.shape)
    assert drawn.most < whole / 4


MEASURE = """
    import resource, sys
    sys.path[:0] = sys.argv[3:]
    import numpy as np
    from drawn_maps import DrawnMap, about, noise
    from fullconv.storage.maps.exports import export
    name, rows = sys.argv[1], int(sys.argv[2])
    export(noise(5, 5), "small" + name)
    given = about((rows, 4096), (1, 1), (1, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    export(DrawnMap(given, lambda row, col, _: (row // 500 + col // 400) % 2 * 1.0), name,
           **({"threshold": 0.5} if name.endswith("json") else {}))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_a_large_map_does_not_take_its_own_size(name, tmp_path):
    """128 MB of scores; of 64 MB, or 512, the same is taken."""
    folders = [str(Path(__file__).parents[3]), str(Path(exports.__file__).parents[4])]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), name, "8192", *folders],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) / 1024 < 110
