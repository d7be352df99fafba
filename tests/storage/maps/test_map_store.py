import json
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import map_contents
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from map_contents import CELLS, SHAPE, WHOLE, about, begin, block, faults, fill

from fullconv.errors import IncompleteError, InputError, UsageError
from fullconv.geometry import Grid
from fullconv.storage.maps import MapWriter, open_map
from fullconv.storage.sources import Fault, Frame


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> Path:
    """One of each kind."""
    root = tmp_path_factory.mktemp("maps")
    fill(root / "float32")
    fill(root / "float16", "float16")
    fill(root / "uint8", "uint8", values="probabilities")
    fill(root / "chosen", kept=(4, 1))
    fill(root / "top", kept=("top", 3))
    fill(root / "bytes", "uint8", kept=("top", 3), values="probabilities")
    with begin(root / "part", kept=("top", 3)) as writer:
        for index in ((0, 1), (1, 0)):
            writer.write(index, block(writer, index), faults(index))
    return root


span = [st.tuples(*2 * [st.integers(0, n)]).map(sorted).map(tuple) for n in CELLS]


@given(*span)
def test_any_part_is_that_part_of_the_whole(maps, rows, cols):
    part = np.s_[slice(*rows), slice(*cols)]
    for name, tolerance in (("float32", 0), ("float16", 5e-4), ("uint8", 0.5 / 254 + 1e-7)):
        found = open_map(maps / name).read(rows, cols)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, WHOLE[part], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(
        open_map(maps / "chosen").read(rows, cols), WHOLE[part][..., [4, 1]]
    )


def test_what_it_says_of_itself(maps):
    store = open_map(maps / "chosen")
    assert store.shape == (*CELLS, 2)
    assert store.numbers == (4, 1)
    assert store.about == about(kept=(4, 1))
    assert store.grid == Grid(map_contents.SIZE, (32, 32), (8, 8))
    assert store.grid.shape == CELLS
    assert store.frame == Frame((Fraction(0),) * 2, (Fraction(4),) * 2, (0.25, 0.25))
    assert store.complete
    assert store.done == frozenset(store.layout)
    assert store.faults == (
        Fault((0, 0, 8, 8), "missing"),
        Fault((40, 40, 48, 56), "tile 7 is cut short"),
    )
    assert store.read().shape == store.shape
    assert open_map(str(maps / "top")).numbers == ()


@pytest.mark.parametrize(
    "frame",
    [
        Frame.plain(2),
        Frame((Fraction(1, 3), Fraction(-7)), (Fraction(4), Fraction(9, 2)), (0.2527, 0.1)),
        Frame(
            (Fraction(0),) * 2, (Fraction(1),) * 2, None, "WKT", (300.04, 0.1, 1e5, 0, -300, 2e6)
        ),
    ],
)
def test_a_frame_is_the_one_that_was_given(frame, tmp_path):
    begin(tmp_path / "map", frame=asdict(frame)).close()
    assert open_map(tmp_path / "map", incomplete=True).frame == frame


def test_a_frame_that_is_none(tmp_path):
    begin(tmp_path / "plain", frame={}).close()
    assert open_map(tmp_path / "plain", incomplete=True).frame == Frame.plain(2)
    for number, frame in enumerate(({"origin": ["0"]}, {"origin": ["x"], "scale": [1]})):
        begin(tmp_path / f"map{number}", frame=frame).close()
        with pytest.raises(InputError, match="its frame is damaged, or was changed"):
            _ = open_map(tmp_path / f"map{number}", incomplete=True).frame


@pytest.mark.parametrize("name", ["float32", "top", "part"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_best_classes(maps, name, k):
    store = open_map(maps / name, incomplete=True)
    scores, classes = store.top(k, (2, 14), (3, 16))
    wanted = WHOLE[2:14, 3:16].copy()
    if name == "part":
        there = np.zeros(CELLS, bool)
        for index in store.done:
            there[tuple(slice(*s) for s in store.layout.span(index))] = True
        wanted[~there[2:14, 3:16]] = np.nan
    known = ~np.isnan(wanted[..., 0])
    np.testing.assert_array_equal(scores, -np.sort(-wanted, axis=-1)[..., :k])
    assert (classes[~known] == 65535).all()
    found = np.take_along_axis(wanted[known], classes[known].astype(int), axis=-1)
    np.testing.assert_array_equal(found, scores[known])


def test_the_best_of_chosen_classes_have_their_own_numbers(maps):
    scores, classes = open_map(maps / "chosen").top(2)
    known = ~np.isnan(WHOLE[..., 0])
    np.testing.assert_array_equal(
        classes[known][:, 0] == 4, WHOLE[known][:, 4] > WHOLE[known][:, 1]
    )
    assert set(np.unique(classes[known])) == {1, 4}
    assert (classes[~known] == 65535).all()
    np.testing.assert_array_equal(scores[known].max(axis=-1), WHOLE[known][:, [4, 1]].max(axis=-1))


def test_one_class_by_itself(maps):
    np.testing.assert_array_equal(open_map(maps / "float32").plane(2), WHOLE[..., 2])
    chosen = open_map(maps / "chosen").plane(1, (0, 4), (5, 9))
    np.testing.assert_array_equal(chosen, WHOLE[:4, 5:9, 1])
    third = -np.sort(-WHOLE, axis=-1)[..., 2]
    among = np.where(WHOLE[..., 2] >= third, WHOLE[..., 2], np.nan)
    np.testing.assert_array_equal(open_map(maps / "top").plane(2), among)
    among_bytes = open_map(maps / "bytes").plane(2)
    np.testing.assert_allclose(among_bytes, among, rtol=0, atol=0.5 / 254 + 1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda s: s.read((0, 16), (0, 3)),
            "cells ((0, 16), (0, 3)) are asked for, and the map has",
        ),
        (lambda s: s.read((-1, 3), (0, 3)), "and the map has (15, 17)."),
        (lambda s: s.read((4, 3), (0, 3)), "and the map has (15, 17)."),
        (lambda s: s.read((0, 3)), "and the map has (15, 17)."),
        (lambda s: s.top(3), "the best 3 classes are asked for, and 2 are stored."),
        (lambda s: s.top(0), "the best 0 classes are asked for, and 2 are stored."),
        (lambda s: s.plane(0), "class 0 is not stored."),
    ],
)
def test_what_is_not_there_is_refused(maps, call, message):
    with pytest.raises(UsageError) as caught:
        call(open_map(maps / "chosen"))
    assert message in str(caught.value)
    with pytest.raises(UsageError, match="class 6 is not stored"):
        open_map(maps / "top").plane(6)


def test_an_incomplete_map_is_opened_only_when_asked(maps):
    with pytest.raises(IncompleteError) as caught:
        open_map(maps / "part")
    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        f"{maps / 'part'}: the map is incomplete: 2 of 4 chunks are there.\n"
        "Scan again with the same settings to go on with it, or open it as it is "
        "(incomplete=True)."
    )
    store = open_map(maps / "part", incomplete=True)
    assert not store.complete
    assert store.done == {(0, 1), (1, 0)}
    assert store.faults == (
        Fault((0, 0, 8, 8), "missing"),
        Fault((40, 40, 48, 56), "tile 7 is cut short"),
    )
    scores = store.read()
    assert np.isnan(scores[8:, 9:]).all()
    assert np.isnan(scores[:8, :9]).all()
    np.testing.assert_array_equal(scores[8:, :9], -np.sort(-WHOLE[8:, :9], axis=-1)[..., :3])


def test_a_chunk_that_was_written_and_not_entered_is_not_read(tmp_path):
    """A kill came between: of two files one may be there, or that of an earlier attempt."""
    with begin(tmp_path / "map") as writer:
        writer.write((0, 1), block(writer, (0, 1)))
    journal = tmp_path / "map/journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    store = open_map(tmp_path / "map", incomplete=True)
    assert store.done == frozenset()
    assert np.isnan(store.read()).all()
    journal.unlink()
    with pytest.raises(IncompleteError, match="0 of 4 chunks are there"):
        open_map(tmp_path / "map")


def test_a_chunk_that_is_missing_is_not_read_as_empty(tmp_path):
    fill(tmp_path / "map")
    (tmp_path / "map/scores/c.1.0.0").unlink()
    store = open_map(tmp_path / "map")
    np.testing.assert_array_equal(store.read((0, 8), (0, 17)), WHOLE[:8])
    with pytest.raises(InputError, match=r"c\.1\.0\.0: chunk \(1, 0\) is missing\.\nScan again"):
        store.read()
    assert store.unsound() == ((1, 0),)


def test_a_chunk_that_is_damaged_is_not_read(tmp_path):
    fill(tmp_path / "map")
    file = tmp_path / "map/scores/c.1.0.0"
    content = file.read_bytes()
    assert open_map(tmp_path / "map").unsound() == ()
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        store = open_map(tmp_path / "map")
        with pytest.raises(
            InputError, match=r"c\.1\.0\.0: chunk \(1, 0\) is damaged\.\nzarr says: "
        ):
            store.read((8, 9), (0, 1))
    for size in (0, 3, 10, len(content) - 1):
        file.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"chunk \(1, 0\) is damaged"):
            open_map(tmp_path / "map").read()
    assert store.unsound() == ((1, 0),)


def test_the_chunks_cannot_be_checked_without_the_journal(tmp_path):
    fill(tmp_path / "map")
    (tmp_path / "map/journal.jsonl").unlink()
    store = open_map(tmp_path / "map")
    np.testing.assert_array_equal(store.read(), WHOLE)
    with pytest.raises(InputError, match=r"journal\.jsonl: is missing or damaged"):
        store.unsound()


def test_what_is_no_map(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    zarr.create_group(tmp_path / "group", attributes={"fullconv": {"format": "something"}})
    zarr.create_array(tmp_path / "array", shape=(3,), chunks=(3,), dtype="u1")
    for name, message in (
        ("nothing", "nothing: there is no such map."),
        ("file", "file: is a file, and a map is a folder."),
        ("empty", "empty: is no score map of fullconv.\nThere is no zarr.json in it."),
        ("group", "group: is no score map of fullconv.\nIts zarr.json names another format."),
        ("array", "array: is no score map of fullconv.\nIts zarr.json names another format."),
    ):
        with pytest.raises(InputError) as caught:
            open_map(tmp_path / name)
        assert str(caught.value) == f"{tmp_path}/{message}"


def changed(root: Path, **changes: object) -> None:
    """Change attributes of a map; None takes one away."""
    given = json.loads((root / "zarr.json").read_text())
    attributes = given["attributes"]["fullconv"]
    for name, value in changes.items():
        attributes[name] = value
        if value is None:
            del attributes[name]
    (root / "zarr.json").write_text(json.dumps(given))


def test_a_map_of_another_version_is_refused(tmp_path):
    fill(tmp_path / "map")
    changed(tmp_path / "map", version=2)
    with pytest.raises(InputError) as caught:
        open_map(tmp_path / "map")
    assert str(caught.value) == (
        f"{tmp_path / 'map'}: is a score map of version 2, and this fullconv reads version 1.\n"
        "Read it with the fullconv that made it."
    )
    with pytest.raises(InputError, match="is a score map of version 2"):
        begin(tmp_path / "map")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": None}, "It says: window is missing."),
        ({"window": [32, "32"]}, "It says: window is [32, '32']."),
        ({"window": 5}, "not iterable"),
        ({"shape": [15, 17]}, "has chunks of 1 sides"),
        ({"shape": "15"}, "It says: "),
        ({"dtype": 5}, "dtype=5 must be one of"),
        ({"model": 5}, "It says: model is 5."),
        ({"frame": 5}, "It says: frame is 5."),
        ({"classes": 5}, "not iterable"),
        ({"kept": {"best": 5}}, "It says: top is missing."),
        ({"faults": [["a"]]}, "It says: "),
        ({"size": [3, 3]}, "smaller than the 32×32 window"),
    ],
)
def test_attributes_that_were_damaged_are_told(changes, message, tmp_path):
    fill(tmp_path / "map")
    changed(tmp_path / "map", **changes)
    with pytest.raises(InputError, match="is damaged, or was changed") as caught:
        open_map(tmp_path / "map")
    assert message in str(caught.value)


def test_arrays_that_are_not_those_of_the_map(tmp_path):
    fill(tmp_path / "map")
    document = tmp_path / "map/scores/zarr.json"
    good = json.loads(document.read_text())
    for change, message in (
        ({"shape": [15, 17, 5]}, "is an array (15, 17, 5) of float32, and the map says it is"),
        ({"codecs": [{"name": "unheard of"}]}, "is no array of Zarr 3."),
        ({"node_type": "group"}, "is no array of Zarr 3."),
    ):
        document.write_text(json.dumps({**good, **change}))
        with pytest.raises(InputError) as caught:
            open_map(tmp_path / "map")
        assert message in str(caught.value)
    for text in ("{", ""):
        document.write_text(text)
        with pytest.raises(InputError, match=r"is no array of Zarr 3\.\nzarr says: "):
            open_map(tmp_path / "map")
    document.unlink()
    with pytest.raises(InputError, match="is no array of Zarr 3"):
        open_map(tmp_path / "map")


@pytest.mark.parametrize("cells", [(40,), (3, 9, 10)])
def test_other_numbers_of_axes(cells, tmp_path):
    sides = {"window": 8, "stride": 4}
    facts = {name: (value,) * len(cells) for name, value in sides.items()}
    size = tuple((n - 1) * 4 + 8 for n in cells)
    given = about(**facts, size=size, frame={})
    scores = np.random.default_rng(0).normal(size=(*cells, 6)).astype(np.float32)
    chunk = tuple(max(1, n // 2 - 1) for n in cells)
    with MapWriter.create_or_resume(tmp_path / "map", given, scores.shape, chunk) as writer:
        for index in writer.layout:
            writer.write(index, scores[tuple(slice(*s) for s in writer.layout.span(index))])
        writer.finish()
    store = open_map(tmp_path / "map")
    np.testing.assert_array_equal(store.read(), scores)
    spans = tuple((n // 3, n) for n in cells)
    np.testing.assert_array_equal(
        store.top(1, *spans)[1][..., 0], scores[tuple(slice(*s) for s in spans)].argmax(axis=-1)
    )
    assert store.shape != SHAPE
