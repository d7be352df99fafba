"""Every format says of the last cell of a huge image where it lies, and it lies there.

The image has 100,000 × 80,000 px. Each file is read by what others wrote, and the place its own
metadata give is compared with arithmetic done here, from the definition: the cell is the square of
`stride` px around the centre of its window.
"""

import json
import xml.etree.ElementTree as ET
from fractions import Fraction

import numpy as np
import pytest
import tifffile
import zarr

from drawn_maps import about, far_corner, frame
from fullconv.storage.maps.exports import export

FULL = (100_000, 80_000)


def case(size=FULL, window=(448, 448), stride=(320, 320), offset=(), **place):
    return about(size, window, stride, offset=offset, frame=frame(**place))


CASES = {
    "as it is": case(),
    "odd windows, even strides": case(window=(447, 449)),
    "even windows, odd strides": case(stride=(319, 321)),
    "odd windows, odd strides": case(window=(449, 447), stride=(321, 319)),
    "strides beyond the window": case(window=(224, 225), stride=(448, 449)),
    "a region": case(size=(99_001, 70_003), origin=(999, 9_997)),
    "an offset in the source": case(offset=(5, 7)),
    "level 2": case(size=(25_000, 20_000), stride=(79, 80), window=(225, 224), scale=(4, 4)),
    "a region of level 1": case(
        size=(49_000, 39_990), stride=(160, 161), origin=(2_000, 11), scale=(2, 2), offset=(3, 0)
    ),
    "a level of a broken scale": case(
        size=(33_333, 26_666), stride=(111, 113), origin=(Fraction(1, 3), Fraction(5, 7)),
        scale=(Fraction(100_000, 33_333), Fraction(80_000, 26_666)),
    ),
    "the strides of a network": case(window=(224, 224), stride=(32, 32)),
}  # fmt: skip


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def given(request):
    return request.param


def square(about, row, col):
    """Top, left, bottom, right of a cell in px of level 0, from the definition."""
    edges = []
    for axis, index in enumerate((row, col)):
        start = about.offset[axis] + index * about.stride[axis]
        middle = Fraction(2 * start + about.window[axis], 2)
        half = Fraction(about.stride[axis], 2)
        origin = Fraction(about.frame["origin"][axis])
        scale = Fraction(about.frame["scale"][axis])
        edges.append([origin + scale * edge for edge in (middle - half, middle + half)])
    (top, bottom), (left, right) = edges
    return [float(edge) for edge in (top, left, bottom, right)]


def last(values):
    """The one cell that is 1."""
    ((row, col),) = np.argwhere(values == 1).tolist()
    return row, col


def approx(numbers):
    return pytest.approx(numbers, rel=1e-13, abs=1e-9)


def test_the_last_window_lies_in_the_image(given):
    row, col = (n - 1 for n in given.grid.shape)
    _, _, bottom, right = square(given, row, col)
    scale = [float(Fraction(value)) for value in given.frame["scale"]]
    reach = [(w - s) / 2 * f for w, s, f in zip(given.window, given.stride, scale, strict=True)]
    assert FULL[0] - 1600 < bottom + reach[0] <= FULL[0] + 1e-6
    assert FULL[1] - 1600 < right + reach[1] <= FULL[1] + 1e-6


def test_geotiff(given, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    export(far_corner(given), tmp_path / "a.tif")
    with rasterio.open(tmp_path / "a.tif") as file:
        row, col = last(file.read(1))
        (left, top), (right, bottom) = (
            file.transform @ (col, row),
            file.transform @ (col + 1, row + 1),
        )
        assert approx([top, left, bottom, right]) == square(given, row, col)
        assert (row, col) == tuple(n - 1 for n in given.grid.shape)
        first = square(given, 0, 0)
        assert approx([*file.bounds]) == [first[1], bottom, right, first[0]]


def test_ome_tiff(given, tmp_path):
    export(far_corner(given), tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        row, col = last(file.series[0].asarray())
        root = ET.fromstring(file.ome_metadata)
    space = {"o": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}
    pixels, plane = root.find(".//o:Pixels", space), root.find(".//o:Plane", space)
    place = []
    for axis, index in (("Y", row), ("X", col)):
        assert pixels.get(f"PhysicalSize{axis}Unit") == plane.get(f"Position{axis}Unit") == "pixel"
        size, start = float(pixels.get(f"PhysicalSize{axis}")), float(plane.get(f"Position{axis}"))
        place.append((start + index * size, start + (index + 1) * size))
    (top, bottom), (left, right) = place
    assert approx([top, left, bottom, right]) == square(given, row, col)


def test_ome_zarr(given, tmp_path):
    export(far_corner(given), tmp_path / "a.ome.zarr")
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    (multiscale,) = group.attrs["ome"]["multiscales"]
    row, col = last(group["0"][0])
    for level, dataset in enumerate(multiscale["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        assert (scale["type"], translation["type"]) == ("scale", "translation")
        # The cells of the finest level that the last but one cell of this one stands for.
        shape = group[dataset["path"]].shape
        index = [max(0, n - 2) for n in shape[1:]] if level else [row, col]
        fine = [(i * 2**level, (i + 1) * 2**level - 1) for i in index]
        first, final = square(given, fine[0][0], fine[1][0]), square(given, fine[0][1], fine[1][1])
        centre = [(first[0] + final[2]) / 2, (first[1] + final[3]) / 2]
        found = [
            s * i + t
            for s, i, t in zip(
                scale["scale"][1:], index, translation["translation"][1:], strict=True
            )
        ]
        # In an OME-Zarr of the image itself, px i has its centre at i.
        assert approx([place + 0.5 for place in found]) == centre


def test_geojson(given, tmp_path):
    shapely = pytest.importorskip("shapely")
    export(far_corner(given), tmp_path / "a.geojson", threshold=0.9)
    (feature,) = json.loads((tmp_path / "a.geojson").read_text())["features"]
    left, top, right, bottom = shapely.geometry.shape(feature["geometry"]).bounds
    row, col = (n - 1 for n in given.grid.shape)
    assert approx([top, left, bottom, right]) == square(given, row, col)


def test_whole_and_half_px_are_written_as_they_are(tmp_path):
    """Without a rounding of any kind."""
    export(far_corner(CASES["even windows, odd strides"]), tmp_path / "a.geojson", threshold=0.9)
    (feature,) = json.loads((tmp_path / "a.geojson").read_text())["features"]
    (top, left, bottom, right) = square(CASES["even windows, odd strides"], 312, 247)
    assert feature["geometry"]["coordinates"][0][0] == [left, top]
    assert feature["geometry"]["coordinates"][0][2] == [right, bottom]
    assert (top, left) == (64.5 + 312 * 319, 63.5 + 247 * 321)
