from importlib.util import find_spec

import pytest
import torch

import fullconv as package
from fullconv.surgery.plan import Plan


def test_text_for_people(fullconv):
    run = fullconv("plan", "nets.py:build")
    assert run.code == 0
    assert "Linear 288 → 4" in run.out
    assert "Conv 6×6, 8 → 4" in run.out
    assert "window           16×16 px, 3 channels" in run.out
    assert run.err == "nets.py:build: weights as built by nets.py:build\n"


def test_json_is_the_plan_itself(fullconv):
    run = fullconv("plan", "nets.py:build", "--json")
    assert run.code == 0
    data = run.json
    assert data.pop("model") == "nets.py:build"
    plan = Plan.from_dict(data)
    assert plan.window == (16, 16)
    assert plan.stride == (2, 2)
    assert plan.outputs == 4


@pytest.mark.parametrize("window", ["15", "15x15", "15×15", "15X15"])
def test_the_window_may_be_given(window, fullconv):
    run = fullconv("plan", "nets.py:build", "--window", window, "--json")
    assert run.json["window"] == [15, 15]  # 15 and 16 px both give 6×6 cells


def test_window_and_stride_per_axis(fullconv):
    run = fullconv("plan", "nets.py:build", "--window", "16x15", "--stride", "2x2", "--json")
    assert run.json["window"] == [16, 15]


def test_the_window_of_the_model_may_be_unknown(fullconv, here):
    (here / "bare.py").write_text((here / "nets.py").read_text().replace("WINDOW = 16", ""))
    run = fullconv("plan", "bare.py:build")
    assert run.code == 2
    assert run.error.startswith("bare.py:build: the window is not known.")
    assert "Pass --window, for example --window 224." in run.error


def test_too_many_numbers_in_the_window(fullconv):
    run = fullconv("plan", "nets.py:build", "--window", "16x16x3")
    assert run.code == 2
    assert "names 3 axes, but the network has 2" in run.error


def test_a_stride_that_the_network_does_not_have(fullconv):
    run = fullconv("plan", "nets.py:build", "--stride", "3")
    assert run.code == 2
    assert "stride=3×3 px does not divide the network's native stride, 2×2 px." in run.error
    assert "Pass one of 2, 1." in run.error


def test_a_window_that_does_not_fit_names_the_one_that_does(fullconv):
    run = fullconv("plan", "nets.py:build", "--window", "20")
    assert run.code == 4
    assert run.error.startswith("5 (Linear): expects 288 features, but its input is a 8×8×8 map")
    assert "The window given was 20×20" in run.error
    assert "15" in run.error


def test_no_weights_are_read_and_it_says_so(fullconv):
    run = fullconv("plan", "nets.py:build", "--weights", "nothing.pth")
    assert run.code == 0
    assert "nothing.pth: not read, a plan needs shapes only" in run.err


def test_a_hub_network_is_not_given_weights(fullconv):
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    run = fullconv("plan", "torchvision:alexnet", "--json")
    assert run.code == 0
    assert "weights not loaded" in run.err
    assert run.json["outputs"] == 1000


def test_the_plan_is_that_of_python(fullconv, here):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 8, 3, stride=2),
        torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 4),
    )  # fmt: skip
    data = fullconv("plan", "nets.py:build", "--json").json
    assert data.pop("model") == "nets.py:build"
    assert Plan.from_dict(data) == package.plan(net, 16)
