"""`fullconv study`: what it answers, what it keeps, and what it says of what cannot be used."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cli_runs import SRC, files

from fullconv.storage.locking import locked
from learnable import pictures, write

NET = """
from torch import nn

WINDOW = 16
CLASSES = ("rows", "columns", "checks")


def build():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 12), nn.ReLU(), nn.Linear(12, 3),
    )


class Gain(nn.Module):
    def __init__(self):
        super().__init__()
        import torch

        self.net, self.gain = build(), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.net(x) * self.gain
"""
SHORT = ("--epochs", "2", "--batch", "20", "--threads", "1")
TWO = ("--variants", "fc,gap", "--seeds", "2")


@pytest.fixture
def data(here):
    """A network and labelled images in the working folder."""
    (here / "net.py").write_text(NET)
    write(here / "d.npz")
    return here


def losses(folder: Path) -> dict[str, list]:
    """What every run came to, without the time it took."""
    runs = {}
    for path in sorted((folder / "runs").glob("*.json")):
        run = json.loads(path.read_text())["run"]
        runs[path.stem] = [run["error"], *(epoch["loss"] for epoch in run["epochs"])]
    return runs


def test_the_answer_and_the_files(fullconv, data):
    run = fullconv("study", "net.py:build", "d.npz", *TWO, *SHORT, "--flip", "--shift", "1",
                   "--clip", "0", "--rate", "0.05", "--json")  # fmt: skip
    assert run.code == 0
    answer = run.json
    assert answer["folder"] == "study-net-py-build"
    assert [row["variant"] for row in answer["rows"]] == ["fc", "gap"]
    assert [row["parameters"] for row in answer["rows"]] == [2087, 527]
    assert all(set(row["errors"]) == {"0", "1"} for row in answer["rows"])
    assert answer["rows"][1]["difference"]["pairs"] == 2
    assert answer["rows"][1]["step"]["forward"] > 0
    assert answer["conclusion"].startswith("Against fc, at 95 %: ")
    assert answer["settings"]["recipe"] == {
        "epochs": 2, "batch": 20, "rate": 0.05, "momentum": 0.9, "decay": 0.0005, "warmup": 0.2,
        "flip": True, "shift": 1, "clip": None, "dtype": "float32",
    }  # fmt: skip
    folder = data / "study-net-py-build"
    assert files(folder) == {
        ".lock", "study.json", "log.jsonl", "runs", "steps.json", "report.md", "report.json",
        "errors.png", "errors.svg",
    }  # fmt: skip
    assert len((folder / "log.jsonl").read_text().splitlines()) == 2 * 2 * (2 + 1)
    said = run.err.splitlines()
    assert "d.npz: 120 images to train on, 60 to test on" in said
    assert "written: study-net-py-build/report.md" in said
    assert any(line.startswith("gap, seed 1: ") for line in said)

    text = fullconv("study", "net.py:build", "d.npz", *TWO, *SHORT, "--flip", "--shift", "1",
                    "--clip", "0", "--rate", "0.05")  # fmt: skip
    assert "study-net-py-build: 4 of 4 runs are done already" in text.err
    assert "timing" not in text.err
    assert text.out.splitlines()[0].startswith("variant")
    assert answer["rows"][1]["sentence"] in text.out


def test_digits_are_learnt_well_below_chance(fullconv, here, request):
    digits = request.getfixturevalue("data_of_digits")
    (here / "lenet.py").write_text(
        "from torch import nn\nWINDOW = 28\n\n\ndef build():\n    return nn.Sequential(\n"
        "        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),\n"
        "        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 84), nn.ReLU(), nn.Linear(84, 10))\n"
    )
    run = fullconv(
        "study", "lenet.py:build", str(digits), "--variants", "fc,exact", "--seeds", "1",
        "--limit", "2000", "--test-limit", "500", "--epochs", "2", "--batch", "32", "--json",
    )  # fmt: skip
    assert run.code == 0
    assert all(row["error"] < 25 for row in run.json["rows"])  # chance: 90
    assert run.json["rows"][1]["start_gap"] < 1e-12


@pytest.fixture
def data_of_digits():
    folder = os.environ.get("FULLCONV_DATA", Path(__file__).parents[3] / "shared" / "data")
    path = Path(folder) / "datasets" / "mnist.npz"
    if not path.exists():
        pytest.skip(f"MNIST is not at {path}")
    return path


def test_other_settings_in_the_same_folder(fullconv, data):
    words = ("study", "net.py:build", "d.npz", "--variants", "fc", "--seeds", "1", "-o", "s",
             "--no-plot")  # fmt: skip
    assert fullconv(*words, *SHORT).code == 0
    run = fullconv(*words, *SHORT, "--decay", "0", "--limit", "60")
    assert run.code == 3
    message = run.err.partition("error: ")[2]
    assert message.startswith("s: this folder holds a study with other settings:\n")
    assert "- train images: 120 there, 60 now\n" in message
    assert "- recipe decay: 0.0005 there, 0 now\n" in message
    assert fullconv(*words, *SHORT, "--variants", "fc,gap", "--seeds", "2").code == 0


def test_another_process_in_the_folder(fullconv, data):
    (data / "s").mkdir()
    with locked(data / "s"):
        run = fullconv("study", "net.py:build", "d.npz", *SHORT, *TWO, "-o", "s")
    assert run.code == 1
    assert run.err.endswith(
        "error: s: another process works in this folder.\n"
        "Wait until it has ended, or name another folder.\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["net.py:build"], 2, "Missing argument 'DATA'"),
        (["net.py:build", "d.npz", "--variants", "fc,alcnv"], 2,
         "Invalid value for '--variants': 'alcnv' is no variant; name some of fc, exact, gap, "),
        (["net.py:build", "d.npz", "--seeds", "0"], 2, "Invalid value for '--seeds'"),
        (["net.py:build", "d.npz", "--rate", "0"], 2, "Invalid value for '--rate'"),
        (["net.py:build", "d.npz", "--weights", "w.pth"], 2,
         "--weights has no use here: variants are trained from scratch.\n"),
        (["net.py:build", "d.npz", "--temperature", "4"], 2,
         "--temperature cannot be given without --distill.\n"),
        (["net.py:build", "d.npz", "--distill", "--temperature", "inf"], 2,
         "Invalid value for '--temperature': inf is no finite number."),
        (["net.py:build", "d.npz", "--distill", "--temperature", "nan"], 2,
         "Invalid value for '--temperature': nan is no finite number."),
        (["net.py:build", "d.npz", "--rate", "inf"], 2, "the recipe: rate=inf cannot be."),
        (["net.py:build", "d.npz", "--clip", "nan"], 2, "the recipe: clip=nan cannot be."),
        (["net.py:build", "d.npz", "--device", "cuda:99"], 2, "--device cuda:99 cannot be used: "),
        (["net.py:build", "nowhere"], 3, "nowhere: there is no such folder or file."),
        (["net.py:build", "large.npz"], 3,
         "large.npz[0]: the image is 18×18 px, and the network's window 16×16.\n"),
        (["net.py:build", "d.npz", "--shift", "16"], 3,
         "images of 16×16 px cannot be shifted by 16 px.\n"),
        (["net.py:build", "one.npz"], 3, "one.npz: all 40 images to train on are of one class, 0."),
        (["net.py:build", "range.npz"], 3, "range.npz: 40 of 120 labels are no classes: label 2 "),
        (["net.py:Gain", "d.npz"], 4, "1 parameters cannot be given new random values:\n- gain\n"),
        (["net.py:build", "d.npz", "-o", "net.py"], 1, "net.py: this folder cannot be made"),
        (["net.py:build", "d.npz", "-o", "."], 3, ".: this folder holds something else"),
    ],
)  # fmt: skip
def test_mistakes(words, code, message, fullconv, data):
    pixels, labels = pictures(120)
    zeros = labels == 0
    np.savez(data / "one.npz", x_train=pixels[zeros], y_train=labels[zeros], x_test=pixels,
             y_test=labels)  # fmt: skip
    np.savez(data / "range.npz", x_train=pixels, y_train=labels + (labels == 2), x_test=pixels,
             y_test=labels)  # fmt: skip
    large, _ = pictures(120, side=18)
    np.savez(data / "large.npz", x_train=large, y_train=labels, x_test=large, y_test=labels)
    before = files(data)
    run = fullconv("study", *words, "--no-plot")
    assert run.code == code
    assert "Traceback" not in run.err
    assert run.err.partition("error: ")[2].startswith(message)
    assert files(data) == before


def test_images_of_another_size_are_resized_when_asked(fullconv, here, data):
    pixels, labels = pictures(60, side=20)
    np.savez(data / "large.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    run = fullconv("study", "net.py:build", "large.npz", "--resize", "--variants", "fc", "--seeds",
                   "1", *SHORT, "--no-plot")  # fmt: skip
    assert run.code == 0


def test_images_that_cannot_be_read_are_named_at_the_end(fullconv, data):
    pixels, labels = pictures(30)
    for index, (image, label) in enumerate(zip(pixels[..., 0], labels, strict=True)):
        folder = data / "images" / ("rows", "columns", "checks")[label]
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(folder / f"{index}.png")
    (data / "images" / "rows" / "x.png").write_bytes(b"no image")
    run = fullconv("study", "net.py:build", "images", "--variants", "fc", "--seeds", "1", *SHORT,
                   "--no-plot", "--json")  # fmt: skip
    assert run.code == 3
    assert run.json["images"] == {"train": 24, "test": 6}
    assert run.json["unread"][0].startswith("images/rows/x.png: ")
    message = run.err.partition("error: ")[2]
    assert message.startswith("1 images could not be read; the study is of the others.\n- images/")
    assert "nothing to test on in it" in run.err


def test_runs_that_fail_are_named_at_the_end(fullconv, data):
    run = fullconv("study", "net.py:build", "d.npz", "--variants", "fc", "--seeds", "1", *SHORT,
                   "--no-plot", "--rate", "1e9", "--clip", "0", "--json")  # fmt: skip
    assert run.code == 1
    assert run.json["rows"][0]["error"] is None
    message = run.err.partition("error: ")[2]
    assert message.startswith(
        "1 runs failed; the study is of the others.\n- fc, seed 0: the loss is no longer a number"
    )
    assert "Lower it (--rate, rate=)" in message


def test_without_matplotlib_nothing_is_begun(fullconv, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    before = files(data)
    run = fullconv("study", "net.py:build", "d.npz", *SHORT)
    assert run.code == 2
    assert run.error.startswith("The picture of a study needs matplotlib, which is not installed.")
    assert "pip install 'fullconv[plot]'" in run.error
    assert files(data) == before


def test_processes_make_the_network_from_its_word(fullconv, data):
    one = fullconv("study", "net.py:build", "d.npz", *TWO, *SHORT, "-o", "one", "--no-plot")
    two = fullconv(
        "study", "net.py:build", "d.npz", *TWO, *SHORT, "-o", "two", "--no-plot", "--jobs", "2",
        "--device", "cpu",
    )  # fmt: skip
    assert one.code == two.code == 0
    assert losses(data / "one") == losses(data / "two")


def test_a_network_that_is_another_one_each_time_cannot_be_learnt_from_by_processes(fullconv, data):
    run = fullconv("study", "net.py:build", "d.npz", *TWO, *SHORT, "--no-plot", "--distill",
                   "--jobs", "2")  # fmt: skip
    assert run.code == 2
    assert "the network is another one each time it is made." in run.err.partition("error: ")[2]


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_interrupted_and_killed_it_goes_on_to_the_same_end(fullconv, data):
    words = ("study", "net.py:build", "d.npz", "--variants", "fc,gap", "--seeds", "2", "--epochs",
             "12", "--batch", "10", "--threads", "1", "--no-plot")  # fmt: skip
    assert fullconv(*words, "-o", "whole").code == 0
    random = np.random.default_rng()
    ends = []
    for sent, lines in ((signal.SIGINT, int(random.integers(1, 8))),
                        (signal.SIGKILL, int(random.integers(12, 35)))):  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "fullconv", *words, "-o", "s"],
            env={**os.environ, "PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            # Where the tests run in the background Ctrl-C is ignored, and would be here.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        log = data / "s" / "log.jsonl"
        while process.poll() is None and (
            not log.exists() or len(log.read_text().splitlines()) < lines
        ):
            time.sleep(0.002)
        time.sleep(float(random.uniform(0, 0.05)))
        process.send_signal(sent)
        out, err = process.communicate(timeout=120)
        ends.append((process.returncode, out, err))
    (code, out, err), (killed, _, _) = ends
    assert code == 130
    assert out == ""
    assert err.endswith(
        "interrupted; what is trained stays in s, and the same command goes on\n"
    ), err
    assert killed in (-signal.SIGKILL, 0)  # it may have come to its end before
    assert fullconv(*words, "-o", "s").code == 0
    assert losses(data / "s") == losses(data / "whole")
    assert not list((data / "s" / "runs").glob(".*"))
