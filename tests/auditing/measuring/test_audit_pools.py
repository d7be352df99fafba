"""Pools against convolutions: which pools there are, what is added, and that all was timed."""

import copy
import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
from audited import excited, lenet, quiet, small, strided
from fullconv.allconv.build import plan as allconv_plan
from fullconv.api.costs import macs
from fullconv.auditing.costs import steps
from fullconv.auditing.costs.pools import convolution, measure, pools_of
from fullconv.blueprint import Pool
from fullconv.geometry import Sweep
from fullconv.hosts.torch_fx.read import read
from networks import Net

MIB = 2**20


def pools(model, window, *, seconds=300.0, converted=True, **options):
    fcn = fullconv.convert(model, window) if converted else None
    return measure(model, read(model, window), fcn, seconds=seconds, say=quiet, **options)


def inception() -> nn.Module:
    """A pool of stride 1 in a branch, and one in ceil mode with padding; window 11."""
    return Net(
        lambda m, x: m.fc(m.last(torch.cat([m.one(x), m.two(m.pool(x))], 1)).flatten(1)),
        one=nn.Conv2d(3, 4, 1),
        pool=nn.AvgPool2d(3, stride=1, padding=1),
        two=nn.Conv2d(3, 2, 1),
        last=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        fc=nn.Linear(6 * 25, 5),
    ).eval()


@pytest.fixture(scope="module")
def found():
    """LeNet, whose pools are functions, in training mode when it comes."""
    model = lenet().train()
    before = copy.deepcopy(model.state_dict())
    state = torch.random.get_rng_state()
    measured = pools(model, 28, seconds=300)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    return measured


def test_what_convolutions_add(found):
    """2×2 kernels from 6 to 6 and from 16 to 16 channels, at the cells the pools give."""
    first, second = found.pools
    assert [one.where for one in found.pools] == ["max_pool2d in LeNet"] * 2
    assert first.what == second.what == "max pool 2×2, stride 2×2"
    assert (first.channels, first.cells) == (6, ((24, 24), (12, 12)))
    assert (second.channels, second.cells) == (16, ((8, 8), (4, 4)))
    assert (first.parameters, second.parameters) == (6 * 6 * 4 + 6, 16 * 16 * 4 + 16)
    assert (first.macs, second.macs) == (6 * 6 * 4 * 144, 16 * 16 * 4 * 16)
    json.dumps(found.to_dict())


def test_pools_were_timed(found):
    assert found.batch == 8
    assert found.rounds >= 1
    for one in found.pools:
        for name in ("pool_forward", "pool_backward", "conv_forward", "conv_backward"):
            seconds = getattr(one, name)
            assert 0 < seconds.low <= seconds.median <= seconds.high
        assert one.forward.median > 0
        assert one.backward.median > 0


def test_whole_steps_were_timed(found):
    steps = {step.pools: step for step in found.steps}
    assert list(steps) == ["keep", "conv", "strided"]
    assert found.step_batch == 8
    assert not found.problem
    for step in found.steps:
        assert step.seconds is not None
        assert step.ratio is not None
    assert steps["keep"].ratio.median == 1
    added = sum(one.parameters for one in found.pools)
    work = sum(one.macs for one in found.pools)
    assert steps["conv"].parameters == steps["keep"].parameters + added == 44_426 + added
    assert steps["conv"].macs == steps["keep"].macs + work == 281_640 + work
    assert steps["strided"].parameters == 44_426
    assert steps["strided"].macs < steps["keep"].macs


@pytest.mark.parametrize(
    ("build", "window"), [(small, 8), (lenet, 28), (inception, 11), (lambda: small(1), 8)]
)
def test_what_is_added_is_what_the_all_convolutional_network_has(build, window):
    model = build()
    found = pools(model, window, seconds=0.5)
    steps = allconv_plan(model, window, pools="conv", head="exact").steps
    assert [one.parameters for one in found.pools] == [s.added for s in steps if s.added]
    networks = {
        kind: fullconv.all_convolutional(model, window, pools=kind, head="exact")
        for kind in ("keep", "conv")
    }
    shape = (1, read(model, window).blueprint.channels, *read(model, window).blueprint.window)
    work = {kind: macs(network, shape) for kind, network in networks.items()}
    assert sum(one.macs for one in found.pools) == work["conv"] - work["keep"]


def test_average_pools_pools_in_branches_and_ceil_mode():
    found = pools(inception(), 11)
    assert [one.what for one in found.pools] == [
        "average pool 3×3, stride 1×1", "max pool 3×3, stride 2×2",
    ]  # fmt: skip
    assert [one.cells for one in found.pools] == [((11, 11), (11, 11)), ((11, 11), (5, 5))]
    assert all(one.forward is not None for one in found.pools)


@pytest.mark.parametrize("dims", [1, 3])
def test_other_numbers_of_axes(dims):
    found = pools(small(dims), 8)
    assert [one.cells for one in found.pools] == [
        ((8,) * dims, (4,) * dims), ((4,) * dims, (2,) * dims),
    ]  # fmt: skip
    assert [one.parameters for one in found.pools] == [36 * 2**dims + 6, 64 * 2**dims + 8]
    assert all(one.backward is not None for one in found.pools)
    assert [step.seconds is not None for step in found.steps] == [True] * 3


@pytest.mark.parametrize(("build", "window"), [(lambda: strided(2, 2), 8), (excited, 8)])
def test_networks_without_pools(build, window):
    found = pools(build(), window)
    assert (found.pools, found.steps, found.problem) == ((), (), "")


def test_a_pool_of_the_head_is_none_of_the_body():
    """Behind the cut it is part of what is slid over the features."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1), nn.AvgPool2d(3),
        nn.Flatten(), nn.Linear(4, 2),
    ).eval()  # fmt: skip
    assert len(pools_of(read(model, 8), fullconv.convert(model, 8))) == 1
    assert len(pools_of(read(model, 8), None)) == 2


def test_a_network_that_cannot_be_converted_has_its_pools_timed():
    model = Net(
        lambda m, x: m.fc(F.max_pool2d(m.conv(x), 2).flip(2).flatten(1)),
        conv=nn.Conv2d(3, 4, 3, padding=1), fc=nn.Linear(64, 2),
    ).eval()  # fmt: skip
    with pytest.raises(fullconv.RefusedError):
        fullconv.convert(model, 8)
    found = pools(model, 8, converted=False)
    assert len(found.pools) == 1
    assert found.pools[0].forward is not None
    assert found.steps == ()


def test_too_little_memory_for_a_step(monkeypatch):
    """Networks that would not fit are not even made."""

    def made(*args, **options):
        raise AssertionError("a network was made")

    monkeypatch.setattr(steps, "all_convolutional", made)
    found = pools(small(), 8, max_memory=32 * MIB)
    assert found.steps == ()
    assert found.problem.startswith("a batch of 2 needs ")
    assert found.problem.endswith(
        " of memory, with the weights of 3 networks, and 32.0 MiB is allowed"
    )
    assert all(one.forward is not None for one in found.pools)


@pytest.mark.parametrize(
    "sweeps",
    [
        (Sweep(2, 2), Sweep(2, 2)),
        (Sweep(3, 2, (1, 1)), Sweep(3, 2, (1, 1))),
        (Sweep(3, 2, (0, 0), ceil_mode=True), Sweep(3, 2, (1, 1))),
        (Sweep(3, 2, (0, 1)), Sweep(2, 1, (1, 0), dilation=2)),
        (Sweep(3, 2, (1, 0)),),
        (Sweep(2, 2), Sweep(3, 2, (0, 1)), Sweep(2, 2)),
    ],
)
@pytest.mark.parametrize("size", [11, 12])
def test_the_convolution_has_the_cells_of_the_pool(sweeps, size):
    conv = convolution(Pool("max", sweeps), 3, torch.zeros(0, dtype=torch.float64))
    y = conv(torch.zeros(2, 3, *(size,) * len(sweeps), dtype=torch.float64))
    # In ceil mode the padding of the last window is there whether it is needed or not.
    cells = tuple(sweep.count(size) for sweep in sweeps)
    assert tuple(y.shape) == (2, 3, *cells)
    weight = next(p for p in conv.parameters() if p.ndim > 1)
    assert weight.numel() == 9 * math.prod(sweep.kernel for sweep in sweeps)
