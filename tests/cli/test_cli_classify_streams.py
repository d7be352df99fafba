"""`fullconv classify` on a terminal, and what is left of it when it is interrupted."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from cli_runs import SRC, files, process

from fullconv.errors import InputError

# With a bar from the first moment on.
ON_A_TERMINAL = """
import fullconv.cli.progress as progress
from fullconv.cli import main

progress.SHORT = 0.0
main()
"""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SRC), "TERM": "xterm", "COLUMNS": "80"}


def on_a_terminal(*words: str) -> str:
    """What a terminal gets on both streams."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals")
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *words],
        stdin=theirs, stdout=theirs, stderr=theirs, env=ENVIRONMENT,
    )  # fmt: skip
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 4096):
            parts.append(part)
    except OSError:  # nobody has the other end any more
        pass
    os.close(ours)
    assert run.wait(60) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def seen(written: str) -> list[str]:
    """The lines that it shows: what is left where a line was erased, without control sequences."""
    left = [line.split("\x1b[2K")[-1] for line in written.split("\n")]
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip("\r") for line in left]


def several(here, count: int) -> list[str]:
    """The photo under many names."""
    names = [f"p{number:03}.png" for number in range(count)]
    for name in names:
        os.link(here / "photo.png", here / name)
    return names


def test_on_a_terminal_each_row_has_a_line_of_its_own(here):
    several(here, 12)
    words = ["classify", "nets.py:build", ".", "--batch", "1", "--format", "csv"]
    written = on_a_terminal(*words)
    lines = seen(written)
    expected = process(*words).out.splitlines()
    assert len(expected) == 1 + 4 * 13
    assert lines[-len(expected) - 1 :] == [*expected, ""]
    assert "━" not in written


def test_a_bar_stands_below_what_is_said_of_images_while_a_file_is_written(here):
    names = [*several(here, 12), "photo.png"]
    words = ["classify", "nets.py:build", ".", "--batch", "1", "--scales", "1x,8", "--json"]
    written = on_a_terminal(*words, "-o", "out.json")
    assert "━" in written
    assert [line.rstrip() for line in seen(written) if "left out" in line] == [
        f"{name}: left out at 8: smaller there than the 16×16 window" for name in names
    ]
    assert len(json.loads((here / "out.json").read_text())["images"]) == 13


def interrupted(here, *words: str) -> tuple[int, str]:
    """Ctrl-C as soon as the first bad image is told of; the exit code and the rest of stderr."""
    run = subprocess.Popen(
        [sys.executable, "-m", "fullconv", "classify", "nets.py:build", ".", *words,
         "--batch", "1", "--evaluation", "multi-crop", "--flip"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while "left out: p003.png" not in (run.stderr.readline() or "left out: p003.png: it ended"):
        pass
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert out == ""
    return run.returncode, err


@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_is_known_is_written_when_it_is_interrupted(here, form):
    several(here, 400)
    (here / "p003.png").unlink()
    (here / "p003.png").write_bytes(b"no image")
    words = ["--json"] if form == "json" else ["--format", "csv"]
    code, err = interrupted(here, *words, "-o", f"out.{form}")
    assert code == 130
    found = re.search(rf"^stopped after (\d+) of 401 images; written: out\.{form}\n\Z", err, re.M)
    assert found, err
    done = int(found[1])
    assert 4 <= done < 401
    text = (here / f"out.{form}").read_text()
    if form == "json":
        answers = json.loads(text)
        named = [one["image"] for one in answers["images"]]
        assert [one["image"] for one in answers["failed"]] == ["p003.png"]
    else:
        named = list(dict.fromkeys(row["image"] for row in csv.DictReader(text.splitlines())))
        assert text.count("\n") == 1 + 4 * (done - 1)  # whole lines, the header too
    expected = [here / "photo.png", *(here / f"p{i:03}.png" for i in range(400) if i != 3)]
    assert named == sorted(path.name for path in expected)[: done - 1]


def stop_at(monkeypatch, image: str, error: BaseException) -> None:
    """Let an error come when this image is due."""
    from fullconv.evaluate.dense import classify

    before = classify.classified

    def classified(*args, **options):
        for answer in before(*args, **options):
            if answer.image == image:
                raise error
            yield answer

    monkeypatch.setattr(classify, "classified", classified)


@pytest.mark.parametrize(
    ("error", "code", "last"),
    [
        (InputError("the scores are not finite.", where="fc"), 3,
         "error: fc: the scores are not finite."),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_a_late_error_costs_nothing_that_is_known(fullconv, here, monkeypatch, error, code, last):
    several(here, 3)
    stop_at(monkeypatch, "p002.png", error)
    run = fullconv("classify", "nets.py:build", ".", "-o", "out.jsonl", "--format", "jsonl")
    assert run.code == code
    told = [line for line in run.err.splitlines() if line]
    assert told[-2:] == ["stopped after 2 of 4 images; written: out.jsonl", last]
    lines = (here / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["p000.png", "p001.png"]


def test_nothing_known_is_nothing_written(fullconv, here, monkeypatch):
    (here / "out.csv").write_text("of last time")
    stop_at(monkeypatch, "photo.png", KeyboardInterrupt())
    run = fullconv("classify", "nets.py:build", "photo.png", "-o", "out.csv")
    assert run.code == 130
    assert "written" not in run.err
    assert (here / "out.csv").read_text() == "of last time"
    assert files(here) == {"nets.py", "photo.png", "out.csv"}


def test_control_c_is_as_before_after_the_work(fullconv, here):
    before = signal.getsignal(signal.SIGINT)
    assert fullconv("classify", "nets.py:build", "photo.png", "-o", "out.csv").code == 0
    assert signal.getsignal(signal.SIGINT) is before
