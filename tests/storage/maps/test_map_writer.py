import hashlib
import json
import shutil
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import map_contents
import numpy as np
import pytest
import zarr
from map_contents import CHUNK, SHAPE, WHOLE, about, begin, block, faults, fill, tree

from fullconv.errors import FullconvError, IncompleteError, InputError, UsageError
from fullconv.storage.maps import MapWriter, open_map
from fullconv.storage.sources import Fault

KINDS = [
    ("float32", {}),
    ("float16", {}),
    ("uint8", {"values": "probabilities"}),
    ("float32", {"kept": (4, 1)}),
    ("uint8", {"kept": ("top", 3), "values": "probabilities"}),
]


@pytest.mark.parametrize(("dtype", "changes"), KINDS)
def test_zarr_alone_reads_what_is_stored(dtype, changes, tmp_path):
    """And a part of it by hand: crc32c and zstd are left to zarr."""
    fill(tmp_path / "map", dtype, **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(tmp_path / "map", mode="r", zarr_format=3)
        names = sorted(name for name, _ in group.members())
    top = changes.get("kept", "all")[0] == "top"
    assert names == (["classes", "scores"] if top else ["scores"])
    scores = group["scores"]
    assert scores.dtype == dtype
    assert scores.chunks == (*CHUNK, scores.shape[-1])
    assert scores.metadata.dimension_names == ("row", "col", "rank" if top else "class")
    values = scores[...].astype(np.float64)
    if dtype == "uint8":
        values = np.where(values == 255, np.nan, values / 254)
    tolerance = {"float32": 0, "float16": 5e-4, "uint8": 0.5 / 254 + 1e-7}[dtype]
    wanted = WHOLE.astype(np.float64)
    if top:
        wanted = -np.sort(-wanted, axis=-1)[..., :3]  # NaN last
        classes = group["classes"][...]
        assert classes.dtype == np.uint16
        assert ((classes == 65535) == np.isnan(wanted)).all()
        found = np.take_along_axis(WHOLE, np.minimum(classes, 5).astype(int), axis=-1)
        np.testing.assert_array_equal(np.where(classes == 65535, np.nan, found), wanted)
    elif "kept" in changes:
        wanted = wanted[..., [4, 1]]
    np.testing.assert_allclose(values, wanted, rtol=0, atol=tolerance)
    # The documents are those that zarr writes itself.
    for array in names:
        own = zarr.open_array(tmp_path / "map" / array, mode="r")
        inline = group.metadata.consolidated_metadata.metadata[array]
        assert inline.to_dict() == own.metadata.to_dict()


def test_every_chunk_is_a_file_and_is_in_the_journal_with_its_checksum(tmp_path):
    fill(tmp_path / "map", kept=("top", 2))
    files = sorted(path for path in tree(tmp_path / "map"))
    chunks = [
        f"{array}/c.{i}.{j}.0" for array in ("classes", "scores") for i in (0, 1) for j in (0, 1)
    ]
    documents = ["classes", "classes/zarr.json", "journal.jsonl", "scores", "scores/zarr.json"]
    assert files == sorted([*chunks, *documents, "zarr.json"])
    head, *lines = map(json.loads, (tmp_path / "map/journal.jsonl").read_text().splitlines())
    assert (head["model"], head["plan"]) == (map_contents.MODEL, map_contents.PLAN)
    assert [line["chunk"] for line in lines] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    for line in lines:
        for name, digest in line["files"].items():
            content = (tmp_path / "map" / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest


def test_faults_are_collected_once_and_in_order(tmp_path):
    fill(tmp_path / "map")
    attributes = json.loads((tmp_path / "map/zarr.json").read_text())["attributes"]["fullconv"]
    assert attributes["complete"] is True
    assert attributes["faults"] == [
        [[0, 0, 8, 8], "missing"],
        [[40, 40, 48, 56], "tile 7 is cut short"],
    ]


def test_threads_may_write_different_chunks(tmp_path):
    with begin(tmp_path / "map") as writer, ThreadPoolExecutor(4) as pool:
        work = [pool.submit(writer.write, i, block(writer, i), faults(i)) for i in writer.layout]
        for done in work:
            done.result()
        writer.finish()
    fill(tmp_path / "wanted")
    assert tree(tmp_path / "map") == tree(tmp_path / "wanted")


def test_a_chunk_may_be_written_again(tmp_path):
    with begin(tmp_path / "map") as writer:
        writer.write((0, 1), np.zeros_like(block(writer, (0, 1))), [Fault((1, 1, 2, 2), "wrong")])
        for index in writer.layout:
            writer.write(index, block(writer, index), faults(index))
        writer.finish()
    assert tree(tmp_path / "map") == tree(fill(tmp_path / "wanted").path)


def test_a_complete_map_stays_as_it_is(tmp_path):
    fill(tmp_path / "map")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "map").rglob("*.*")}
    with begin(tmp_path / "map", source="renamed.svs", made_by="fullconv 9") as writer:
        assert writer.complete
        assert writer.remarks == ()
        assert writer.done == frozenset(writer.layout)
        assert writer.about.source == "slide.svs"
        writer.finish()
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "map").rglob("*.*")}


def ruin(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut short":
        path.write_bytes(content[:-1])
    elif how == "changed":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "another chunk's":
        shutil.copy(path.with_name("c.1.1.0"), path)
    elif how == "a folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("how", ["missing", "empty", "cut short", "changed", "another chunk's"])
@pytest.mark.parametrize("array", ["scores", "classes"])
def test_a_chunk_that_is_damaged_is_written_again(array, how, complete, tmp_path):
    wanted = tree(fill(tmp_path / "wanted", kept=("top", 2)).path)
    if complete:
        fill(tmp_path / "map", kept=("top", 2))
    else:
        with begin(tmp_path / "map", kept=("top", 2)) as writer:
            for index in writer.layout:
                writer.write(index, block(writer, index), faults(index))
    ruin(tmp_path / "map" / array / "c.0.1.0", how)
    with begin(tmp_path / "map", kept=("top", 2)) as writer:
        assert writer.done == frozenset(writer.layout) - {(0, 1)}
        assert writer.remarks == ("Chunk (0, 1) is missing or damaged, and will be written again.",)
        assert not writer.complete
        with pytest.raises(IncompleteError, match="1 of 4 chunks are missing"):
            writer.finish()
    with pytest.raises(IncompleteError, match="3 of 4 chunks are there"):
        open_map(tmp_path / "map")
    fill(tmp_path / "map", kept=("top", 2))
    assert tree(tmp_path / "map") == wanted


def test_it_is_told_how_far_the_chunks_are_verified(tmp_path):
    fill(tmp_path / "map")
    ruin(tmp_path / "map/scores/c.0.1.0", "missing")
    told = []
    writer = MapWriter.create_or_resume(
        tmp_path / "map", about(), SHAPE, CHUNK, verified=lambda *counts: told.append(counts)
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    writer.close()


def test_nothing_is_written_to_a_map_that_was_closed(tmp_path):
    with begin(tmp_path / "map") as writer:
        pass
    for call in (writer.finish, lambda: writer.write((0, 0), block(writer, (0, 0)))):
        with pytest.raises(ValueError, match="was closed, and others may write it"):
            call()


def test_without_its_journal_all_is_written_again(tmp_path):
    wanted = tree(fill(tmp_path / "map").path)
    (tmp_path / "map/journal.jsonl").unlink()
    with begin(tmp_path / "map") as writer:
        assert writer.done == frozenset()
        assert writer.remarks == ("There is no journal.jsonl: all chunks will be written again.",)
    fill(tmp_path / "map")
    assert tree(tmp_path / "map") == wanted


def test_documents_of_arrays_are_put_right(tmp_path):
    wanted = tree(fill(tmp_path / "map").path)
    (tmp_path / "map/scores/zarr.json").write_text("{}")
    with begin(tmp_path / "map"):
        pass
    assert tree(tmp_path / "map") == wanted


def test_another_scan_is_refused_naming_all_that_differs(tmp_path):
    with begin(tmp_path / "map") as writer:
        writer.write((0, 0), block(writer, (0, 0)))
    before = tree(tmp_path)
    changed = about(model="1" * 64, plan="2" * 64, fingerprint="3" * 64, stride=(4, 8), kept=(0,))
    shape = (*changed.grid.shape, 6)
    with pytest.raises(InputError) as caught:
        MapWriter.create_or_resume(tmp_path / "map", changed, shape, (9, 9), "float16")
    assert str(caught.value) == (
        f"{tmp_path / 'map'}: this folder holds a map that was begun otherwise:\n"
        "- stride: 8×8 there, 4×8 now\n"
        "- model: aaaaaaaa… there, 11111111… now\n"
        "- plan: bbbbbbbb… there, 22222222… now\n"
        "- fingerprint: cccccccc… there, 33333333… now\n"
        "- kept: all there, 0 now\n"
        f"- shape: 15×17×6 there, {changed.grid.shape[0]}×17×6 now\n"
        "- chunk: 8×9 there, 9×9 now\n"
        "- dtype: float32 there, float16 now\n"
        "Name another target, or give the same to go on with this one."
    )
    assert caught.value.exit_code == 3
    assert tree(tmp_path) == before
    assert begin(tmp_path / "map").done == {(0, 0)}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model": "1" * 64}, "model: aaaaaaaa… there, 11111111… now"),
        ({"plan": "1" * 64}, "plan: bbbbbbbb… there, 11111111… now"),
        ({"fingerprint": "1" * 64}, "fingerprint: cccccccc… there, 11111111… now"),
        (
            {"settings": {"mask": "auto", "precision": "float32"}},
            "settings mask: none there, auto now",
        ),
        ({"frame": {"scale": ["1", "1"]}}, "frame scale: 4, 4 there, 1, 1 now"),
        ({"values": "probabilities"}, "values: scores there, probabilities now"),
    ],
)
def test_each_difference_by_itself(changes, line, tmp_path):
    fill(tmp_path / "map")
    with pytest.raises(InputError) as caught:
        begin(tmp_path / "map", **changes)
    assert f"- {line}\n" in str(caught.value)


def test_folders_that_hold_something_else(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a.txt").write_text("x")
    zarr.create_group(tmp_path / "group", attributes={"a": 1})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/zarr.json").write_text("{")
    before = tree(tmp_path)
    for name, message in (
        ("file", "file: is a file, and a map is a folder.\nName another target."),
        ("full", "full: this folder holds something else: there is no zarr.json in it.\nName an"),
        ("group", "group: is no score map of fullconv.\nIts zarr.json names another format. Name"),
        ("broken", "zarr.json: is no JSON"),
    ):
        with pytest.raises(InputError) as caught:
            begin(tmp_path / name)
        assert message in str(caught.value)
        assert caught.value.exit_code == 3
    assert tree(tmp_path) == before


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FullconvError, match="this folder cannot be made"):
        begin(tmp_path / "file" / "map")


def test_a_name_that_is_too_long(tmp_path):
    for call in (begin, open_map):
        with pytest.raises(InputError, match="xxx: cannot be read: File name too long"):
            call(tmp_path / ("x" * 300))


def test_an_empty_folder_and_one_that_is_not_there_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/.hidden").write_text("x")
    begin(tmp_path / "empty").close()
    begin(tmp_path / "a/b/c").close()
    assert (tmp_path / "a/b/c/zarr.json").exists()


@pytest.mark.parametrize(
    ("shape", "dtype", "changes", "message"),
    [
        ((15, 18, 6), "float32", {}, "a map of 15×18 cells is to be written, and the windows on"),
        ((15, 17, 5), "float32", {}, "6 names of classes are given, and a cell has 5 scores."),
        (
            SHAPE,
            "uint8",
            {},
            "uint8 holds probabilities, from 0 to 1, and the map is to hold scores.",
        ),
        (SHAPE, "float32", {"kept": (6,)}, "class 6 is to be stored, and there are 6"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(
    shape, dtype, changes, message, tmp_path
):
    with pytest.raises(UsageError) as caught:
        MapWriter.create_or_resume(tmp_path / "map", about(**changes), shape, CHUNK, dtype)
    assert message in str(caught.value)
    assert tree(tmp_path) == {}


def test_what_is_no_chunk_is_refused(tmp_path):
    with begin(tmp_path / "map") as writer:
        with pytest.raises(IndexError, match=r"chunk \(2, 0\) is outside a map of 2×2"):
            writer.write((2, 0), np.zeros((8, 9, 6), np.float32))
        with pytest.raises(ValueError, match=r"chunk \(1, 1\) has the shape \(7, 8, 6\), not"):
            writer.write((1, 1), np.zeros((8, 9, 6), np.float32))
        wrong = np.full((8, 9, 6), 1e39)
        with pytest.raises(UsageError, match="is beyond what float32 holds"):
            writer.write((0, 0), wrong)
        assert writer.done == frozenset()


@pytest.mark.parametrize(
    ("dtype", "kept", "values"),
    [
        ("float32", "all", "scores"),
        ("float16", "all", "scores"),
        ("uint8", "all", "probabilities"),
        ("uint8", tuple(range(0, 300, 10)), "probabilities"),
        ("float32", ("top", 5), "scores"),
    ],
)
@pytest.mark.parametrize("edge", [0, 3])
def test_a_write_takes_no_more_than_it_says(dtype, kept, values, edge, tmp_path):
    shape = (2 * 32 - edge, 2 * 96 - edge, 300)
    size = tuple((n - 1) * 8 + 32 for n in shape[:2])
    given = about(size=size, classes=None, kept=kept, values=values)
    with MapWriter.create_or_resume(tmp_path / "map", given, shape, (32, 96), dtype) as writer:
        spans = writer.layout.span((1, 1))
        cells = [stop - start for start, stop in spans]
        scores = np.random.default_rng(0).random((*cells, 300), dtype=np.float32)
        writer.write((1, 1), scores)  # what is imported and compiled once
        tracemalloc.start()
        writer.write((1, 1), scores)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # zstd's own memory is not traced: the 4 MiB that are allowed for it are left out.
        assert peak < writer.layout.beside - 4 * 2**20
