"""The page, the picture and the jobs: nothing but what a run gave."""

import json
import re
import subprocess

import pytest

import hand_written
import make_page
import monai_windows
import paper
import peak
import precision
import sliding
import strides
from bench import jobs, machine, page, report
from bench.jobs import JOBS, Job, options_of, read_result, run_jobs
from fullconv.errors import UsageError

SCRIPTS = (hand_written, make_page, monai_windows, paper, peak, precision, sliding, strides)


def spread(median, low=None, high=None):
    return {"median": median, "low": low or median, "high": high or median}


def slide(model, stride, ratio, ceiling, timed=4):
    return {
        "model": model, "size": 512, "stride": stride, "cells": 1369, "batch": 32, "batches": 43,
        "timed": timed, "fcn": spread(0.5), "sliding": spread(0.5 * ratio),
        "ratio": spread(ratio, ratio - 1, ratio + 2), "ceiling": ceiling,
        "share": spread(ratio / ceiling), "fcn_gmacs": 70.0, "sliding_gmacs": 75.0,
    }  # fmt: skip


ROWS = {
    "sliding-alexnet": [slide("alexnet", 32, 5, 8), slide("alexnet", 8, 9, 8, timed=43)],
    "sliding-vgg16": [slide("vgg16", 32, 15, 16.7)],
    "paper": [
        {
            "cells": [10, 10], "size": 512, "stride": 32, "batch": 32, "fcn": spread(0.2),
            "single": spread(1.4), "batches": spread(0.8), "ratio_single": spread(7),
            "ratio_batches": spread(4), "ceiling": 8.0,
        },
        {"layer": "conv", "fcn_gmac": 4, "fcn": 0.05, "crops_gmac": 40, "crops": 0.5},
        {"layer": "fc", "fcn_gmac": 6, "fcn": 0.15, "crops_gmac": 6, "crops": 0.05},
        {"layer": "rest", "fcn_gmac": 0, "fcn": 0.0, "crops_gmac": 0, "crops": 0.1},
    ],
    "hand_written": [
        {"model": "vgg16", "size": 256, "fcn": spread(1.02), "hand": spread(1),
         "ratio": spread(0.7, 0.6, 0.8), "alike": spread(1.02, 1.01, 1.03), "difference": 0.0},
        {"model": "vgg16", "size": 512, "fcn": spread(2), "hand": spread(2.02),
         "ratio": spread(0.9), "alike": spread(0.99), "difference": 3e-7},
    ],
    "monai_windows": [
        {"model": "resnet18", "size": 512, "stride": 32, "cells": 100, "fcn": spread(0.1),
         "monai": spread(0.8), "sliding": spread(0.7), "ratio": spread(8),
         "ratio_sliding": spread(7), "ceiling": 16.0, "difference": 2e-7},
    ],
    "precision": [
        {
            "model": "vgg16", "size": 1024,
            "seconds": {"float32": spread(4), "bf16": spread(2)},
            "ratio": {"float32": spread(1), "bf16": spread(1.95)},
            "agreement": {"cells": 1000, "same": 990, "clear": 800, "clear_same": 799,
                          "right": 700, "how": "fitted", "photos": 7, "stride": 16,
                          "shortest": 512},
        },
    ],
    "strides": [
        {"model": "resnet18", "size": 512, "stride": 8, "cells": 1369, "way": way,
         "gmacs": 40.0, "seconds": spread(s), "ratio": spread(s / 2)}
        for way, s in (("dilate", 2.0), ("fragments", 1.6), ("shift-and-stitch", 8.0))
    ],
    "peak": [
        {"what": "product 4096³, float32", "peak": True, "gmac": 68.7, "seconds": spread(0.8),
         "gmacs": 84.0, "best": 85.0},
        {"what": "convolution, bf16", "peak": True, "gmac": 7.4, "seconds": spread(0.04),
         "gmacs": 180.0, "best": 185.0},
        {"what": "VGG-16 on 1024², float32", "peak": False, "gmac": 400.0, "seconds": spread(5),
         "gmacs": 80.0, "best": 81.0, "share": 80 / 85},
    ],
}  # fmt: skip

SENTENCES = (
    "Share of the ceiling that is reached: AlexNet 0.62 to 1.12 and VGG-16 0.90. In 1 of 3 rows "
    "the ratio is above the ceiling: there the FCN does its MACs at a higher rate than the crops "
    "do theirs.",
    "For 10×10 cells the factor is 7.00 over crops one by one (more than 5) and 4.00 over crops in "
    "batches of 32 (not more than 5); the MACs allow 8.00.",
    # 10 GMAC in 0.2 s, 46 in 0.8 s; fc at the crops' 120 GMAC/s would take 0.05 s, not 0.15 of 0.2.
    "The FCN does its MACs at 50.0 GMAC/s, the crops in batches at 57.5, 0.870 of the ceiling "
    "therefore. Most is lost in fc: at the rate the crops have there, the FCN would take 50 % less "
    "time.",
    "With the same layers the library adds -1.0 % to 2.0 %, most for VGG-16 on 256². With its heads "
    "as matrix products the FCN takes 0.700 to 0.900 of the time of the hand-written network.",
    "The FCN is 8.00 times as fast as MONAI for the same cells. MONAI's map and that of "
    "`fullconv.sliding` differ by 2e-07 of the largest score at most.",
    "bf16 speeds the FCN up by a factor of 1.95 with VGG-16.",
    "On 7 photographs, shortest side 512 px, stride 16: top-1 is the same on 99.00 % of the cells "
    "with VGG-16. Of the clear cells (the two most probable classes at least 0.05 apart in "
    "float32) 99.88 %.",
    "Fastest: fragments for ResNet-18 (dilate takes 1.25 times as long).",
    "The measured peak in float32 is 85.0 GMAC/s (product 4096³, float32); of it VGG-16 94 %. The "
    "measured peak in bf16 is 185 GMAC/s (convolution, bf16).",
)
CELLS = (
    "| AlexNet | 512² | 32 | 1,369 | 32 | 4 of 43 | 0.500 | 2.50 | 5.00 (4.00–7.00) | 8.00 | 0.625 |",
    "| AlexNet | 512² | 8 | 1,369 | 32 | all |",
    "| VGG-16 | fitted (70 % of the cells right) | 1,000 | 99.00 % | 80 % | 99.88 % |",
    "| rest | – | – | – | 0 % | 15 % | – | – |",
    "| VGG-16 | 512² | 2.02 | 2.00 | 0.900 | 0.990 | 3e-07 |",
    "| VGG-16 on 1024², float32 | 400 | 5.00 | 80.0 | 81.0 | 94 % |",
)


def results(**changes):
    about = {"processor": "Some CPU, 2 cores", "threads": "2", "torch": "2.13.0"}
    return {
        key: {
            "command": f"python benchmarks/{key.partition('-')[0]}.py --of {key}",
            "machine": about,
            "form": "channels last",
            "code": "abc",
            "date": "2026-01-02",
            "took": 90.0,
            "rows": rows,
            **changes,
        }
        for key, rows in ROWS.items()
    }


def squeezed(text):
    return re.sub(r" +", " ", text)


def test_the_page_says_what_the_rows_say():
    made = page.write_page(
        json.loads(json.dumps(results())), command="make bench", picture="images/benchmarks.png"
    )
    flat = squeezed(made)
    for wanted in (*SENTENCES, *CELLS):
        assert wanted in flat, wanted
    assert "about 12 minutes here" in made  # 8 runs of 90 s
    assert "| measured | 2026-01-02 |" in flat
    assert "| processor | Some CPU, 2 cores |" in flat
    for key in ROWS:
        assert f"`python benchmarks/{key.partition('-')[0]}.py --of {key}`" in made
    assert "    python" not in made  # the examples of the docstrings are not what was run
    assert "Not measured: sliding-resnet50, sliding-mobilenet_v2." in made
    assert made.count("Not measured") == 1


def test_a_sentence_follows_its_figures():
    below = sliding.sentence([slide("vgg16", 32, 15, 16.7)])
    assert below == "Share of the ceiling that is reached: VGG-16 0.90."
    counts = dict(ROWS["precision"][0]["agreement"], clear=0, clear_same=0)
    text = precision.section([{**ROWS["precision"][0], "agreement": counts}])
    assert "Of the clear cells" not in text
    bare = {k: v for k, v in ROWS["precision"][0].items() if k != "agreement"}
    text = precision.section([{**bare, "reason": "no photos in photos"}])
    assert text.endswith("Agreement was not measured: no photos in photos.")
    fast = [dict(row, fcn=row["fcn"] / 10) for row in ROWS["paper"][1:]]
    assert "Most is lost" not in paper.why(ROWS["paper"][0], fast)


def test_results_of_two_machines_make_no_page():
    mixed = results()
    mixed["peak"] = {**mixed["peak"], "machine": {"processor": "Another"}}
    with pytest.raises(ValueError, match="different machines, versions or forms"):
        page.write_page(mixed, command="make bench", picture=None)


def test_page_numbers_and_picture_are_written(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    make_page.write(results(), "cpu", tmp_path)
    assert json.loads((tmp_path / "benchmarks" / "cpu.json").read_text()) == results()
    text = (tmp_path / "benchmarks.md").read_text()
    assert "(images/benchmarks.png)" in text
    assert (tmp_path / "images" / "benchmarks.png").stat().st_size > 5000
    assert "measured with other code of fullconv: sliding-alexnet" in capsys.readouterr().err


def test_figures_have_three_digits():
    numbers = (0, 0.01234, 0.5, 1, 99.96, 123.4, 12345, -2.5)
    written = ["0", "0.0123", "0.500", "1.00", "100.", "123", "12345", "-2.50"]
    assert [report.figure(number).rstrip(".") for number in numbers] == [
        word.rstrip(".") for word in written
    ]
    assert report.with_range(spread(12.3, 12.1, 12.6)) == "12.3 (12.1–12.6)"
    assert report.with_range(spread(12.3)) == "12.3"
    assert report.listed(["a", "b", "c"]) == "a, b and c"
    assert report.tiny(0.0) == "0"


def test_the_command_is_what_a_person_types():
    words = ["--json", "x.json", "--size", "5", "--json=y", "--rounds", "2"]
    assert report.command("peak", words) == "python benchmarks/peak.py --size 5 --rounds 2"


def test_a_machine_is_described_and_not_named(tmp_path):
    import platform

    about = machine.describe()
    assert set(about) == {
        "processor", "threads", "memory", "python", "torch", "torchvision", "timm", "monai",
    }  # fmt: skip
    assert platform.node() not in " ".join(about.values())
    assert machine.version("no-such-package") == "not installed"
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n")
    assert machine.cpu_name(info) == "A CPU @ 2 GHz"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda module: module.__name__)
def test_help_says_what_is_compared(script, capsys):
    with pytest.raises(SystemExit) as stop:
        script.main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert script.__doc__.splitlines()[0] in re.sub(r"\s+", " ", shown)
    assert f"python benchmarks/{script.__name__}.py" in shown


def test_bad_options_are_refused_before_anything_is_measured(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    target = tmp_path / "result.json"
    assert peak.main(["--device", "cuda", "--json", str(target)]) == 2
    assert capsys.readouterr().err == (
        "--device cuda needs a GPU, and PyTorch sees none.\nLeave it out to measure on the CPU.\n"
    )
    assert sliding.main(["--rounds", "0"]) == 2
    assert capsys.readouterr().err == "--rounds 0 must be positive.\n"
    assert not target.exists()


def test_every_job_has_a_script_whose_options_exist():
    scripts = {module.__name__: module for module in SCRIPTS}
    assert {job.script for job in JOBS} == set(scripts) - {"make_page"}
    assert len({job.key for job in JOBS}) == len(JOBS)
    for job in JOBS:
        for quick in (False, True):
            words = [*options_of(job, "cpu", quick), "--help"]
            with pytest.raises(SystemExit) as stop:
                scripts[job.script].main(words)
            assert stop.value.code == 0


TWO = (Job("one", "peak", ("--size", "8"), (), 2), Job("two", "peak", (), ("--rounds", "1"), 3))


@pytest.fixture
def ran(monkeypatch):
    """What would have been run; every script writes its result, unless it is to fail."""
    calls: list[list[str]] = []

    def run(words, check):
        calls.append(words[4:-2])
        if "fail" in words:
            return subprocess.CompletedProcess(words, 3)
        report.write_json(
            jobs.Path(words[-1]),
            {
                "command": report.command("peak", words[4:]),
                "machine": machine.describe(),
                "form": jobs.form(),
            },
        )
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(jobs.subprocess, "run", run)
    return calls


def test_what_is_done_is_not_done_again(ran, tmp_path):
    said: list[str] = []

    def go(again=False, given=TWO):
        ran.clear()
        return run_jobs(given, tmp_path, device="cpu", quick=False, again=again, say=said.append)

    assert go(given=TWO[:1]) == []
    assert ran == [["--size", "8"]]
    assert said == ["[1/1] python benchmarks/peak.py --size 8 (about 2 min left)"]
    go()
    assert ran == [[]]
    assert "1 of 2 are done already; --again redoes them" in said
    go()
    assert ran == []
    go(again=True)
    assert ran == [["--size", "8"], []]
    go(given=(Job("one", "peak", ("--size", "9"), (), 2),))
    assert ran == [["--size", "9"]]  # other options: another measurement
    assert go(given=(Job("three", "peak", ("fail",), (), 2),)) == ["three"]
    assert said[-1] == "    failed with exit code 3"


def test_results_of_another_machine_or_a_broken_file_do_not_count(tmp_path):
    path = tmp_path / "one.json"
    about = machine.describe()
    good = {"command": "python x", "machine": about, "form": jobs.form()}
    path.write_text(json.dumps(good))
    assert read_result(path, "python x", about) == good
    assert read_result(path, "python y", about) is None
    assert read_result(path, "python x", {**about, "threads": "64"}) is None
    path.write_text(json.dumps({**good, "form": "another"}))
    assert read_result(path, "python x", about) is None
    path.write_text('{"command": ')
    assert read_result(path, "python x", about) is None
    assert read_result(tmp_path / "none.json", "python x", about) is None


def test_a_benchmark_nobody_has_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        make_page.main(["--only", "nothing*"])
    assert stop.value.code == 2
    assert "no benchmark is like 'nothing*'; --list prints them" in capsys.readouterr().err
    assert make_page.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == [job.key for job in JOBS]


def test_a_failed_measurement_leaves_no_file(tmp_path, capsys):
    def fails(options):
        raise UsageError("this cannot be.")

    options = report.parser("Doc.", 2).parse_args(["--json", str(tmp_path / "x.json")])
    assert report.run("x", options, fails, lambda rows: "", []) == 2
    assert list(tmp_path.iterdir()) == []
    options.rounds = 1
    assert report.run("x", options, lambda _: [{"a": 1}], lambda rows: "said", []) == 0
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["rows"] == [{"a": 1}]
    assert found["command"] == "python benchmarks/x.py"
    assert capsys.readouterr().out.startswith("said\n")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
