"""Whether threads waited for a core: by files like the kernel's, and by its own."""

import sys

import pytest

from fullconv.auditing.measuring.contention import Waiting, since_now, spent


@pytest.fixture
def tasks(tmp_path):
    def thread(name: str, text: str) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "schedstat").write_text(text)

    return tmp_path, thread


def test_shares_are_those_since_then_of_all_threads(tasks):
    folder, thread = tasks
    thread("1", "1000 500 7\n")
    thread("2", "40 0 1\n")
    then = since_now(folder)
    assert spent(folder) == {"1": (1000, 500), "2": (40, 0)}
    assert then.share(folder) is None  # nothing has run since
    thread("1", "1600 700 9\n")
    thread("3", "100 100 2\n")
    assert then.share(folder) == 300 / 1000


def test_other_systems_are_silent(tasks):
    folder, thread = tasks
    assert spent(folder / "none") == {}
    assert Waiting({}).share(folder / "none") is None
    thread("1", "")
    assert spent(folder) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_the_share_of_this_process():
    then = since_now()
    assert sum(range(300_000)) > 0
    share = then.share()
    assert share is None or 0 <= share <= 1
