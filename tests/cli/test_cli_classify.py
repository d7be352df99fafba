import csv
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from cli_runs import SRC, files, picture, process
from torch import nn

import fullconv as package
from fullconv.evaluate.preparation import prepared
from fullconv.models import load_model
from fullconv.storage.images import read_image

SEEN = {"nets.py", "photo.png"}
NAMES = ["cat", "dog", "tiger cat, Felis tigrina", "bird"]


def by_hand(path="photo.png", size=None):
    """Probabilities of an image by crops: the mean of their scores, then the softmax."""
    model = load_model("nets.py:build").module
    x = prepared(read_image(path), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    if size is not None:
        x = nn.functional.interpolate(x, size, mode="bilinear", antialias=True)
    with torch.no_grad():
        return package.sliding(model, x, 16, 2).mean((2, 3)).softmax(1)[0].numpy()


def test_one_image(fullconv, here):
    run = fullconv("classify", "nets.py:build", "photo.png", "--json")
    assert run.code == 0
    (found,) = run.json["images"]
    expected = by_hand()
    assert run.json["failed"] == []
    assert found["image"] == "photo.png"
    assert found["size"] == [40, 57]
    assert [one["class"] for one in found["top"]] == np.argsort(-expected).tolist()
    for one in found["top"]:
        assert one["probability"] == pytest.approx(expected[one["class"]], abs=1e-5)
        assert one["name"] == NAMES[one["class"]]
    assert files(here) == SEEN


def test_what_was_done_to_the_network_and_how_is_said(fullconv, here):
    run = fullconv("classify", "nets.py:build", "photo.png", "--scales", "32,40", "--flip")
    assert "optimized: " in run.err
    assert "dense at 32, 40, with flips" in run.err
    plain = fullconv("classify", "nets.py:build", "photo.png", "--no-optimize")
    assert "optimized" not in plain.err


def test_the_table_names_image_and_classes(fullconv, here):
    run = fullconv("classify", "nets.py:build", "photo.png", "--top", "2")
    first, *rows = run.out.splitlines()
    assert first == "photo.png"
    assert len(rows) == 2
    best = int(by_hand().argmax())
    assert rows[0].split(maxsplit=1) == [f"{by_hand()[best]:.4f}", NAMES[best]]


def test_csv_and_json_lines(fullconv, here):
    picture(here / "other.png", 30, 30)
    run = fullconv("classify", "nets.py:build", "photo.png", "other.png", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(run.out)))
    assert [row["image"] for row in rows] == ["photo.png"] * 4 + ["other.png"] * 4
    assert [row["rank"] for row in rows] == list("12341234")
    assert {row["name"] for row in rows} == set(NAMES)  # the comma in a name is quoted
    assert sum(float(row["probability"]) for row in rows[:4]) == pytest.approx(1, abs=1e-4)
    run = fullconv("classify", "nets.py:build", "photo.png", "other.png", "--format", "jsonl")
    lines = [json.loads(line) for line in run.out.splitlines()]
    assert [line["image"] for line in lines] == ["photo.png", "other.png"]
    assert lines[0]["top"][0]["class"] == int(rows[0]["class"])


def test_folders_patterns_and_files(fullconv, here):
    (here / "album").mkdir()
    for name in ("b.png", "a.png"):
        picture(here / "album" / name, 20, 30)
    run = fullconv("classify", "nets.py:build", "album", "*.png", "--json")
    named = [one["image"] for one in run.json["images"]]
    assert named == [os.path.join("album", "a.png"), os.path.join("album", "b.png"), "photo.png"]
    assert "3 images, dense at 1x" in run.err


def test_scales_and_evaluations(fullconv, here):
    run = fullconv(
        "classify", "nets.py:build", "photo.png", "--scales", "0.5x,30,8", "--json",
        "--evaluation", "both", "--average", "probabilities", "--flip",
    )  # fmt: skip
    (found,) = run.json["images"]
    assert found["scales"] == ["0.5x", "30"]
    assert found["skipped"] == ["8"]
    assert (found["evaluation"], found["average"], found["flip"]) == ("both", "probabilities", True)
    assert "photo.png: left out at 8: smaller there than the 16×16 window" in run.err


def test_the_scale_of_the_tests_of_the_classifier(fullconv, here):
    with (here / "nets.py").open("a") as text:
        text.write("\nSHORTEST = 24\n")
    run = fullconv("classify", "nets.py:build", "photo.png", "--json", "--no-optimize")
    (found,) = run.json["images"]
    assert found["scales"] == ["24"]
    expected = by_hand(size=(24, 34))
    for one in found["top"]:
        assert one["probability"] == pytest.approx(expected[one["class"]], abs=1e-5)
    # It belongs to the window that the network was built for.
    with (here / "nets.py").open("a") as text:
        text.write("\nSHORTEST = 24\nWINDOW = 20\n")
    run = fullconv("classify", "nets.py:build", "photo.png", "--window", "16", "--json")
    assert run.json["images"][0]["scales"] == ["1x"]


def test_a_saved_network_remembers_it(fullconv, here):
    with (here / "nets.py").open("a") as text:
        text.write("\nSHORTEST = 24\n")
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors", "--no-check").code == 0
    run = fullconv("classify", "net.safetensors", "photo.png", "--json")
    assert run.json["images"][0]["scales"] == ["24"]
    assert run.json["images"][0]["top"][0]["name"] in NAMES


def test_the_answer_goes_to_a_file(fullconv, here):
    run = fullconv("classify", "nets.py:build", "photo.png", "--format", "csv", "-o", "out.csv")
    assert run.code == 0
    assert run.out == ""
    assert "written: out.csv" in run.err
    assert (here / "out.csv").read_text().startswith("image,rank,class,name,probability\nphoto.png")
    run = fullconv("classify", "nets.py:build", "photo.png", "--json", "-o", "out.json")
    assert run.out == ""
    assert json.loads((here / "out.json").read_text())["images"][0]["image"] == "photo.png"


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_another_type(fullconv, here, dtype):
    run = fullconv("classify", "nets.py:build", "photo.png", "--dtype", dtype, "--json")
    assert dtype in run.err
    for one in run.json["images"][0]["top"]:
        assert one["probability"] == pytest.approx(by_hand()[one["class"]], abs=0.02)


# --- what can be wrong ---


def test_bad_images_are_named_and_the_rest_goes_on(fullconv, here):
    (here / "bad.png").write_bytes(b"no image")
    picture(here / "small.png", 10, 90)
    run = fullconv("classify", "nets.py:build", "bad.png", "photo.png", "small.png", "gone.png",
                   "--json")  # fmt: skip
    assert run.code == 3
    assert [one["image"] for one in run.json["images"]] == ["photo.png"]
    assert [one["image"] for one in run.json["failed"]] == ["bad.png", "small.png", "gone.png"]
    assert "left out: bad.png: this is not an image that can be read" in run.err
    *_, last = run.err.partition("error: ")
    assert last.splitlines() == [
        "3 of 4 images could not be scored:",
        "- bad.png: this is not an image that can be read; the file begins with b'no image'.",
        "- small.png: the image is 10×90 px, smaller than the 16×16 window of the classifier.",
        "- gone.png: there is no such file.",
    ]


def test_one_bad_image_is_one_error(fullconv, here):
    (here / "bad.png").write_bytes(b"no image")
    run = fullconv("classify", "nets.py:build", "bad.png")
    assert run.code == 3
    assert run.error.startswith("bad.png: this is not an image that can be read")


def test_weights_that_are_not_numbers(fullconv, here):
    run = fullconv("classify", "nets.py:broken", "photo.png", "--no-optimize")
    assert run.code == 3
    assert run.error.startswith("2.weight: holds numbers that are not finite (NaN or infinite).")


def test_a_class_list_of_the_wrong_length(fullconv, here):
    (here / "names.txt").write_text("ape\nbee\n")
    run = fullconv("classify", "nets.py:build", "photo.png", "--classes", "names.txt")
    assert run.code == 3
    assert run.error == "names.txt: holds 2 class names, but the network has 4 scores."


def test_memory_that_does_not_suffice(fullconv, here):
    run = fullconv("classify", "nets.py:build", "photo.png", "--max-memory", "64KiB")
    assert run.code == 3
    assert run.error.startswith("photo.png: ")
    assert "--max-memory" in run.error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scales", "big"], "'big' is no scale"),
        (["--scales", "-3"], "must be above 0"),
        (["--dtype", "bfloat16", "--no-optimize"], "--dtype and --no-optimize exclude each other"),
        (["--max-memory", "much"], "much"),
        (["--top", "0"], "0 is not in the range"),
        (["--device", "nowhere"], "--device nowhere cannot be used"),
        (["--json", "--format", "csv"], "--json and --format csv exclude each other."),
        (["--json", "--format", "jsonl"], "--json and --format jsonl exclude each other."),
        (["-o", "photo.png"], "photo.png would overwrite the image photo.png"),
        (["-o", "nets.py"], "nets.py would overwrite"),
    ],
)
def test_usage(fullconv, here, words, message):
    run = fullconv("classify", "nets.py:build", "photo.png", *words)
    assert run.code == 2
    assert message in run.error
    assert files(here) == SEEN


def test_no_image_named(fullconv, here):
    assert fullconv("classify", "nets.py:build").code == 2
    (here / "empty").mkdir()
    run = fullconv("classify", "nets.py:build", "empty")
    assert run.code == 3
    assert run.error.startswith("empty: there is no image in this folder.")


def test_the_description_of_a_network_is_not_written_over(fullconv, here):
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors", "--no-check").code == 0
    before = (here / "net.json").read_bytes()
    run = fullconv("classify", "net.safetensors", "photo.png", "--json", "-o", "net.json")
    assert run.code == 2
    assert "net.json would overwrite the network's description" in run.error
    assert (here / "net.json").read_bytes() == before


def test_a_name_that_is_no_utf_8(fullconv, here):
    os.link("photo.png", b"caf\xe9.png")
    run = fullconv("classify", "nets.py:build", ".", "--format", "csv", "-o", "out.csv")
    assert run.code == 0
    assert "caf\\udce9.png,1," in (here / "out.csv").read_text()


def test_an_image_that_fails_leaves_the_last_answer(fullconv, here):
    (here / "out.csv").write_text("precious")
    (here / "bad.png").write_bytes(b"no image")
    run = fullconv("classify", "nets.py:build", "bad.png", "--format", "csv", "-o", "out.csv")
    assert run.code == 3
    assert (here / "out.csv").read_text() == "precious"


def test_an_output_that_cannot_be_written_is_told_before_the_work(fullconv, here):
    run = fullconv("classify", "nets.py:build", "photo.png", "-o", "no/out.csv")
    assert run.code == 1
    assert run.error.startswith("no/out.csv: cannot be written: the folder ")
    assert "dense" not in run.err


def test_lines_come_as_soon_as_they_are_known(here):
    """The first answer is there while later images are still scored."""
    for number in range(200):
        os.link("photo.png", f"p{number:03}.png")
    words = ["classify", "nets.py:build", ".", "--format", "jsonl", "--batch", "1"]
    run = subprocess.Popen(
        [sys.executable, "-m", "fullconv", *words, "--evaluation", "multi-crop", "--flip"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(SRC)},
        # Where the tests run in the background, Ctrl-C would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    first = json.loads(run.stdout.readline())
    assert first["image"].endswith("p000.png")
    running = run.poll() is None
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert running
    assert run.returncode == 130


def test_help_names_the_choices():
    run = process("classify", "--help")
    assert run.code == 0
    for word in ("--scales", "--flip", "--evaluation", "--format", "--max-memory", "--dtype"):
        assert word in run.out


def test_a_long_list_of_failures_is_cut(fullconv, here):
    for index in range(25):
        (here / f"z{index:02}.png").write_bytes(b"no")
    run = fullconv("classify", "nets.py:build", "photo.png", "z*.png")
    assert run.code == 3
    *_, last = run.err.partition("error: ")
    lines = last.splitlines()
    assert lines[0] == "25 of 26 images could not be scored:"
    assert lines[20].startswith("- z19.png: ")
    assert lines[21:] == ["- and 5 more"]
