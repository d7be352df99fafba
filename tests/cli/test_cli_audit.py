import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from cli_runs import SRC, files, picture, process

from fullconv.auditing.audit import RANDOM_WEIGHTS

QUICK = ("--sections", "parameters")

REFUSED = """
import torch
from torch import nn

WINDOW = 16


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 5)

    def forward(self, x):
        return self.head(torch.fft.fft2(self.conv(x)).abs().flatten(1))
"""

SLOW = """
import time
from pathlib import Path
from nets import build as made
from torch import nn

WINDOW = 16


def build():
    Path("loaded").touch()
    time.sleep(60)
"""


@pytest.fixture
def audit(fullconv):
    def run(*words: str):
        return fullconv("audit", *words)

    return run


def test_the_report_goes_to_stdout(audit):
    run = audit("nets.py:build", "photo.png", *QUICK)
    assert run.code == 0
    assert run.out.startswith("Audit of nets.py:build\n")
    assert "window    16×16 px, 3 channels\n" in run.out
    assert "weights   as built by nets.py:build\n" in run.out
    assert "images    photo.png\n" in run.out
    assert "What happens to the parameters?\n===============================\n" in run.out


def test_with_files_stdout_has_the_verdict_only(audit, here):
    pytest.importorskip("matplotlib", reason="charts need matplotlib")
    names = ("a.html", "b.htm", "c.md", "d.json", "E.HTML")
    words = [word for name in names for word in ("-o", name)]
    run = audit("nets.py:build", *QUICK, *words)
    assert run.code == 0
    assert run.out.endswith(f"\nwritten: {', '.join(names)}\n")
    assert "What happens to the parameters?" in run.out
    assert "======" not in run.out
    assert files(here) >= set(names)
    assert (here / "a.html").read_text() == (here / "b.htm").read_text()
    assert (here / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert (here / "c.md").read_text().startswith("# Audit of nets.py:build\n")
    assert json.loads((here / "d.json").read_text())["name"] == "nets.py:build"


def test_json_is_what_the_file_says(audit, here):
    run = audit("nets.py:build", *QUICK, "--json", "-o", "report.json")
    assert run.code == 0
    assert run.json == json.loads((here / "report.json").read_text())
    assert run.json["run"]["weights"] == "as built by nets.py:build"
    assert list(run.json["sections"]) == ["parameters"]


def test_progress_is_said_on_stderr(audit):
    run = audit("nets.py:build", *QUICK)
    assert "the conversion ...\n" in run.err
    assert "section 1 of 1: What happens to the parameters? (" in run.err
    assert " so far)\n" in run.err


def test_threads_are_those_asked_for():
    code = "import torch; from fullconv.cli.main import cli; cli(standalone_mode=False)"
    words = ["audit", "textures", *QUICK, "--threads", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert json.loads(done.stdout)["run"]["threads"] == "2"


# --- what it is tried on ---


def test_images_that_cannot_be_used_are_listed_and_the_rest_goes_on(audit, here):
    (here / "text.png").write_text("no picture")
    picture(here / "small.png", 15, 40)
    run = audit("nets.py:build", "text.png", "photo.png", "small.png", *QUICK, "-o", "r.md")
    assert run.code == 3
    assert "written: r.md" in run.out
    assert "images    photo.png\n" in run.out
    assert (
        "small.png: the image is 15×40 px, smaller than the 16×16 window of the classifier."
        in run.err
    )
    *_, last = run.err.partition("error: ")
    assert last.splitlines()[0] == "2 of 3 images could not be used:"
    assert "text.png" in (here / "r.md").read_text()
    assert "2 of 3 images could not be used." in " ".join((here / "r.md").read_text().split())


def test_the_only_image_is_bad(audit, here):
    (here / "text.png").write_text("no picture")
    run = audit("nets.py:build", "text.png", *QUICK)
    assert run.code == 3
    assert run.out.startswith("Audit of")
    assert "error: text.png: " in run.err


def test_folders_and_patterns(audit, here):
    (here / "photos").mkdir()
    for name in ("a.png", "b.png"):
        picture(here / "photos" / name)
    run = audit("nets.py:build", "photos", "phot?.png", *QUICK, "--json")
    assert run.json["run"]["images"] == ["a.png", "b.png", "photo.png"]


def test_images_of_one_name_go_by_their_folders(audit, here):
    for folder in ("one", "two"):
        (here / folder).mkdir()
        picture(here / folder / "a.png")
    run = audit("nets.py:build", "one", "two", *QUICK, "--json")
    assert run.json["run"]["images"] == [str(Path("one", "a.png")), str(Path("two", "a.png"))]


def test_a_single_size_is_measured(audit):
    run = audit("nets.py:build", "--sections", "growth", "--seconds", "1", "--size", "24", "--json")
    assert run.code == 0
    assert [row["size"] for row in run.json["sections"]["growth"]["facts"]["rows"]] == [
        [16, 16],
        [24, 24],
    ]


def test_of_many_images_32_are_read(audit, here):
    """Every second file is no image at all, and the last one is among those that are read."""
    (here / "photos").mkdir()
    for place in range(63):
        path = here / "photos" / f"{place:02}.png"
        if place % 2:
            path.write_text("no picture")
        else:
            picture(path)
    run = audit("nets.py:build", "photos", *QUICK, "--json")
    assert run.code == 0
    assert run.json["run"]["images"] == [f"{place:02}.png" for place in range(0, 63, 2)]
    said = "Of 63 images 32 are looked at, evenly spread over them; 31 were left aside."
    assert run.json["remarks"] == [said]
    assert f"{said}\n" in run.err
    (here / "photos" / "62.png").write_text("no picture")
    run = audit("nets.py:build", "photos", *QUICK, "--json")
    assert run.code == 3
    assert "photos/62.png: " in run.err.replace("\\", "/").partition("error: ")[2]
    assert run.json["remarks"][0] == said
    assert run.json["remarks"][1].startswith("1 of 32 images could not be used.")


def test_images_for_a_network_of_one_axis(audit, here):
    (here / "line.py").write_text(
        "from torch import nn\nWINDOW = 16\ndef build():\n"
        "    return nn.Sequential(nn.Conv1d(1, 4, 3), nn.Flatten(), nn.Linear(56, 3))\n"
    )
    run = audit("line.py:build", "photo.png", *QUICK)
    assert run.code == 2
    assert "photo.png: an image file has two spatial axes, and this network has 1." in run.err


def test_the_network_is_traced_once(audit, monkeypatch):
    from fullconv.auditing import subject

    seen, real = [], subject.read
    monkeypatch.setattr(subject, "read", lambda *words: (seen.append(words), real(*words))[1])
    monkeypatch.setattr("fullconv.api.convert.read", lambda *words: pytest.fail("traced again"))
    assert audit("nets.py:build", "photo.png", *QUICK).code == 0
    assert len(seen) == 1


def test_grey_images_for_a_grey_network(audit, here):
    picture(here / "grey.png", mode="L")
    run = audit("nets.py:grey", "grey.png", *QUICK, "--mean", "0.5", "--std", "0.5")
    assert run.code == 0
    assert "16×16 px, 1 channel\n" in run.out


# --- models ---


def test_a_saved_network_is_no_classifier(fullconv, audit, here):
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors", "--no-check").code == 0
    run = audit("net.safetensors")
    assert run.code == 2
    assert run.error.splitlines()[0] == (
        "net.safetensors: a saved network is already converted, and here a classifier is needed."
    )


def test_weights_that_cannot_be_fetched_are_random(audit, monkeypatch):
    def fetch(url):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("fullconv.models.torchvision_hub.fetch_url", fetch)
    run = audit("torchvision:squeezenet1_1", *QUICK, "--json")
    assert run.code == 0
    assert "Going on with random weights.\n" in run.err
    assert run.json["name"] == "torchvision:squeezenet1_1"
    assert run.json["run"]["weights"] == "random"
    fetched, random = run.json["remarks"]
    assert fetched.startswith("The pretrained weights could not be fetched (")
    assert random == RANDOM_WEIGHTS


def test_random_weights_that_were_asked_for_are_said_too(audit):
    run = audit("torchvision:squeezenet1_1:random", *QUICK, "--json")
    (remark,) = run.json["remarks"]
    assert remark == RANDOM_WEIGHTS


def test_a_network_that_cannot_be_converted_still_has_a_report(audit, here):
    (here / "turned.py").write_text(REFUSED)
    run = audit("turned.py:Turned", "photo.png", *QUICK, "-o", "r.md")
    assert run.code == 4
    assert "cannot be made fully convolutional" in run.out
    assert "fft" in run.out
    text = (here / "r.md").read_text()
    assert text.index("cannot be made fully convolutional") < text.index("parameter")
    assert "4,037" in text
    *_, last = run.err.partition("error: ")
    assert "fft" in last


def test_a_window_that_is_not_the_networks(audit):
    run = audit("nets.py:build", "--window", "20", *QUICK)
    assert run.code == 4
    assert "expects 288 features" in run.error


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--window", "16x16x16"), 2, "--window=(16, 16, 16) names 3 axes, but the network has 2."),
        (("--size", "12x"), 2, "'12x' is no size"),
        (("--size", "8"), 2, "--size: 8×8 px is smaller than the 16×16 window of the classifier."),
        (("--size", "40x8"), 2, "--size: 40×8 px is smaller than the 16×16 window"),
        (("--size", "40", "--size", "9x9x9"), 2, "--size=(9, 9, 9) names 3 axes, but the network"),
        (("--sections", "parametres"), 2,
         "there is no section 'parametres'.\nDid you mean parameters"),
        (("--sections", ","), 2, "no section is asked for."),
        (("--seconds", "0"), 2, "Invalid value for '--seconds'"),
        (("--seconds", "-1"), 2, "Invalid value for '--seconds'"),
        (("--seconds", "inf"), 2, "Invalid value for '--seconds': 'inf' is no finite number."),
        (("--seconds", "nan"), 2, "Invalid value for '--seconds': 'nan' is no finite number."),
        (("--seconds", "soon"), 2, "'soon' is not a valid float"),
        (("--threads", "0"), 2, "Invalid value for '--threads'"),
        (("--max-memory", "much"), 2, "'much' is no amount of memory."),
        (("--mean", "1,2"), 2, "mean has 2 numbers, but the network takes 3 channels."),
        (("--std", "0"), 2, "std=0 cannot be."),
        (("--context", "both"), 2, "Invalid value for '--context'"),
        (("-o", "report.pdf"), 2,
         "-o report.pdf must be a name that ends in .html, .md or .json."),
        (("-o", "report"), 2, "-o report must be a name that ends in .html, .md or .json."),
        (("-o", "no/such/r.md"), 1, "the folder"),
        (("-o", "r.md", "-o", "./r.md"), 2, "-o: r.md would overwrite what -o r.md writes."),
        (("--classes", "none.txt"), 3, "none.txt: cannot be read"),
        (("--weights", "none.pth"), 3, "none.pth"),
        (("nothing/*.png",), 3, "nothing/*.png: no file matches this pattern."),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(words, code, message, audit, here):
    before = files(here)
    run = audit("nets.py:build", *words)
    assert message in run.error
    assert run.code == code
    assert files(here) == before


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("nets.py:nothing", 2, "nothing"),
        ("none.py:build", 2, "there is no such file."),
        ("net.onnx", 4, "reading ONNX is not supported yet."),
        ("net.pth", 2, "holds weights, not a network."),
        ("vgg61", 2, "is no MODEL."),
        ("nets.py:broken", 3, "2.weight: holds numbers that are not finite (NaN or infinite)."),
    ],
)
def test_what_is_no_model(model, code, message, audit):
    run = audit(model)
    assert message in run.error
    assert run.code == code


# --- files ---


@pytest.mark.parametrize(
    ("output", "words", "what"),
    [
        ("photo.html", ("nets.py:build", "photo.html"), "the image photo.html"),
        ("w.json", ("nets.py:build", "--weights", "w.json"), "the weights"),
        ("names.md", ("nets.py:build", "--classes", "names.md"), "the class names"),
    ],
)
def test_nothing_that_is_read_is_overwritten(output, words, what, audit, here):
    (here / output).write_bytes(b"mine")
    run = audit(*words, "-o", output)
    assert run.code == 2
    assert run.error.splitlines()[0] == f"-o: {output} would overwrite {what}."
    assert (here / output).read_bytes() == b"mine"


def test_a_file_that_cannot_be_written_is_said_before_the_network_is_loaded(audit, here):
    (here / "slow.py").write_text(SLOW)
    (here / "r.md").mkdir()
    run = audit("slow.py:build", "-o", "r.md")
    assert run.code == 1
    assert run.error.startswith("r.md: cannot be written: it is a directory.")
    assert not (here / "loaded").exists()


def test_a_page_without_matplotlib_is_refused_before_the_network_is_loaded(
    audit, here, monkeypatch
):
    (here / "slow.py").write_text(SLOW)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run = audit("slow.py:build", "-o", "r.html")
    assert run.code == 2
    assert (
        run.error.splitlines()[0] == "A page with charts needs matplotlib, which is not installed."
    )
    assert not (here / "loaded").exists()
    assert audit("nets.py:build", *QUICK, "-o", "r.md").code == 0


def test_a_full_disk_leaves_all_files_as_they_were(audit, here, monkeypatch):
    (here / "a.md").write_text("mine")
    real = Path.write_bytes

    def full(path, data):
        if path.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    before = files(here)
    run = audit("nets.py:build", *QUICK, "-o", "a.md", "-o", "b.json")
    assert run.code == 1
    assert "No space left on device" in run.err
    assert (here / "a.md").read_text() == "mine"
    assert files(here) == before


@pytest.mark.skipif(os.name == "nt", reason="signals come by no pipe")
def test_ctrl_c_leaves_nothing(here):
    (here / "r.md").write_text("mine")
    before = files(here)
    run = subprocess.Popen(
        [sys.executable, "-m", "fullconv", "audit", "torchvision:vgg11:random",
         "--seconds", "60", "-o", "r.md", "-o", "r.json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here,
        env={**os.environ, "PYTHONPATH": str(SRC)},
        # Where the tests run in the background, Ctrl-C would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while "the conversion" not in (line := run.stderr.readline()):
        assert line
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert files(here) == before
    assert (here / "r.md").read_text() == "mine"


def test_hostile_names_stay_words(audit, here):
    pytest.importorskip("matplotlib", reason="charts need matplotlib")
    name = "<script>alert(1)<|script>.png"
    PIL.Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(here / name)
    (here / "names.txt").write_text("</script><script>x\n*b*\n|c|\n$d$\n")
    run = audit(
        "nets.py:build", name, "--classes", "names.txt", *QUICK, "-o", "r.html", "-o", "r.md"
    )
    assert run.code == 0
    page = (here / "r.html").read_text()
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in (here / "r.md").read_text()


def test_help_names_what_it_takes():
    run = process("audit", "--help")
    assert run.code == 0
    for word in ("--size", "--sections", "--seconds", "--threads", "--max-memory", "-o, --output"):
        assert word in run.out
    for word in ("--stride", "--method"):
        assert word not in run.out


def test_all_sections_in_all_forms(audit, here):
    pytest.importorskip("matplotlib", reason="charts need matplotlib")
    run = audit("nets.py:padded", "photo.png", "--seconds", "2", "--size", "24", "--size", "32x40",
                "-o", "r.html", "-o", "r.md", "-o", "r.json")  # fmt: skip
    assert run.code == 0
    made = json.loads((here / "r.json").read_text())
    assert len(made["sections"]) == 7
    page, text = (here / "r.html").read_text(), (here / "r.md").read_text()
    for key, section in made["sections"].items():
        assert f'<section id="{key}"' in page
        assert f"\n## {section['title']}\n" in text
        assert section["verdict"] or section["skipped"]
    assert page.count("<svg") >= 3
    assert "32×40" in text
    assert 'src="data:image/png;base64,' in page  # where map and crops differ
