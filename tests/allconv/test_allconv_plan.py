"""The plan as a value: facts, text, JSON."""

import json
from dataclasses import replace

import pytest
from small_networks import Cifar, residual
from torch import nn

import fullconv
from fullconv.allconv.build import plan
from fullconv.allconv.plan import STARTS, Step
from fullconv.allconv.words import HEADS, POOLS
from networks import LeNet, ready


def test_it_prints_as_a_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    text = str(plan(LeNet(), 28))
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0].split() == ["node", "was", "becomes", "begins", "as", "why"]
    cells = [[cell for cell in line.split("  ") if cell] for line in lines[2:5]]
    assert [cell.strip() for cell in cells[0]] == [
        "max_pool2d in LeNet", "max pool 2×2, stride 2×2", "Conv 2×2, 6 → 6, stride 2×2",
        "the average, not the maximum", "learns how to pool",
    ]  # fmt: skip
    assert [" ".join(line.split()) for line in lines[-5:]] == [
        "window 28×28 px",
        "parameters 44,426 → 3,932",
        "of them in the head 41,854 (94.2%) → 170",
        "of them for pools +1,190",
        "begins as another function, to be trained",
    ]


def test_counts_are_those_of_the_layers():
    made = plan(LeNet(), 28)
    assert made.parameters == sum(p.numel() for p in LeNet().parameters())
    assert made.in_head == 256 * 120 + 120 + 120 * 84 + 84 + 84 * 10 + 10
    assert made.added_by_pools == 6 * 6 * 4 + 6 + 16 * 16 * 4 + 16
    assert made.new_head == 16 * 10 + 10
    assert made.left_out == 0
    assert [(s.added, s.removed) for s in made.steps] == [(150, 0), (1040, 0), (170, 41_854)]


@pytest.mark.parametrize("pools", POOLS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("build", [LeNet, Cifar, residual])
def test_what_was_planned_is_what_was_made(build, pools, head):
    model = build()
    window = 28 if build is LeNet else 32
    made = plan(model, window, pools=pools, head=head)
    network = fullconv.all_convolutional(model, window, pools=pools, head=head)
    assert (
        replace(network.plan, steps=tuple(replace(step, layer="") for step in network.plan.steps))
        == made
    )
    for step in network.plan.steps:
        if step.layer:
            layer = network.get_submodule(step.layer)
            assert sum(p.numel() for p in layer.parameters()) == step.added


def test_it_goes_to_json():
    made = fullconv.all_convolutional(ready(LeNet()), 28, pools="strided").plan
    data = json.loads(json.dumps(made.to_dict()))
    assert data["pools"] == "strided"
    assert data["window"] == [28, 28]
    assert data["parameters"] == 44_426
    assert data["new_parameters"] == made.new_parameters == 2_742
    assert data["is_exact"] is False
    first, second, *_, last = data["steps"]
    assert first["edit"]["type"] == "Restride"
    assert first["edit"]["sweeps"][0]["stride"] == 2
    assert second["edit"] == {"type": "DropPool", "conv": "conv1"}
    assert second["becomes"] == "(nothing)"
    assert last["layer"] == "fc3"
    assert last["start"] == "random"


def test_equal_networks_have_equal_plans():
    assert plan(LeNet(), 28) == plan(LeNet(), 28)
    assert plan(LeNet(), 28) != plan(LeNet(), 28, pools="keep")


def test_a_start_that_is_not_known_is_our_mistake():
    step = plan(LeNet(), 28).steps[0]
    with pytest.raises(AssertionError, match="'warm' is no start"):
        Step(step.node, step.where, step.was, step.why, step.edit, "warm")


def test_every_start_is_used():
    """No word is listed that nothing says."""
    said = set()
    for fitted in (False, True):
        for pools in POOLS:
            for head in HEADS:
                for model, window in ((LeNet(), 28), (residual(), 32)):
                    made = plan(model, window, pools=pools, head=head, fitted=fitted)
                    said |= {step.start for step in made.steps}
    for pool in (
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, ceil_mode=True),
    ):
        flat = nn.Sequential(pool, nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 49, 2))
        window = 13 if pool.padding else 15
        said |= {step.start for step in plan(flat, window).steps}
    assert said == set(STARTS)
