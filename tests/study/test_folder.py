"""The folder of a study."""

import errno
import json

import pytest

from fullconv.errors import FullconvError, InputError
from fullconv.storage.locking import locked
from fullconv.study.folder import Log, opened
from fullconv.study.value import Run, StepTime
from fullconv.training import Epoch

SETTINGS = {"model": "m", "data": "d", "network": "f" * 64, "window": [16, 16],
            "recipe": {"epochs": 3, "rate": 0.1}, "mean": [0.5], "temperature": None}  # fmt: skip
RUN = Run("gap", 3, 12.5, (Epoch(1, 0.7, 40.0, 1.5), Epoch(2, 0.5, 30.0, 1.4)), 99, 2.9)


def test_runs_and_times_come_back_as_they_were(tmp_path):
    with opened(tmp_path / "s", SETTINGS) as folder:
        assert folder.found("gap", 3) is None
        folder.keep(RUN)
        times = {
            "fc": StepTime(1, 2, 1, 1, 1, 7, 20, 1),
            "gap": StepTime(1, 3, 1.2, 1, 2, 7, 20, 1),
        }
        folder.keep_steps(times, 1)
    with opened(tmp_path / "s", SETTINGS) as folder:
        assert folder.found("gap", 3) == RUN
        assert folder.found("gap", 4) is None
        assert folder.steps(("fc", "gap"), 1) == times
        assert folder.steps(("fc", "gap"), 2) is None
        assert folder.steps(("gap", "fc"), 1) is None


def test_a_result_that_was_changed_is_not_taken(tmp_path):
    with opened(tmp_path / "s", SETTINGS) as folder:
        folder.keep(RUN)
        path = tmp_path / "s" / "runs" / "gap-3.json"
        path.write_text(path.read_text().replace("12.5", "2.5"))
        with pytest.raises(InputError) as error:
            folder.found("gap", 3)
    assert str(error.value) == (
        f"{path}: is damaged, or was changed.\nDelete it: the run is then evaluated again."
    )


def test_other_settings_are_refused_and_named(tmp_path):
    with opened(tmp_path / "s", SETTINGS):
        pass
    other = {**SETTINGS, "model": "n", "network": "e" * 64, "window": [16, 20], "temperature": 4.0,
             "recipe": {"epochs": 3, "rate": 0.2}, "mean": [0.25]}  # fmt: skip
    with pytest.raises(InputError) as error, opened(tmp_path / "s", other):
        pass
    assert error.value.exit_code == 3
    assert str(error.value) == (
        f"{tmp_path / 's'}: this folder holds a study with other settings:\n"
        "- the network: other layers, another forward, or other weights where variants learn from them\n"
        "- window: 16×16 there, 16×20 now\n"
        "- recipe rate: 0.1 there, 0.2 now\n"
        "- mean: 0.5 there, 0.25 now\n"
        "- temperature: none there, 4 now\n"
        "Name another folder, or give the same settings to go on with this one."
    )


def test_another_name_for_the_same_is_the_same(tmp_path):
    with opened(tmp_path / "s", SETTINGS):
        pass
    with opened(tmp_path / "s", {**SETTINGS, "model": "./m", "data": "../d"}):
        pass


def test_a_second_process_is_refused(tmp_path):
    with opened(tmp_path / "s", SETTINGS):
        with pytest.raises(FullconvError) as error, opened(tmp_path / "s", SETTINGS):
            pass
        assert str(error.value) == (
            f"{tmp_path / 's'}: another process works in this folder.\n"
            "Wait until it has ended, or name another folder."
        )
    with opened(tmp_path / "s", SETTINGS), pytest.raises(FullconvError), locked(tmp_path / "s"):
        pass
    with locked(tmp_path / "s"):
        pass


def test_folders_of_something_else_are_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with (
        pytest.raises(InputError, match="this folder holds something else"),
        opened(tmp_path, SETTINGS),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]
    (tmp_path / "study.json").write_text('{"format": "another"}')
    with (
        pytest.raises(InputError, match="not the description of a study"),
        opened(tmp_path, SETTINGS),
    ):
        pass
    with (
        pytest.raises(FullconvError, match="this folder cannot be made"),
        opened(tmp_path / "holiday.jpg", SETTINGS),
    ):
        pass


def test_what_killed_processes_left_is_removed(tmp_path):
    with opened(tmp_path / "s", SETTINGS):
        (tmp_path / "s" / "runs" / ".fullconv-0a.part.pt").write_bytes(b"half")
        (tmp_path / "s" / ".images").mkdir()
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        ".lock", "runs", "study.json"
    ]  # fmt: skip
    assert list((tmp_path / "s" / "runs").iterdir()) == []


def test_the_log_has_every_line_once_and_no_half_of_one(tmp_path):
    with opened(tmp_path / "s", SETTINGS) as folder:
        log = Log(folder)
        log.epoch("gap", 3, RUN.epochs[0])
        with (tmp_path / "s" / "log.jsonl").open("a") as file:
            file.write('{"variant": "gap", "se')
        log = Log(folder)
        assert (log.epochs("gap", 3), log.epochs("gap", 4)) == (1, 0)
        log.epoch("gap", 3, RUN.epochs[0])  # as after a stop
        log.run(RUN)
        log.run(RUN)
        failed = Run("fc", 0, None, (), 99, 0.0, "no number")
        log.run(failed)
    lines = [json.loads(line) for line in (tmp_path / "s" / "log.jsonl").read_text().splitlines()]
    assert lines == [
        {"variant": "gap", "seed": 3, "epoch": 1, "loss": 0.7, "train_error": 40.0, "seconds": 1.5},
        {"variant": "gap", "seed": 3, "epoch": 2, "loss": 0.5, "train_error": 30.0, "seconds": 1.4},
        {"variant": "gap", "seed": 3, "epoch": "end", "error": 12.5, "seconds": 2.9},
        {"variant": "fc", "seed": 0, "epoch": "end", "error": None, "seconds": 0.0,
         "failed": "no number"},
    ]  # fmt: skip


def test_what_the_system_refuses_is_told(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path / "s", SETTINGS) as folder:
        log = Log(folder)
        with monkeypatch.context() as patch:
            patch.setattr(type(tmp_path), "open", full)
            with pytest.raises(FullconvError) as error:
                log.run(RUN)
        assert str(error.value) == (
            f"{tmp_path / 's' / 'log.jsonl'}: cannot be written: No space left on device.\n"
            "Free some space there, or write to another disk."
        )
        log.run(RUN)  # nothing of it is taken for written
        assert len((tmp_path / "s" / "log.jsonl").read_text().splitlines()) == 3
    for name, said in (("iterdir", "s: cannot be read"), ("mkdir", "s: this folder cannot be m")):
        with monkeypatch.context() as patch:
            patch.setattr(type(tmp_path), name, full)
            (tmp_path / "s" / "study.json").unlink(missing_ok=True)
            with pytest.raises(FullconvError, match=said), opened(tmp_path / "s", SETTINGS):
                pass
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "study.json").write_text('{"format": "fullconv study 1"}')
    (tmp_path / "t" / "runs").write_text("no folder")
    with (
        pytest.raises(FullconvError, match="runs: this folder cannot be made"),
        opened(tmp_path / "t", {}),
    ):
        pass
