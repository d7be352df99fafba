"""Processes: exit codes, the two streams, pipes, Ctrl-C, and mistakes of our own."""

import os
import signal
import subprocess
import sys

import pytest
from cli_runs import SRC, files, picture, process

from fullconv.api import convert

SLOW = """
import torch
from torch import nn

WINDOW = 16


def slow():
    torch.set_num_threads(1)
    return nn.Sequential(
        nn.Conv2d(3, 128, 3), nn.Conv2d(128, 128, 13), nn.Flatten(), nn.Linear(512, 3)
    )
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["plan", "nets.py:build"], 0),
        (["heatmap", "nets.py:build", "photo.png", "-o", "no/a.png"], 1),
        (["heatmap", "nets.py:build", "photo.png", "--class", "9"], 2),
        (["heatmap", "nets.py:build", "nets.py"], 3),
        (["plan", "nets.py:build", "--window", "20"], 4),
        (["plan", "nets.py:build", "--frob"], 2),
        ([], 2),
    ],
)
def test_exit_codes_of_the_process(words, code, here):
    run = process(*words)
    assert run.code == code
    assert "Traceback" not in run.err
    assert bool(run.out) == (code == 0)
    assert files(here) == {"nets.py", "photo.png"}


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "nets.py:build", "-o", "net.safetensors"],
        ["heatmap", "nets.py:build", "photo.png", "--map", "m.npy"],
    ],
)
def test_json_stands_alone_on_stdout_whatever_the_encoding(words, here):
    (here / "nets.py").write_text(
        (here / "nets.py").read_text().replace('"cat"', '"Kätzchen 猫"'), encoding="utf-8"
    )
    plain = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    run = process(*words, "--json", env=plain)
    assert run.code == 0
    assert run.json
    assert run.out.isascii()
    assert run.err.startswith("nets.py:build: weights")
    if words[0] == "heatmap":
        assert run.json["classes"][0] == "Kätzchen 猫"


def test_text_on_a_terminal_without_the_signs(here):
    run = process("plan", "nets.py:build", env={"PYTHONIOENCODING": "latin-1"}, encoding="latin-1")
    assert run.code == 0
    assert r"Conv 6×6, 8 \u2192 4" in run.out


def test_a_file_name_that_is_no_unicode(here):
    name = os.fsdecode(b"photo\xff.png")
    try:
        picture(here / name)
    except OSError:
        pytest.skip("this disk wants names in Unicode")
    run = process("heatmap", "nets.py:build", name, "--map", "m.npy", "--json")
    assert run.code == 0
    assert run.json["image"] == name


def test_an_answer_that_cannot_be_written(here):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fullconv", "plan", "nets.py:build"],
            stdout=full, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(SRC)},
        )  # fmt: skip
    assert done.returncode == 1
    assert "error: stdout: the answer cannot be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_goes_away_is_no_error_to_tell_of(here):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "fullconv", "plan", "nets.py:build", "--json"],
        stdout=writer, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(SRC)},
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == "nets.py:build: weights as built by nets.py:build\n"


def test_class_names_through_a_pipe_and_an_image_on_stdin(here):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m fullconv heatmap nets.py:build /dev/stdin --class cow "
         "--classes <(printf 'ape\\nbee\\ncow\\nfox\\n') -o out.png < photo.png"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SRC)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cow: at most" in done.stdout
    piped = subprocess.run(
        ["bash", "-c", f"cat photo.png | {sys.executable} -m fullconv heatmap nets.py:build "
         "/dev/stdin -o two.png"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SRC)},
    )  # fmt: skip
    assert piped.returncode == 3
    assert (
        "error: /dev/stdin: this is not a regular file.\nSave the image to a file." in piped.stderr
    )
    assert files(here) == {"nets.py", "photo.png", "out.png"}


def test_control_c_ends_a_long_operation_at_once_and_leaves_nothing(here):
    (here / "slow.py").write_text(SLOW)
    picture(here / "large.png", 2500, 2500)
    words = ["heatmap", "slow.py:slow", "large.png", "-o", "out.png", "--map", "out.npy"]
    running = subprocess.Popen(
        [sys.executable, "-m", "fullconv", *words], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(SRC)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while "scoring" not in (running.stderr.readline() or "scoring: it ended"):
        pass
    with pytest.raises(subprocess.TimeoutExpired):  # by now it computes, for half a minute
        running.wait(2)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=5)
    assert running.returncode == 130
    assert out == ""
    assert err == "interrupted\n"
    assert files(here) == {"nets.py", "photo.png", "slow.py", "large.png"}


def test_control_c_at_any_other_time(fullconv, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "plan", interrupt)
    run = fullconv("plan", "nets.py:build")
    assert run.code == 130
    assert run.err.endswith("interrupted\n")
    assert "Traceback" not in run.err


def test_a_mistake_of_our_own_is_not_hidden(fullconv, monkeypatch):
    def mistake(*args, **kwargs):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(convert, "plan", mistake)
    with pytest.raises(ZeroDivisionError, match="ours"):
        fullconv("plan", "nets.py:build")
