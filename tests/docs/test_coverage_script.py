"""The coverage page: its list of models is complete, its rows say what was measured."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import make_coverage
from fullconv.errors import MissingExtraError, RefusedError
from fullconv.models.torchvision_import import import_timm, import_torchvision
from zoo import lists, runs
from zoo.draw import noise, redraw
from zoo.lists import ATTENTION_BUILDS, HYBRID, Model, models, torchvision_models, unlisted
from zoo.measure import compare, difference, reason
from zoo.page import figure, seconds, write_page

SCRIPT = Path(__file__).parents[2] / "docs" / "make_coverage.py"
VERSIONS = {"torch": "2.1", "torchvision": "0.2", "timm": "1.0"}


@pytest.fixture(autouse=True, scope="module")
def hubs():
    try:
        import_timm()
    except MissingExtraError:
        pytest.skip("torchvision or timm is not installed")


# --- the list ---


def test_every_module_of_timm_is_in_one_table_and_every_name_in_its_module():
    problems = unlisted()
    assert not problems, (
        "timm's families have changed. Put each into a table of docs/zoo/lists.py, "
        f"CONVOLUTIONAL or NOT_CONVOLUTIONAL:\n{chr(10).join(problems)}"
    )
    apart = [set(modules) for modules in lists.NOT_CONVOLUTIONAL.values()]
    apart.append(set(lists.CONVOLUTIONAL))
    assert len(set().union(*apart)) == sum(map(len, apart)), "a module is in two tables"
    assert set(ATTENTION_BUILDS) <= set(lists.CONVOLUTIONAL)


def test_a_new_module_of_timm_is_noticed(monkeypatch):
    monkeypatch.delitem(lists.CONVOLUTIONAL, "vgg")
    (problem,) = unlisted()
    assert problem.startswith("timm module vgg: in no table of ")
    monkeypatch.setitem(lists.CONVOLUTIONAL, "vgg", "vgg11 vgg7")
    monkeypatch.setitem(lists.CONVOLUTIONAL, "forgotten", "")
    assert unlisted() == [
        "timm module forgotten: listed, but timm has none",
        "timm:vgg7: not in timm's module vgg",
    ]


def test_every_classifier_of_torchvision_is_there():
    library = import_torchvision().models
    names = {*library.list_models(module=library), *library.list_models(module=library.video)}
    listed = {model.name for model in torchvision_models()}
    left_out = names - listed
    assert listed <= names
    assert all(name.startswith(lists.TORCHVISION_TRANSFORMERS) for name in left_out)
    convolutional = [model for model in torchvision_models() if not model.other]
    assert len(convolutional) >= 71
    assert {m.name for m in convolutional if m.family.startswith("video")} == {
        "r3d_18", "mc3_18", "r2plus1d_18", "s3d",
    }  # fmt: skip


def test_no_model_is_there_twice():
    forms = [model.form for model in models()]
    assert len(set(forms)) == len(forms)


# --- weights under which nothing hides ---


def test_flat_parameters_are_redrawn_and_norms_calibrated():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)
    )
    with torch.no_grad():
        net[4].weight.fill_(1e-6)
        net[4].bias.zero_()
    drawn = net[0].weight.detach().double()
    assert redraw(net, (8, 8)) is net
    assert torch.equal(net[0].weight, drawn)  # was random already
    assert net[4].weight.std() > 0.01
    assert net[4].bias.std() > 0.1
    assert float(net[2].weight.detach()) != 0.25
    features = net[0](noise(3, (8, 8), 1))
    assert not torch.allclose(net[1].running_mean, features.mean((0, 2, 3)))
    assert (net[1].running_mean - features.mean((0, 2, 3))).abs().max() < 2 * features.std()
    assert 0.4 < (net[1].running_var / features.var((0, 2, 3))).max() < 4


def test_a_gain_is_a_single_number_and_a_scale_has_no_inputs():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    net.gain = nn.Parameter(torch.tensor(0.0))
    net.scale = nn.Parameter(torch.full((1, 400, 1, 1), 1e-6))
    net.none = nn.Parameter(torch.empty(0))
    redraw(net, (8, 8))
    assert net.gain != 0
    assert 0.25 < net.scale.std() < 0.35


def test_scores_that_show_nothing_prove_nothing():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 4, stride=2)

        def forward(self, x):
            return self.conv(x).mean((2, 3)) * 1e-12 + 1

    net = redraw(Constant(), (8, 8))
    with torch.no_grad(), pytest.raises(ValueError, match="between windows: nothing is proven"):
        compare(net, (8, 8), halved=False)


def test_a_map_that_is_wrong_is_seen(monkeypatch):
    net = redraw(
        nn.Sequential(nn.Conv2d(3, 4, 4, stride=2), nn.Flatten(), nn.Linear(36, 5)), (8, 8)
    )
    with torch.no_grad():
        assert compare(net, (8, 8), halved=False)["state"] == "equal"
        monkeypatch.setattr("zoo.measure.head_over_body", lambda *_: torch.zeros(1, 5, 2, 2))
        found = compare(net, (8, 8), halved=False)
    assert found["state"] == "different"
    assert found["native"] <= 1e-10 < found["head"]


def test_differences():
    two = torch.tensor([2.0])
    assert difference(two, two) == 0
    assert difference(two * 1.5, two) == 0.5
    assert difference(two, torch.tensor([2.0, 2.0])) == float("inf")
    assert difference(two * float("nan"), two) == float("inf")


# --- what the page says ---


def test_the_reason_of_a_refusal():
    error = RefusedError("is odd.", where="a.b (C)", why="Odd is hard. So hard.", hint="Even it.")
    assert reason(error) == "a.b (C): is odd. Odd is hard."
    dense = RefusedError("x has no exact dense form.", where="m", why="Attention mixes. All.")
    assert (
        reason(RefusedError.merge([error, dense, error]))
        == "m: x has no exact dense form. Attention mixes. (2 other places too.)"
    )
    assert reason(RefusedError.merge([error, error])).endswith("(1 other place too.)")


def test_figures():
    assert [figure(d) for d in (0.0, 4.4e-15, 3e-3, float("inf"))] == [
        "0", "4e-15", "**3e-03**", "**inf**",
    ]  # fmt: skip
    assert [seconds(s) for s in (0.04, 0.62, 3.81)] == ["0.0", "0.6", "4"]


def _measured(state="equal", **more):
    row = {
        "state": state, "window": [224, 224], "stride": [32, 32], "receptive_field": [619, 619],
        "contexts": {}, "seconds": 0.61, "native": 0.0, "head": 2e-15, "finer": None,
    }  # fmt: skip
    return row | more


def test_the_page():
    listed = [Model(f"timm:{name}", "resnet") for name in ("a", "b", "c", "d", "e", "f")]
    listed.append(Model("timm:v", "vit", HYBRID))
    rows = {
        "timm:a": _measured(contexts={"pooling": 16}, finer=3e-16),
        "timm:b": _measured("different", head=0.5),
        "timm:c": {"state": "refused", "reason": "x | y: <no> rule."},
        "timm:d": {"state": "failed", "reason": "ValueError: no"},
        "timm:e": {"state": "stopped", "reason": "killed."},
        "timm:v": {"state": "refused", "reason": "mixes. " * 99},
    }
    page = write_page(listed, rows, VERSIONS)
    assert "Measured with torch 2.1, torchvision 0.2, timm 1.0." in page
    assert "**timm: 1 of 5** convolutional networks convert" in page
    assert (
        "| resnet | a | 224×224 | 32×32 | 619×619 | 16 pooling | 0 | 2e-15 | 3e-16 | 0.6 |" in page
    )
    assert "| **b** | 224×224 | 32×32 | 619×619 | – | 0 | **5e-01** | – | 0.6 |" in page
    assert "1 convert and are **NOT EQUAL**: timm:b." in page
    assert "| resnet | c | x \\| y: &lt;no> rule. |" in page
    assert "| resnet | d | **failed**: ValueError: no |" in page
    assert "1 were **stopped** before they were measured: timm:e." in page
    assert "### Convolutions with attention over positions" in page
    assert "mixes. … |" in page
    assert page.endswith("## Not measured yet\n\n`timm:f`\n")


# --- the run ---


def _run(*arguments):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_one_that_converts_and_one_that_is_refused(tmp_path, capsys):
    results, page = tmp_path / "cache" / "rows.jsonl", tmp_path / "page.md"
    options = ("--results", results, "--page", page)
    done = _run("--only", "timm:test_[rv]*t", *options)
    assert done.returncode == 0, done.stderr
    assert "[1/2] timm:test_resnet\n    equal\n" in done.stderr
    rows = {row["form"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert set(rows) == {"timm:test_resnet", "timm:test_vit"}
    assert 0 < rows["timm:test_resnet"]["head"] <= 1e-10
    text = page.read_text()
    assert "| resnet | test_resnet | 160×160 | 32×32 | 295×295 | – |" in text
    assert "| timm | vision_transformer | test_vit | scaled_dot_product_attention in " in text
    assert make_coverage.main(["--only", "timm:test_[rv]*t", *map(str, options)]) == 0
    assert "[1/" not in capsys.readouterr().err  # nothing was left to measure
    assert page.read_text() == text


def test_a_pattern_that_nothing_is_like(capsys):
    with pytest.raises(SystemExit) as ended:
        make_coverage.main(["--only", "timm:nothing"])
    assert ended.value.code == 2
    assert "no model of the page is like 'timm:nothing'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "state", "said"),
    [
        ('print(\'{"state": "equal"}\')', "equal", ""),
        ("raise ValueError('too odd')", "failed", "ValueError: too odd"),
        ("raise MemoryError", "stopped", "MemoryError"),
        (f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})", "stopped", "killed, for want"),
        (f"import os; os.kill(os.getpid(), {signal.SIGABRT:d})", "failed", "ended by signal 6."),
        ("import time; time.sleep(60)", "stopped", "not done after 0 min."),
    ],
)
def test_one_bad_end_is_one_row(tmp_path, code, state, said):
    script = tmp_path / "script.py"
    script.write_text(code)
    row = runs.run_one("timm:x", script, limit=2)
    assert row["state"] == state
    assert row.get("reason", "").startswith(said)


def test_a_difference_makes_the_run_fail(tmp_path, monkeypatch, capsys):
    results = tmp_path / "rows.jsonl"
    versions = {**runs.versions(), "code": "older"}
    row = {"form": "timm:test_resnet", **_measured("different", head=1.0), "versions": versions}
    results.write_text(json.dumps(row) + "\n" + '{"cut sho')
    arguments = ["--only", "timm:test_resnet", "--results", str(results)]
    page = tmp_path / "page.md"
    assert make_coverage.main([*arguments, "--page", str(page)]) == 1
    said = capsys.readouterr().err
    assert "FAILED: timm:test_resnet" in said
    assert "1 rows were measured with other code of fullconv" in said
    assert "**test_resnet**" in page.read_text()
    row["versions"]["timm"] = "0.1"  # of another timm: to be measured again
    results.write_text(json.dumps(row))
    assert runs.read_results(results) == {}
