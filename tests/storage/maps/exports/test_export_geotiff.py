import sys
from itertools import pairwise

import numpy as np
import pytest
import tifffile

from drawn_maps import DrawnMap, about, frame, noise
from fullconv.errors import InputError, MissingExtraError
from fullconv.storage.maps.exports import export, geotiff

rasterio = pytest.importorskip("rasterio")

UTM = "EPSG:32618"


def wkt(code):
    return rasterio.crs.CRS.from_user_input(code).to_wkt()


def test_the_bands_are_the_classes(tmp_path):
    given = noise(classes=("cat", "dög", "ape"))
    made = export(given, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.descriptions == ("cat", "dög", "ape")
        assert file.dtypes == ("float32",) * 3
        assert all(np.isnan(value) for value in file.nodatavals)
        np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), given.scores)
        assert file.crs is None
        assert file.tags()["values"] == "probabilities"
        assert file.tags()["window"] == "32×32"
        np.testing.assert_array_equal(file.read_masks(1) == 0, np.isnan(given.scores[..., 0]))
    assert made.facts["transform"] == [8, 0, 12, 0, 8, 12]


def test_bounds_and_reference_system(tmp_path):
    """Pixels of 10 m, north up: rows go down while y grows upwards."""
    given = noise(
        frame=frame(crs=wkt(UTM), transform=[10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0])
    )
    export(given, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == rasterio.crs.CRS.from_user_input(UTM)
        assert file.res == (80, 80)
        # The first square begins 12 px from the corner of the image; there are 53 × 41 of them.
        left, top = 500_000 + 120, 4_000_000 - 120
        assert file.bounds == (left, top - 53 * 80, left + 41 * 80, top)
        assert file.xy(0, 0) == (500_160, 3_999_840)  # the centre of the first window: px 16


def test_a_reference_system_that_is_none(tmp_path):
    given = noise(frame=frame(crs="EARTH[]", transform=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))
    with pytest.raises(InputError, match="the map has a reference system that GDAL does not know"):
        export(given, tmp_path / "map.tif")


def test_a_turned_image_gives_a_turned_map(tmp_path):
    source = rasterio.Affine.translation(1000, 2000) @ rasterio.Affine.rotation(30)
    source = source @ rasterio.Affine.scale(0.5, -0.25)
    given = noise(
        frame=frame(origin=(7, 3), scale=(2, 4), crs=wkt(UTM), transform=list(source)[:6])
    )
    export(given, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        for row, col in ((0, 0), (52, 40), (17, 3)):
            down, right = 7 + 2 * (8 * row + 16), 3 + 4 * (8 * col + 16)  # px of level 0
            assert file.xy(row, col) == pytest.approx(source @ (right, down), abs=1e-9)


def test_the_real_geotiff_is_mapped_in_place(data, tmp_path):
    with rasterio.open(data / "slides" / "rgb_byte_geotiff.tif") as file:
        size, crs, source = file.shape, file.crs, file.transform
    given = about(
        size, (224, 224), (32, 32), frame=frame(crs=crs.to_wkt(), transform=list(source)[:6])
    )
    export(DrawnMap(given, lambda row, col, _: row + col), tmp_path / "map.tif")
    rows, cols = given.grid.shape
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == crs
        assert file.shape == (rows, cols)
        (left, top), (right, bottom) = source @ (96, 96), source @ (96 + 32 * cols, 96 + 32 * rows)
        assert [*file.bounds] == pytest.approx([left, bottom, right, top], rel=1e-14)


def test_it_is_cloud_optimised(tmp_path):
    """As GDAL's validator has it: tiled, overviews, directories first, small levels before large."""
    given = noise(1100, 900)
    export(given, tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2, 4]
        assert file.block_shapes == [(512, 512)] * 3
    with tifffile.TiffFile(tmp_path / "map.tif") as file:
        pages = list(file.pages)
        assert [page.shape[:2] for page in pages] == [(1100, 900), (550, 450), (275, 225)]
        assert [page.is_reduced for page in pages] == [False, True, True]
        assert all(page.is_tiled for page in pages)
        starts = [page.offset for page in pages]
        assert starts == sorted(starts)
        data = [[offset for offset in page.dataoffsets if offset] for page in pages]
        assert starts[-1] < min(map(min, data))
        for larger, smaller in pairwise(data):
            assert max(smaller) < min(larger)
        assert all(offsets == sorted(offsets) for offsets in data)


def test_overviews_leave_out_what_has_no_score(tmp_path):
    scores = np.ones((1024, 600), np.float32)
    scores[::2, ::2] = np.nan
    scores[512:] = np.nan
    given = about((1024, 600), (1, 1), (1, 1))
    export(DrawnMap(given, lambda row, col, _: scores[row, col]), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif", overview_level=0) as file:
        found = file.read(1)
    assert (found[:256] == 1).all()
    assert np.isnan(found[256:]).all()


def test_many_classes_have_small_tiles():
    sides = [geotiff._tile(bands) for bands in (1, 64, 65, 256, 257, 5000)]
    assert sides == [512, 512, 256, 256, 128, 128]


def test_without_rasterio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingExtraError) as caught:
        export(noise(), tmp_path / "map.tif")
    assert str(caught.value) == (
        "writing GeoTIFF needs rasterio, which is not installed.\n"
        "Install it with: pip install 'fullconv[geo]'"
    )
    assert list(tmp_path.iterdir()) == []
