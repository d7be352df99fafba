import errno
import itertools
import json
import os

import pytest
from disk_events import watched
from map_contents import about, begin, block, faults, fill, tree

from fullconv.errors import FullconvError, InputError
from fullconv.storage.description import sealed
from fullconv.storage.maps import open_map


def journal_of(tmp_path):
    fill(tmp_path / "map")
    return tmp_path / "map" / "journal.jsonl"


def lines_of(journal):
    return journal.read_bytes().splitlines(keepends=True)


def test_a_line_cut_short_anywhere_costs_its_own_chunk_alone(tmp_path):
    journal = journal_of(tmp_path)
    content = journal.read_bytes()
    last = lines_of(journal)[-1]
    for cut in range(1, len(last), 40):
        journal.write_bytes(content[:-cut])
        with begin(tmp_path / "map") as writer:
            # Without its line break alone a line is whole.
            assert writer.done == frozenset(writer.layout) - ({(1, 1)} if cut > 1 else set())
            if cut > 1:
                writer.write((1, 1), block(writer, (1, 1)), faults((1, 1)))
                writer.finish()
        assert journal.read_bytes() == content


@pytest.mark.parametrize("rest", [b"\0" * 300, b"\xff\n", b"{}\n", b"[]\n", b"null\n", b"1" * 5000])
def test_what_is_no_line_counts_for_nothing(rest, tmp_path):
    journal = journal_of(tmp_path)
    content = journal.read_bytes()
    journal.write_bytes(content + rest)
    with begin(tmp_path / "map") as writer:
        assert writer.done == frozenset(writer.layout)
    assert journal.read_bytes() == content


@pytest.mark.parametrize(
    "change",
    [
        {"chunk": [9, 9]},
        {"chunk": [0, 0, 0]},
        {"chunk": ["a", 0]},
        {"chunk": 5},
        {"files": {"../../etc/passwd": "0" * 64}},
        {"files": {}},
        {"files": []},
        {"faults": [[1, 2]]},
        {"faults": None},
    ],
)
def test_a_line_that_fits_no_chunk_of_the_map_is_left_out(change, tmp_path):
    """Whoever wrote it, with a checksum that is right."""
    journal = journal_of(tmp_path)
    *lines, last = lines_of(journal)
    value = json.loads(last)
    del value["sha256"]
    journal.write_bytes(b"".join(lines) + json.dumps(sealed({**value, **change})).encode() + b"\n")
    with begin(tmp_path / "map") as writer:
        assert writer.done == frozenset(writer.layout) - {(1, 1)}


def test_a_line_that_was_changed_is_left_out(tmp_path):
    """Its faults would be believed otherwise."""
    journal = journal_of(tmp_path)
    content = journal.read_bytes()
    journal.write_bytes(content.replace(b"tile 7 is cut", b"tile 8 is cut"))
    with begin(tmp_path / "map") as writer:
        assert writer.done == {(1, 0)}


def test_a_first_line_that_is_damaged_costs_nothing(tmp_path):
    journal = journal_of(tmp_path)
    content = journal.read_bytes()
    journal.write_bytes(b"x" + content)
    with begin(tmp_path / "map") as writer:
        assert writer.done == frozenset(writer.layout)
    assert journal.read_bytes() == content


def test_the_journal_of_another_scan_is_refused(tmp_path):
    journal = journal_of(tmp_path)
    fill(tmp_path / "other", model="1" * 64, plan="2" * 64)
    journal.write_bytes((tmp_path / "other/journal.jsonl").read_bytes())
    with pytest.raises(InputError) as caught:
        begin(tmp_path / "map")
    assert str(caught.value) == (
        f"{journal}: is the journal of another scan:\n"
        "- model: 11111111… there, aaaaaaaa… now\n"
        "- plan: 22222222… there, bbbbbbbb… now\n"
        "Name another target, or delete this one to begin again."
    )


def test_of_two_lines_for_a_chunk_the_later_counts(tmp_path):
    journal = journal_of(tmp_path)
    head, first, *rest = lines_of(journal)
    value = json.loads(first)
    del value["sha256"]
    stale = {**value, "files": dict.fromkeys(value["files"], "0" * 64)}
    old = json.dumps(sealed(stale)).encode() + b"\n"
    journal.write_bytes(head + old + first + b"".join(rest))
    with begin(tmp_path / "map") as writer:
        assert writer.done == frozenset(writer.layout)
    journal.write_bytes(head + first + b"".join(rest) + old)
    with begin(tmp_path / "map") as writer:
        assert writer.done == frozenset(writer.layout) - {(0, 0)}


def test_half_a_line_on_a_full_disk_does_not_spoil_the_next(tmp_path):
    """The same writer goes on when there is space again."""
    target = tmp_path / "map"
    with begin(target) as writer:
        writer.write((0, 0), block(writer, (0, 0)), faults((0, 0)))
        halves = itertools.count()

        def step(name, argument):
            if name == "write" and str(argument).endswith("journal.jsonl") and next(halves) == 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with watched(step), pytest.raises(FullconvError, match="No space left on device"):
            writer.write((0, 1), block(writer, (0, 1)), faults((0, 1)))
        torn = (target / "journal.jsonl").read_bytes()
        assert not torn.endswith(b"\n")
        assert writer.done == {(0, 0)}
        assert open_map(target, incomplete=True).done == {(0, 0)}
        for index in ((1, 0), (0, 1), (1, 1)):
            writer.write(index, block(writer, index), faults(index))
        assert (target / "journal.jsonl").read_bytes().count(b"\n") == 5
        writer.finish()
    assert tree(target) == tree(fill(tmp_path / "wanted").path)


def test_the_journal_may_not_be_a_folder(tmp_path):
    with begin(tmp_path / "map"):
        pass
    (tmp_path / "map/journal.jsonl").unlink()
    (tmp_path / "map/journal.jsonl").mkdir()
    with pytest.raises(InputError, match=r"journal\.jsonl: cannot be read: Is a directory"):
        begin(tmp_path / "map")


def test_it_says_nothing_of_when_and_by_whom(tmp_path):
    text = journal_of(tmp_path).read_text()
    assert about().made_by not in text
    assert {key for line in text.splitlines()[1:] for key in json.loads(line)} == {
        "chunk", "files", "faults", "sha256",
    }  # fmt: skip
