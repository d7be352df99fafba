"""A trained network over a slide, a satellite image and a drone's photograph, mapped in place.

The data are not part of the project; where they are absent these tests are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch

import fullconv
from fullconv.errors import MissingExtraError
from fullconv.models.torchvision_import import import_timm
from fullconv.storage.maps import open_map
from fullconv.storage.maps.exports import export

WINDOW, STRIDE = 224, 32
BEFORE = (WINDOW - STRIDE) // 2
"""Px from the corner of the image to the first cell's square, which lies in its window's middle."""


@pytest.fixture(scope="module")
def fcn(data: Path):
    """MobileNetV2 with trained weights, which pads as TensorFlow does."""
    try:
        timm = import_timm()
    except MissingExtraError:
        pytest.skip("timm is not installed")
    from safetensors.torch import load_file

    model = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1001)
    name = "mobilenetv2_100_same_imagenet1001.safetensors"
    model.load_state_dict(load_file(data / "weights" / name))
    return fullconv.convert(model.eval(), WINDOW).optimize()


def scanned(fcn, image: Path, target: Path, **options):
    done = fullconv.scan(
        fcn, image, target, mean=(0.5,), std=(0.5,), values="probabilities", **options
    )
    assert not done.faults
    return open_map(target)


def cells(pixels: int) -> int:
    return (pixels - WINDOW) // STRIDE + 1


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def drone(fcn, data: Path, places: Path):
    return scanned(fcn, data / "photos/drone_4000x2250.jpg", places / "drone", band=50)


@pytest.fixture(scope="module")
def slide(fcn, data: Path, places: Path):
    name = "slides/cmu-1-small-region.svs"
    return scanned(fcn, data / name, places / "slide", keep=("top", 3))


@pytest.fixture(scope="module")
def earth(fcn, data: Path, places: Path):
    pytest.importorskip("rasterio")
    return scanned(fcn, data / "slides/rgb_byte_geotiff.tif", places / "earth", keep=[0, 979, 980])


def test_the_drone_photograph_is_that_of_one_pass(fcn, data, drone):
    with PIL.Image.open(data / "photos/drone_4000x2250.jpg") as file:
        pixels = np.asarray(file.convert("RGB"))
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div(255)
    expected = fcn((image - 0.5) / 0.5).softmax(1)[0].permute(1, 2, 0).numpy()
    found = drone.read((0, cells(2250)), (0, cells(4000)))
    assert found.shape == expected.shape == (64, 119, 1001)
    assert np.abs(found - expected).max() < 2e-4
    assert np.mean(found.argmax(2) == expected.argmax(2)) > 0.999


def test_a_satellite_image_lies_on_the_map(data, earth, places):
    rasterio = pytest.importorskip("rasterio")
    export(earth, places / "earth.tif")
    with (
        rasterio.open(data / "slides/rgb_byte_geotiff.tif") as source,
        rasterio.open(places / "earth.tif") as found,
    ):
        rows, columns = cells(source.height), cells(source.width)
        assert (found.height, found.width, found.count) == (rows, columns, 3)
        assert found.crs == source.crs
        left, top = source.transform @ (BEFORE, BEFORE)
        right, bottom = source.transform @ (BEFORE + STRIDE * columns, BEFORE + STRIDE * rows)
        assert tuple(found.bounds) == pytest.approx((left, bottom, right, top), rel=1e-12)
        values = found.read(1)
        # Windows that hold px without data have no score; some hold none of these.
        valid = source.dataset_mask() != 0
    whole = np.array(
        [
            [
                valid[i * STRIDE : i * STRIDE + WINDOW, j * STRIDE : j * STRIDE + WINDOW].all()
                for j in range(columns)
            ]
            for i in range(rows)
        ]
    )
    assert 0 < whole.sum() < whole.size
    assert np.array_equal(np.isfinite(values), whole)


def test_a_slide_as_ome_tiff_has_the_size_of_its_cells(slide, places):
    assert slide.shape[:2] == (cells(2967), cells(2220))
    export(slide, places / "slide.ome.tif", classes=[1, 2])
    with tifffile.TiffFile(places / "slide.ome.tif") as file:
        series = file.series[0]
        assert series.shape[-2:] == (cells(2967), cells(2220))
        pixels = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"]
    # The slide was scanned at 0.499 µm/px.
    assert pixels["PhysicalSizeX"] == pytest.approx(0.499 * STRIDE, rel=1e-3)
    assert pixels["PhysicalSizeY"] == pytest.approx(0.499 * STRIDE, rel=1e-3)


def test_areas_of_a_slide_lie_on_it(slide, places):
    shapely = pytest.importorskip("shapely")
    export(slide, places / "slide.geojson")
    document = json.loads((places / "slide.geojson").read_text())
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in document["features"]]
    assert all(shape.is_valid for shape in shapes)
    around = shapely.union_all(shapes).bounds
    right, bottom = (BEFORE + STRIDE * cells(pixels) for pixels in (2220, 2967))
    assert around == (BEFORE, BEFORE, right, bottom)
    assert sum(shape.area for shape in shapes) == cells(2967) * cells(2220) * STRIDE**2


def test_a_photograph_as_ome_zarr_is_valid(drone, places):
    models = pytest.importorskip("ome_zarr_models.v05")
    zarr = pytest.importorskip("zarr")
    export(drone, places / "drone.ome.zarr", classes=[0, 5])
    group = zarr.open_group(places / "drone.ome.zarr", mode="r")
    image = models.Image.from_zarr(group)
    multiscale = image.ome_attributes.multiscales[0]
    first = multiscale.datasets[0].coordinateTransformations
    assert list(first[0].scale) == [1.0, STRIDE, STRIDE]
    # The middle of the first cell is that of its window; the middle of px 0 is at 0.
    assert list(first[1].translation) == [0.0, WINDOW / 2 - 0.5, WINDOW / 2 - 0.5]
