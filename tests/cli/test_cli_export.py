import json

import numpy as np
import PIL.Image
import pytest
import tifffile
from cli_runs import files, process

from drawn_maps import frame, noise, stored

NAMES = ("cat", "dog", "tiger cat, Felis tigrina")


@pytest.fixture
def drawn(here):
    """A map in the folder "scan" of the picture "photo.png", 53 × 41 cells."""
    size = (8 * 53 + 24, 8 * 41 + 24)
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(here / "photo.png")
    map_ = noise(classes=NAMES, source="photo.png", frame=frame(origin=(0, 0)))
    stored(here / "scan", map_)
    return map_


def new(here):
    return files(here) - {"nets.py", "photo.png", "scan"}


def test_geojson(fullconv, here, drawn):
    run = fullconv("export", "scan", "-o", "map.geojson", "--threshold", "0.5", "--class", "dog")
    assert run.code == 0
    assert run.err == "writing map.geojson ...\n"
    features = json.loads((here / "map.geojson").read_text())["features"]
    assert {f["properties"]["classification"]["name"] for f in features} == {"dog"}
    assert run.out.splitlines() == [
        "scan: 53×41 cells, probabilities of class dog",
        "cells of 8×8 px from row 12, column 12 on, at full resolution",
        f"polygons: {len(features)} of dog",
        "written: map.geojson",
    ]
    assert new(here) == {"map.geojson"}
    none = fullconv("export", "scan", "-o", "map.geojson", "--threshold", "1.5")
    assert none.out.splitlines()[2] == "polygons: none"


def test_json_answers(fullconv, here, drawn):
    words = ["--class", "Felis tigrina", "--class", "0", "--json"]
    run = fullconv("export", "scan", "-o", "map.ome.tif", *words)
    assert run.code == 0
    assert run.json == {
        "map": "scan", "complete": True, "format": "ome-tiff", "shape": [53, 41],
        "values": "probabilities",
        "classes": [{"class": 2, "name": NAMES[2]}, {"class": 0, "name": "cat"}],
        "corner": [12, 12], "cell": [8, 8], "mpp": None, "levels": [[53, 41]],
        "written": ["map.ome.tif"],
    }  # fmt: skip
    with tifffile.TiffFile(here / "map.ome.tif") as file:
        np.testing.assert_array_equal(
            file.series[0].asarray(), np.moveaxis(drawn.scores[..., [2, 0]], 2, 0)
        )


def test_the_other_formats(fullconv, here, drawn):
    run = fullconv("export", "scan", "-o", "map.ome.zarr")
    assert run.code == 0
    assert run.out.splitlines()[0] == "scan: 53×41 cells, probabilities of 3 classes"
    assert run.out.splitlines()[2] == "levels: 53×41"
    pytest.importorskip("rasterio")
    run = fullconv("export", "scan", "-o", "odd.name", "--format", "geotiff")
    assert run.code == 0
    assert run.out.splitlines()[2] == "reference system: px of the image"
    data = fullconv("export", "scan", "-o", "map.tif", "--json").json
    assert data["transform"] == [8, 0, 12, 0, 8, 12]
    assert new(here) == {"map.ome.zarr", "odd.name", "map.tif"}


def test_pictures(fullconv, here, drawn):
    run = fullconv("export", "scan", "-o", "all.png")  # over the image that the map names
    assert run.code == 0
    with PIL.Image.open(here / "all.png") as picture:
        assert run.out.splitlines()[2] == f"a picture of {picture.height}×{picture.width} px"
        assert picture.height == drawn.about.size[0]
        every = np.asarray(picture)
    (here / "photo.png").rename(here / "moved.png")
    words = ["export", "scan", "-o", "one.png", "--class", "dog"]
    run = fullconv(*words)
    assert run.code == 2
    assert run.error.endswith(
        "--image: the map was made of photo.png, which is not there.\n"
        "Name the image that was scanned."
    )
    assert fullconv(*words, "--image", "moved.png").code == 0
    words = ["export", "scan", "-o", "two.png", "--image", "moved.png", "--threshold", "0.9"]
    assert fullconv(*words).code == 0
    with PIL.Image.open(here / "moved.png") as image, PIL.Image.open(here / "two.png") as picture:
        original = np.asarray(image)
        some = np.asarray(picture)[:, : original.shape[1]]
    every = every[:, : original.shape[1]]
    assert 0 < (some != original).sum() < (every != original).sum()
    assert new(here) == {"all.png", "moved.png", "one.png", "two.png"}


def test_a_picture_of_a_map_of_one_class(fullconv, here, drawn):
    stored(here / "single", noise(count=1, source="photo.png"))
    assert fullconv("export", "single", "-o", "a.png").code == 0
    run = fullconv("export", "single", "-o", "a.geojson")
    assert run.code == 2
    assert "the map holds one class, which wins everywhere." in run.error


def test_another_image_is_bad_input(fullconv, here, drawn):
    PIL.Image.new("RGB", (100, 100)).save(here / "small.png")
    run = fullconv("export", "scan", "-o", "a.png", "--image", "small.png")
    assert run.code == 3
    assert "small.png: the image is 100×100 px, and the map was made of" in run.error
    run = fullconv("export", "scan", "-o", "a.png", "--image", "none.png")
    assert run.code == 3
    assert "none.png: there is no such file." in run.error
    assert not (here / "a.png").exists()


def test_an_incomplete_map(fullconv, here, drawn):
    given = stored(here / "half", drawn, finish=False)
    run = fullconv("export", "half", "-o", "map.geojson")
    assert run.code == 5
    chunks = len(given.layout)
    assert run.error == (
        f"error: half: the map is incomplete: {chunks - 1} of {chunks} chunks are there.\n"
        "Scan again with the same settings to go on with it, or say --incomplete to write what is "
        "there."
    ).removeprefix("error: ")
    assert new(here) == {"half"}
    run = fullconv("export", "half", "-o", "map.ome.tif", "--incomplete", "--json")
    assert run.code == 0
    assert run.json["complete"] is False
    assert run.err.startswith("half: incomplete; what is not scanned yet has no score\n")
    with tifffile.TiffFile(here / "map.ome.tif") as file:
        found = file.series[0].asarray()
    assert np.isnan(found[:, 48:, 32:]).all()
    np.testing.assert_array_equal(found[:, :48], np.moveaxis(drawn.scores, 2, 0)[:, :48])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["scan"], 2, "Missing option '-o' / '--output'."),
        (["scan", "-o", "map.svs"], 2, "map.svs: the end of the name says no format.\nEnd it in"),
        (["scan", "-o", "a.tif", "--format", "png"], 2, "-o a.tif must be a name that ends in .png."),
        (["scan", "-o", "a.tif", "--class", "dgo"], 2,
         "the network has no class 'dgo'.\nDid you mean dog"),
        (["scan", "-o", "a.tif", "--image", "photo.png"], 2,
         "--image is of png, and a.tif is geotiff."),
        (["scan", "-o", "a.ome.tif", "--threshold", "0.5"], 2,
         "threshold=0.5: a file of ome-tiff holds the values themselves."),
        (["scan", "-o", "scan", "--format", "ome-zarr"], 2, "-o: scan would overwrite the map."),
        (["scan", "-o", "scan/a.tif"], 2, "-o: scan/a.tif lies in the map that is written."),
        (["scan", "-o", "photo.png", "--image", "photo.png"], 2,
         "-o: photo.png would overwrite the image."),
        (["scan", "-o", "photo.png"], 2,
         "-o: photo.png would overwrite the image that was scanned."),
        (["scan", "-o", "no/a.geojson"], 1, "cannot be written: the folder "),
        (["none", "-o", "a.tif"], 3, "none: there is no such map."),
        (["photo.png", "-o", "a.tif"], 3, "photo.png: is a file, and a map is a folder."),
    ],
)  # fmt: skip
def test_wrong_calls(words, code, message, fullconv, here, drawn):
    run = fullconv("export", *words)
    assert run.code == code
    assert message in run.error
    assert new(here) == set()


def test_what_is_there_is_replaced_but_for_other_folders(fullconv, here, drawn):
    (here / "a.geojson").write_text("old")
    assert fullconv("export", "scan", "-o", "a.geojson").code == 0
    assert (here / "a.geojson").read_text() != "old"
    for _ in range(2):
        assert fullconv("export", "scan", "-o", "a.zarr").code == 0
    stored(here / "other.zarr", noise(5, 5))
    run = fullconv("export", "scan", "-o", "other.zarr")
    assert run.code == 2
    assert "other.zarr: is there already, and is no OME-Zarr written by fullconv." in run.error


def test_without_rasterio(fullconv, here, drawn, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    run = fullconv("export", "scan", "-o", "a.tif")
    assert run.code == 2
    assert run.error.endswith(
        "writing GeoTIFF needs rasterio, which is not installed.\n"
        "Install it with: pip install 'fullconv[geo]'"
    )


def test_a_damaged_chunk_is_bad_input(fullconv, here, drawn):
    chunk = here / "scan" / "scores" / "c.1.1.0"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    run = fullconv("export", "scan", "-o", "a.geojson")
    assert run.code == 3
    assert "chunk (1, 1) is damaged." in run.error
    assert new(here) == set()


def test_torch_is_not_needed(here, drawn):
    code = "import sys; sys.modules['torch'] = None\nfrom fullconv.cli import main\nmain()"
    import os
    import subprocess
    import sys

    from cli_runs import SRC

    for name in ("a.geojson", "a.png"):
        done = subprocess.run(
            [sys.executable, "-c", code, "export", "scan", "-o", name],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SRC)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert process("export", "scan", "-o", "b.zarr").code == 0
