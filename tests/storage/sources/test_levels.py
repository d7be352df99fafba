from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from broken_files import FLOATS, RGB, geotiff, ome_zarr, segments, without_segment, zarr_array
from hypothesis import given
from hypothesis import strategies as st

from fullconv.errors import InputError, UsageError
from fullconv.storage.sources import open_source
from fullconv.storage.sources.levels import level_scale

RNG = np.random.default_rng(8)
BIG = RNG.integers(1, 256, (301, 427, 3), np.uint8)


@given(st.integers(1, 10**6), st.integers(0, 8), st.booleans())
def test_halving_again_and_again_is_a_whole_factor(size, halvings, up):
    part = size
    for _ in range(halvings):
        part = max(1, (part + up) // 2)
    if part > 3:  # otherwise another power of two may explain the size as well
        assert level_scale((size,), (part,)) == (Fraction(2**halvings),)


def test_a_level_that_no_whole_factor_explains_is_a_share_of_the_size():
    assert level_scale((1000, 1000), (400, 333)) == (Fraction(5, 2), 3)
    assert level_scale((2220, 2967), (2220, 2967)) == (1, 1)
    assert level_scale((100_000, 80_001), (33_334, 26_667)) == (3, 3)


def ome_pyramid(path: Path) -> Path:
    with tifffile.TiffWriter(path, ome=True) as file:
        about = {"axes": "YXS", "PhysicalSizeX": 0.2528, "PhysicalSizeY": 0.2528}
        settings = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
        file.write(BIG, subifds=2, metadata=about, **settings)
        for step in (2, 4):
            file.write(BIG[::step, ::step], subfiletype=1, **settings)
    return path


def test_levels_of_an_ome_tiff(tmp_path):
    path = ome_pyramid(tmp_path / "a.ome.tif")
    for level, step in enumerate((1, 2, 4)):
        with open_source(path, level=level) as source:
            part = BIG[::step, ::step]
            assert source.size == part.shape[:2]
            assert np.array_equal(source.read((0, 0, *source.size)).pixels, part)
            assert source.frame.scale == (step, step)
            assert source.frame.mpp == (0.2528, 0.2528)
    with open_source(path, level=2, region=(10, 20, 50, 60)) as source:
        assert source.frame.origin == (40, 80)
        assert np.array_equal(source.read((1, 2, 3, 4)).pixels, BIG[::4, ::4][11:13, 22:24])


@pytest.mark.parametrize(
    ("mpp", "step"), [(0.25, 1), (0.4, 1), (0.5, 2), (0.51, 2), (1.0, 4), (9, 4)]
)
def test_mpp_picks_the_coarsest_level_that_is_not_coarser(mpp, step, tmp_path):
    with open_source(ome_pyramid(tmp_path / "a.ome.tif"), mpp=mpp) as source:
        assert source.frame.scale == (step, step)


def test_levels_that_cannot_be_chosen(tmp_path):
    path = ome_pyramid(tmp_path / "a.ome.tif")
    with pytest.raises(UsageError) as caught:
        open_source(path, level=3)
    assert str(caught.value) == (
        f"{path}: there is no level 3; there is 0: 301×427 px, 1: 151×214 px, 2: 76×107 px.\n"
        "Name a level from 0 to 2."
    )
    with pytest.raises(UsageError, match=r"mpp=0.2 was asked for, and level 0 has 0.2528 µm/px"):
        open_source(path, mpp=0.2)
    with pytest.raises(UsageError, match=r"level=1 and mpp=1 both name a level; give one of them"):
        open_source(path, level=1, mpp=1)
    with pytest.raises(UsageError, match=r"mpp=-1 must be a positive number"):
        open_source(path, mpp=-1)
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"no level 1; there is 0: 60×80 px.\nLeave level out"):
        open_source(tmp_path / "a.png", level=1)
    with pytest.raises(UsageError, match=r"does not say how many micrometres a px is wide"):
        open_source(tmp_path / "a.png", mpp=0.5)


def test_px_in_centimetres_are_micrometres_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, resolution=(40000, 20000), resolutionunit=3)
    with open_source(tmp_path / "a.tif", mpp=0.5) as source:
        assert source.frame.mpp == (0.5, 0.25)
    tifffile.imwrite(tmp_path / "b.tif", RGB, resolution=(72, 72), resolutionunit=2)
    with open_source(tmp_path / "b.tif") as source:  # inches are those of a printer
        assert source.frame.mpp is None


def test_a_lost_tile_of_a_level(tmp_path):
    """An SVS: levels are pages one after the other, the thumbnail second."""
    path = tmp_path / "a.svs"
    about = "Aperio Image Library v1\n|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(path) as file:
        settings = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib", "metadata": None}
        file.write(BIG, description=about, **settings)
        file.write(BIG[::8, ::8], photometric="rgb", metadata=None, description=about)
        file.write(BIG[:300:4, :424:4], description=about, **settings)
    with open_source(path, level=1) as source:
        assert source.frame.scale == (4, 4)
        assert source.frame.mpp == (0.5, 0.5)
        assert np.array_equal(source.read((0, 0, *source.size)).pixels, BIG[:300:4, :424:4])
    data = path.read_bytes()
    assert len(segments(data, 2)) == 4
    path.write_bytes(without_segment(data, 1, page=2))
    with open_source(path, mpp=2) as source:
        (fault,) = source.read((0, 0, *source.size)).faults
        assert (fault.box, fault.why) == ((0, 64, 64, 106), "tile 2 of 4 is missing")


def test_levels_of_an_ome_zarr(tmp_path):
    path = ome_zarr(tmp_path / "a.zarr")
    with open_source(path, level=1) as source:
        assert source.frame.scale == (2, 2)
        assert source.frame.mpp == (0.5, 0.5)
        assert np.array_equal(source.read((0, 0, *source.size)).pixels, RGB[::2, ::2])
    with open_source(path, mpp=1.0) as source:
        assert source.size == (30, 40)


def test_a_damaged_list_of_images_does_not_cost_level_0(tmp_path):
    path = ome_pyramid(tmp_path / "a.ome.tif")
    data = path.read_bytes().replace(b"</OME>", b"</XYZ>")
    path.write_bytes(data)
    with open_source(path) as source:
        assert source.frame.mpp is None
        assert np.array_equal(source.read((0, 0, *source.size)).pixels, BIG)


def test_an_array_and_its_axes(tmp_path):
    zarr_array(tmp_path / "a.zarr", FLOATS)
    with pytest.raises(UsageError, match=r"shape 60×80×3 was said to have 1 spatial axes"):
        open_source(tmp_path / "a.zarr", axes=1)
    with pytest.raises(InputError, match=r"has 1 channel per pixel, but channels=4 was asked"):
        open_source(tmp_path / "a.zarr", axes=3, channels=4)


def test_a_geotiff_lies_where_rasterio_says(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    pixels = RGB.copy()
    pixels[10:30, 10:50] = 0
    path = geotiff(tmp_path, pixels, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    for level in range(3):
        with open_source(path, level=level) as source:
            options = {"overview_level": level - 1} if level else {}
            with rasterio.open(path, **options) as file:
                assert np.array_equal(
                    source.read((0, 0, *source.size)).pixels, np.moveaxis(file.read(), 0, 2)
                )
                missing = source.read((0, 0, *source.size)).missing
                assert np.array_equal(missing, file.dataset_mask() == 0)
            with rasterio.open(path) as file:
                assert source.frame.crs == file.crs.to_wkt()
                assert source.frame.transform == tuple(file.transform)[:6]
            assert source.frame.scale == (2**level, 2**level)


def test_a_mask_beside_a_geotiff_and_an_opacity_in_it(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    mask = np.full(RGB.shape[:2], 255, np.uint8)
    mask[3:9, 10:40] = 0
    path = geotiff(tmp_path, RGB)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert (tmp_path / "scene.tif.msk").is_file()
    with open_source(path) as source:
        found = source.read((0, 0, *source.size))
        assert np.array_equal(found.missing, mask == 0)
        assert np.array_equal(found.pixels, RGB)
        (tmp_path / "scene.tif.msk").write_bytes(b"")
        with pytest.raises(InputError, match=r"scene.tif.msk: the file changed"):
            source.check()
    with pytest.raises(InputError, match=r"scene.tif.msk: the file is empty"):
        open_source(path)
    (tmp_path / "scene.tif.msk").unlink()
    geotiff(tmp_path, np.dstack([RGB, mask]), photometric="RGB", alpha="unspecified")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:3], rasterio.enums.ColorInterp.alpha]
    with open_source(path) as source:
        assert np.array_equal(source.read((0, 0, *source.size)).missing, mask == 0)


def test_without_rasterio_a_geotiff_has_pixels_and_no_frame(tmp_path, monkeypatch):
    path = geotiff(tmp_path, RGB, nodata=7)
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with open_source(path) as source:
        assert np.array_equal(source.read((0, 0, *source.size)).pixels, RGB)
        assert (source.frame.crs, source.frame.transform) == ("", None)
        assert source.read((0, 0, *source.size)).missing is not None
