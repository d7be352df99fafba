import os

import pytest

from fullconv.errors import FullconvError, UsageError
from fullconv.storage import outputs
from fullconv.storage.description import write_description
from fullconv.storage.files import atomic
from fullconv.storage.outputs import check_replaceable, check_writable, kept


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_checking_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "old").write_text("old")
    check_writable(tmp_path / "old", tmp_path / "new")
    assert names(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize("name", ["folder", "no/such/place", "x" * 300])
def test_places_where_nothing_can_be_written(name, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FullconvError, match="cannot be written"):
        check_writable(tmp_path / "fine", tmp_path / name)
    assert names(tmp_path) == ["folder"]


def test_only_a_description_of_the_same_kind_may_be_replaced(tmp_path):
    path = tmp_path / "a.json"
    check_replaceable(path, "kind-1", "a.npy")
    write_description(path, {"format": "kind-1"})
    check_replaceable(path, "kind-1", "a.npy")
    for content in (b'{"format": "kind-2"}', b"{}", b"[1]", b"no JSON", b"\xff", b""):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"a\.json: is there already, and is something else"):
            check_replaceable(path, "kind-1", "a.npy")


class Stop(BaseException):
    pass


def write_both(one, other, fail=False):
    with kept(one):
        with atomic(one) as part:
            part.write_text("new")
        if fail:
            raise Stop
        other.write_text("new")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("fail", [True, False])
def test_the_first_file_is_put_back_if_the_second_fails(links, there, fail, tmp_path, monkeypatch):
    def no_link(*args):
        raise OSError

    if not links:
        monkeypatch.setattr(outputs.os, "link", no_link)
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    if there:
        one.write_text("old")
        one.chmod(0o640)
    if fail:
        with pytest.raises(Stop):
            write_both(one, other, fail=True)
        assert names(tmp_path) == (["one.txt"] if there else [])
        assert not there or one.read_text() == "old"
    else:
        write_both(one, other)
        assert names(tmp_path) == ["one.txt", "other.txt"]
        assert one.read_text() == "new"
    if there:
        assert os.stat(one).st_mode & 0o777 == 0o640


def test_a_failure_before_the_first_file_is_replaced(tmp_path):
    one = tmp_path / "one"
    one.write_text("old")
    before = one.stat().st_ino
    with pytest.raises(Stop), kept(one), atomic(one) as part:
        part.write_text("new")
        raise Stop
    assert one.read_text() == "old"
    assert one.stat().st_ino == before
    assert names(tmp_path) == ["one"]
