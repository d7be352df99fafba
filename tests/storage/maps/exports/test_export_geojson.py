import json
import math

import numpy as np
import pytest
from scipy import ndimage

from drawn_maps import DrawnMap, about, frame, noise, stored
from fullconv.errors import UsageError
from fullconv.storage.maps.exports import export

shapely = pytest.importorskip("shapely")


def exported(given, path, **options):
    made = export(given, path / "map.geojson", **options)
    found = json.loads((path / "map.geojson").read_text(), parse_constant=lambda name: 1 / 0)
    return made, found


def check(collection):
    """RFC 7946, section by section."""
    assert collection["type"] == "FeatureCollection"  # 3.3
    for feature in collection["features"]:
        assert feature["type"] == "Feature"  # 3.2
        assert isinstance(feature["properties"], dict)
        geometry = feature["geometry"]
        assert geometry["type"] == "Polygon"
        assert "crs" not in feature  # 4
        for index, ring in enumerate(geometry["coordinates"]):  # 3.1.6
            assert len(ring) >= 4
            assert ring[0] == ring[-1]
            assert all(len(position) == 2 for position in ring)
            assert all(math.isfinite(number) for position in ring for number in position)
            assert shapely.LinearRing(ring).is_ccw == (index == 0)
        shape = shapely.geometry.shape(geometry)
        assert shape.is_valid, shapely.is_valid_reason(shape)
        yield feature, shape


def test_areas_of_the_winning_class(tmp_path):
    given = noise(classes=("cat", "dog", "ape"))
    made, collection = exported(given, tmp_path)
    blank = np.isnan(given.scores).all(2)
    winner = np.where(blank, -1, np.nan_to_num(given.scores, nan=-1).argmax(2))
    best = given.scores.max(2)
    expected = {}
    for number, name in enumerate(given.about.classes):
        parts, count = ndimage.label(winner == number)
        for part in range(1, count + 1):
            own = parts == part
            expected[float(best[own].max())] = (name, int(own.sum()), float(best[own].mean()))
    found = list(check(collection))
    assert len(found) == len(expected) == made.facts["polygons"]
    for feature, shape in found:
        properties = feature["properties"]
        measured = properties["measurements"]
        name, cells, mean = expected[np.float32(measured["Max probability"])]
        assert properties["objectType"] == "annotation"
        assert properties["classification"]["name"] == name
        assert all(0 <= part <= 255 for part in properties["classification"]["color"])
        assert measured["Cells"] == cells
        assert measured["Area px^2"] == shape.area == cells * 64
        assert measured["Mean probability"] == pytest.approx(mean, rel=1e-6)
        assert "Area µm^2" not in measured
    counts = {name: sum(e[0] == name for e in expected.values()) for name in given.about.classes}
    assert made.facts["polygons_of"] == counts


def test_together_they_cover_every_cell_with_a_score_once(tmp_path):
    given = noise()
    shapes = [shape for _, shape in check(exported(given, tmp_path)[1])]
    cells = (~np.isnan(given.scores[..., 0])).sum()
    assert shapely.union_all(shapes).area == sum(s.area for s in shapes) == cells * 64


def test_areas_that_reach_a_threshold_may_overlap(tmp_path):
    given = noise()
    made, collection = exported(given, tmp_path, threshold=0.5, classes=[2, 0])
    assert made.facts["threshold"] == 0.5
    found = list(check(collection))
    for number in (0, 2):
        own = [
            s for f, s in found if f["properties"]["classification"]["name"] == f"class {number}"
        ]
        reached = given.scores[..., number] >= 0.5
        assert len(own) == ndimage.label(reached)[1]
        assert sum(shape.area for shape in own) == reached.sum() * 64
        for row, col in np.argwhere(reached)[::50].tolist():
            middle = shapely.Point(8 * col + 16, 8 * row + 16)  # the centre of its window
            assert sum(shape.contains(middle) for shape in own) == 1
    assert {f["properties"]["classification"]["name"] for f, _ in found} == {"class 0", "class 2"}


def test_the_winner_is_that_of_all_classes_also_if_some_are_asked_for(tmp_path):
    given = noise()
    everything = exported(given, tmp_path)[1]["features"]
    some = exported(given, tmp_path, classes=[1])[1]["features"]
    assert some == [f for f in everything if f["properties"]["classification"]["name"] == "class 1"]


def test_micrometres_and_level_0(tmp_path):
    place = frame(origin=(100, 200), scale=(4, 4), mpp=[0.5, 0.25])
    given = about((16, 16), (8, 8), (8, 8), frame=place, values="scores")
    drawn = DrawnMap(given, lambda row, col, _: np.where(row == 0, 7.0, -1.0))
    _, collection = exported(drawn, tmp_path, threshold=0)
    ((feature, shape),) = check(collection)
    assert shape.bounds == (200, 100, 264, 132)
    assert feature["properties"]["measurements"] == {
        "Cells": 2, "Area px^2": 2048, "Area µm^2": 256, "Mean score": 7, "Max score": 7,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_stored_map_of_the_best_classes(dtype, tmp_path):
    """The best class of each cell is the same; and those that reach 0.55 are the best ones."""
    whole, best = noise(), noise(kept=("top", 2))
    whole.scores /= np.nansum(whole.scores, 2, keepdims=True)
    best.scores = whole.scores
    for options in ({}, {"threshold": 0.55}):
        one = exported(stored(tmp_path / f"a{len(options)}", whole, dtype), tmp_path, **options)[1]
        two = exported(stored(tmp_path / f"b{len(options)}", best, dtype), tmp_path, **options)[1]
        assert one == two
        assert one["features"]


def test_nothing_found_is_a_file_without_features(tmp_path):
    made, collection = exported(noise(), tmp_path, threshold=2)
    assert collection == {"type": "FeatureCollection", "features": []}
    assert made.facts == {"threshold": 2, "polygons": 0, "polygons_of": {}}


def test_a_single_class_needs_a_threshold(tmp_path):
    with pytest.raises(UsageError) as caught:
        exported(noise(count=1), tmp_path)
    assert str(caught.value) == (
        "the map holds one class, which wins everywhere.\n"
        "Give a threshold: areas where its value reaches it are then written."
    )
    with pytest.raises(UsageError, match="threshold=nan is no number."):
        exported(noise(), tmp_path, threshold=float("nan"))
    assert not (tmp_path / "map.geojson").exists()


def test_scores_that_are_infinite_have_no_mean(tmp_path):
    given = about((16, 16), (8, 8), (8, 8), values="scores")
    _, collection = exported(DrawnMap(given, lambda row, col, _: np.inf), tmp_path, threshold=1)
    ((feature, _),) = check(collection)
    assert feature["properties"]["measurements"] == {"Cells": 4, "Area px^2": 256}
