import json

import numpy as np
import pytest
import zarr

from drawn_maps import DrawnMap, about, frame, noise
from fullconv.errors import UsageError
from fullconv.storage.maps.exports import export


def exported(given, path, **options):
    made = export(given, path / "map.ome.zarr", **options)
    return made, zarr.open_group(path / "map.ome.zarr", mode="r")


def test_it_is_valid_by_the_models_of_the_specification(tmp_path):
    models = pytest.importorskip("ome_zarr_models.v05")
    given = noise(300, 530, classes=("cat", "dog", "ape"), frame=frame(mpp=[0.5, 0.25]))
    _, group = exported(given, tmp_path)
    image = models.Image.from_zarr(group)
    (multiscale,) = image.attributes.ome.multiscales
    assert [axis.name for axis in multiscale.axes] == ["c", "y", "x"]
    assert [axis.type for axis in multiscale.axes] == ["channel", "space", "space"]
    assert [axis.unit for axis in multiscale.axes[1:]] == ["micrometer", "micrometer"]
    shown = group.attrs["ome"]["omero"]["channels"]
    assert [channel["label"] for channel in shown] == ["cat", "dog", "ape"]


def test_the_finest_level_is_the_map_and_the_others_are_means(tmp_path):
    given = noise(300, 530)
    made, group = exported(given, tmp_path)
    assert made.facts == {"levels": [[300, 530], [150, 265], [75, 133]]}
    level = np.moveaxis(given.scores, 2, 0)
    for name, shape in zip("012", made.facts["levels"], strict=True):
        found = group[name]
        assert found.shape == (3, *shape)
        assert found.dtype == np.float32
        assert found.metadata.dimension_names == ("c", "y", "x")
        np.testing.assert_allclose(found[:], level, rtol=1e-6)
        level = halved(level)
    assert sorted(group) == ["0", "1", "2"]


def halved(level):
    """One cell after the other."""
    found = np.full((len(level), -(-level.shape[1] // 2), -(-level.shape[2] // 2)), np.nan)
    for channel, row, col in np.ndindex(found.shape):
        part = level[channel, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel()
        part = part[~np.isnan(part)].astype(float)
        if len(part):
            found[channel, row, col] = part.mean()
    return found.astype(np.float32)


def test_places_are_micrometres_where_the_size_of_pixels_is_known(tmp_path):
    given = noise(frame=frame(origin=(100, 200), scale=(4, 4), mpp=[0.5, 0.25]))
    _, group = exported(given, tmp_path)
    (dataset,) = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert dataset["coordinateTransformations"] == [
        {"type": "scale", "scale": [1, 16, 8]},  # 8 px of 4 px of 0.5 and 0.25 µm
        # 100 + 4 · 16 is the centre of the first window; px 0 has its own at 0.5.
        {"type": "translation", "translation": [0, 0.5 * (164 - 0.5), 0.25 * (264 - 0.5)]},
    ]


def test_without_it_they_are_px_and_have_no_unit(tmp_path):
    _, group = exported(noise(), tmp_path)
    (multiscale,) = group.attrs["ome"]["multiscales"]
    assert multiscale["axes"][1:] == [
        {"name": "y", "type": "space"},
        {"name": "x", "type": "space"},
    ]
    (dataset,) = multiscale["datasets"]
    assert dataset["coordinateTransformations"][1]["translation"] == [0, 15.5, 15.5]


def test_viewers_show_probabilities_from_0_to_1_and_scores_over_their_range(tmp_path):
    def window(given):
        _, group = exported(given, tmp_path)
        channel = group.attrs["ome"]["omero"]["channels"][0]
        assert len(channel["color"]) == 6
        return channel["window"]

    ends = {"min": 0, "max": 1, "start": 0, "end": 1}
    assert window(noise()) == ends
    size, window_, stride = (100, 100), (4, 4), (4, 4)
    scores = about(size, window_, stride, values="scores")
    ramp = DrawnMap(scores, lambda row, col, _: row - 3.0)
    assert window(ramp) == {"min": -3, "max": 21, "start": -3, "end": 21}
    assert window(DrawnMap(scores, lambda row, col, _: row * np.nan)) == ends
    broken = DrawnMap(scores, lambda row, col, _: np.where(row == 3, np.inf, row))
    assert window(broken)["end"] == 24  # the largest that can be shown


def test_a_map_that_is_replaced_leaves_nothing_of_the_old_one(tmp_path):
    exported(noise(300, 300), tmp_path)
    _, group = exported(noise(5, 5), tmp_path)
    assert list(group) == ["0"]
    assert [path.name for path in tmp_path.iterdir()] == ["map.ome.zarr"]


def test_a_folder_that_is_something_else_stays(tmp_path):
    folder = tmp_path / "map.ome.zarr"
    folder.mkdir()
    export(noise(), folder)  # an empty one may be replaced
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("precious")
    with pytest.raises(
        UsageError, match="is there already, and is no OME-Zarr written by fullconv."
    ):
        export(noise(), tmp_path / "notes", format="ome-zarr")
    image = zarr.create_group(tmp_path / "other.zarr", zarr_format=3)
    image.update_attributes({"ome": {"version": "0.5"}})  # what was scanned, perhaps
    with pytest.raises(UsageError, match="is no OME-Zarr"):
        export(noise(), tmp_path / "other.zarr")
    (tmp_path / "bad.zarr").mkdir()
    (tmp_path / "bad.zarr" / "zarr.json").write_text("{")
    with pytest.raises(UsageError, match="is no OME-Zarr"):
        export(noise(), tmp_path / "bad.zarr")
    assert (tmp_path / "notes" / "a.txt").read_text() == "precious"


def test_the_same_map_gives_the_same_files(tmp_path):
    given = noise(300, 300)
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        export(given, tmp_path / name / "map.ome.zarr")
        root = tmp_path / name / "map.ome.zarr"
        contents.append({
            str(file.relative_to(root)): file.read_bytes()
            for file in root.rglob("*") if file.is_file()
        })  # fmt: skip
    assert contents[0] == contents[1]
    assert json.loads(contents[0]["zarr.json"])["attributes"]["ome"]["version"] == "0.5"
