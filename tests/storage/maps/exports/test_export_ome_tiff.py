import xml.etree.ElementTree as ET

import numpy as np
import tifffile
import zarr

from drawn_maps import frame, noise
from fullconv.storage.maps.exports import export

OME = {"o": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}


def test_the_levels_are_those_of_the_ome_zarr(tmp_path):
    given = noise(300, 530)
    made = export(given, tmp_path / "map.ome.tif")
    export(given, tmp_path / "map.ome.zarr")
    group = zarr.open_group(tmp_path / "map.ome.zarr", mode="r")
    with tifffile.TiffFile(tmp_path / "map.ome.tif") as file:
        (series,) = file.series
        assert file.is_bigtiff
        assert file.is_ome
        assert series.axes == "CYX"
        assert [list(level.shape[1:]) for level in series.levels] == made.facts["levels"]
        for index, level in enumerate(series.levels):
            np.testing.assert_array_equal(level.asarray(), group[str(index)][:])
        assert len(file.pages) == 3  # a page for each class, its levels below it
        pages = [page.aspage() for page in file.pages]
        for page in pages:
            assert page.is_tiled
            assert page.subifds is not None
            assert len(page.subifds) == 2
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert all(level.aspage().is_reduced for level in page.pages)


def test_the_size_of_a_cell_is_in_micrometres_where_that_of_pixels_is_known(tmp_path):
    given = noise(
        classes=("cät", 'dog <"&">', "new\nline\x00"),
        frame=frame(origin=(100, 200), scale=(4, 4), mpp=[0.5, 0.25]),
    )
    export(given, tmp_path / "map.ome.tif")
    with tifffile.TiffFile(tmp_path / "map.ome.tif") as file:
        root = ET.fromstring(file.ome_metadata)
        page = file.pages.first
        # Cells per centimetre: of 16 and of 8 µm.
        assert np.divide(*page.tags["YResolution"].value) == 625
        assert np.divide(*page.tags["XResolution"].value) == 1250
        assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
        below = page.pages[0] if page.pages else None
        assert below is None  # one tile holds it all
    pixels = root.find(".//o:Pixels", OME)
    assert [pixels.get(f"PhysicalSize{axis}") for axis in "YX"] == ["16", "8"]
    assert pixels.get("PhysicalSizeXUnit") == pixels.get("PhysicalSizeYUnit") == "µm"
    plane = root.find(".//o:Plane[@TheC='2']", OME)
    # The first square begins at 100 + 4 · (16 − 4).
    assert [plane.get(f"Position{axis}") for axis in "YX"] == ["74", "62"]
    names = [channel.get("Name") for channel in root.findall(".//o:Channel", OME)]
    assert names == ["cät", 'dog <"&">', "new line"]
    text = root.find(".//o:Description", OME).text
    assert "at row 148, column 248 px" in text
    assert "a cell is 32 by 32 px" in text


def test_without_it_there_is_no_resolution(tmp_path):
    export(noise(), tmp_path / "map.ome.tif")
    with tifffile.TiffFile(tmp_path / "map.ome.tif") as file:
        assert file.pages.first.resolutionunit == tifffile.RESUNIT.NONE


def test_one_class_and_the_same_file_each_time(tmp_path):
    for name in ("a.ome.tiff", "b.ome.tiff"):
        export(noise(), tmp_path / name, classes=[1])
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        np.testing.assert_array_equal(file.series[0].asarray().squeeze(), noise().scores[..., 1])
    one, other = ((tmp_path / name).read_bytes() for name in ("a.ome.tiff", "b.ome.tiff"))
    assert one.replace(b"a.ome", b"b.ome") == other
