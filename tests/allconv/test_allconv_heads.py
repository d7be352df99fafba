"""Heads as a 1×1 convolution and a mean, or the same as convolutions."""

import re

import pytest
import torch
import torch.nn.functional as F
from small_networks import Cifar, residual
from torch import nn

import fullconv
from fullconv.allconv.build import plan
from fullconv.allconv.edits import MeanHead, ScoresHead
from networks import LeNet, Net, noise, ready

BODY = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, 2), nn.ReLU())  # 17 px -> 5×7×7


def classifier(*head: nn.Module) -> nn.Sequential:
    return ready(nn.Sequential(nn.Sequential(*BODY), *head))


def last(network) -> object:
    return network.plan.steps[-1]


ALIKE = {
    "adaptive": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(5, 6)),
    "whole": (nn.AvgPool2d(7), nn.Flatten(), nn.Linear(5, 6, bias=False)),
    "norm": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(5), nn.Linear(5, 6)),
    "two": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3), nn.Linear(3, 6)),
    "1×1": (nn.Conv2d(5, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 6)),
    "softmax": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), nn.Softmax(1)),
    "log-softmax": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), nn.LogSoftmax(-1)),
    "sigmoid": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), nn.Sigmoid()),
    "activation": (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 6), nn.Hardtanh(-0.1, 0.2)),
}  # fmt: skip


@pytest.mark.parametrize("head", ALIKE)
def test_what_follows_a_mean_swaps_with_it(head):
    model = classifier(*ALIKE[head])
    network = fullconv.all_convolutional(model, 17)
    step = last(network)
    assert isinstance(step.edit, ScoresHead)
    assert step.start == "exact"
    assert network.plan.is_exact
    assert re.fullmatch(r"Conv 1×1, \d → 6, mean over the map", step.becomes)
    # Pooling first is the classifier itself in images of any size.
    for size in ((17, 17), (25, 30)):
        x = noise(3, 3, *size)
        if head != "whole" or size == (17, 17):
            torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)
    assert step.layer == next(
        name for name, m in reversed(list(model.named_modules())) if isinstance(m, nn.Linear)
    )


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, x: self.fc(self.body(x).mean((2, 3))),
        lambda self, x: self.fc(self.body(x).mean(3).mean(2)),
        lambda self, x: self.fc(self.body(x).sum((2, 3))),
        lambda self, x: self.fc(self.body(x).permute(0, 2, 3, 1).mean((1, 2)) * 3),
        lambda self, x: F.linear(F.adaptive_avg_pool2d(self.body(x), 1).flatten(1),
                                 self.fc.weight, self.fc.bias),
        lambda self, x: {"scores": F.softmax(self.fc(self.body(x).mean((2, 3))), dim=1)},
    ],
)  # fmt: skip
def test_heads_by_function(forward):
    model = ready(Net(forward, body=nn.Sequential(*BODY), fc=nn.Linear(5, 6)))
    network = fullconv.all_convolutional(model, 17)
    x = noise(3, 3, 17, 17)
    wanted = model(x)
    wanted = wanted["scores"] if isinstance(wanted, dict) else wanted
    torch.testing.assert_close(network(x), wanted, atol=1e-10, rtol=0)
    assert last(network).start == "exact"
    assert network(noise(2, 3, 40, 33)).shape == (2, 6)


FLAT = {
    "flatten": lambda self, x: self.fc(self.body(x).flatten(1)),
    "channels last": lambda self, x: self.fc(self.body(x).permute(0, 2, 3, 1).flatten(1)),
    "turned": lambda self, x: self.fc(self.body(x).transpose(2, 3).flatten(1)),
}


@pytest.mark.parametrize("how", FLAT)
def test_one_fc_layer_on_the_map_begins_with_the_sum_of_its_weights(how):
    model = ready(Net(FLAT[how], body=nn.Sequential(*BODY), fc=nn.Linear(5 * 49, 6)))
    network = fullconv.all_convolutional(model, 17)
    assert last(network).start == "summed"
    conv = network.get_submodule(last(network).layer)
    by_cell = model.fc.weight.reshape(6, 49, 5) if how == "channels last" else None
    wanted = by_cell.sum(1) if by_cell is not None else model.fc.weight.reshape(6, 5, 49).sum(2)
    torch.testing.assert_close(conv.weight[:, :, 0, 0], wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(conv.bias, model.fc.bias, atol=1e-12, rtol=0)
    # On a map that is the same everywhere it is the classifier.
    flat = noise(2, 3, 1, 1).expand(2, 3, 17, 17)
    torch.testing.assert_close(network(flat), model(flat), atol=1e-10, rtol=0)
    assert not network.plan.is_exact


def test_a_map_of_one_cell_needs_no_mean():
    model = ready(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                nn.Linear(4, 5)))  # fmt: skip
    network = fullconv.all_convolutional(model, 4, pools="keep")
    x = noise(3, 3, 4, 4)
    torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)
    assert last(network).start == "exact"


def test_weights_of_a_half_precision_network_stay_so():
    model = classifier(*ALIKE["adaptive"]).bfloat16()
    network = fullconv.all_convolutional(model, 17)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    conv = network.get_submodule("4")
    assert torch.equal(conv.weight[:, :, 0, 0], model[4].weight)


def test_several_fc_layers_begin_at_random():
    model = ready(LeNet())
    torch.manual_seed(3)
    one = fullconv.all_convolutional(model, 28)
    torch.manual_seed(3)
    two = fullconv.all_convolutional(model, 28)
    other = fullconv.all_convolutional(model, 28)
    assert last(one).start == "random"
    assert "random: to be trained" in str(one.plan)
    weights = [network.get_submodule("fc3").weight for network in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert weights[0].shape == (10, 16, 1, 1)


# --- heads that are convolutional already ---


def test_a_head_without_fc_layers_is_the_mean_over_the_map():
    model = ready(
        nn.Sequential(*BODY, nn.Dropout(), nn.Conv2d(5, 6, 1), nn.ReLU(),
                      nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1))
    )  # fmt: skip
    network = fullconv.all_convolutional(model, 17)
    (step,) = network.plan.steps
    assert step.edit == MeanHead(source="_6", whole=False)
    assert step.becomes == "mean over the map"
    assert (network.plan.in_head, network.plan.new_head) == (0, 0)
    for size in ((17, 17), (13, 40), (31, 23)):
        x = noise(2, 3, *size)
        torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)


def test_a_convolution_over_the_whole_map_stays():
    model = ready(nn.Sequential(*BODY, nn.Conv2d(5, 6, 7), nn.Flatten()))
    network = fullconv.all_convolutional(model, 17)
    (step,) = network.plan.steps
    assert step.becomes == "the same, mean over the map"
    x = noise(2, 3, 17, 17)
    torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)
    assert network.plan.new_parameters == network.plan.parameters


# --- the head as it was ---


@pytest.mark.parametrize("build", [LeNet, Cifar], ids=["LeNet", "Cifar"])
def test_the_exact_head_is_the_fcn_averaged(build):
    model = ready(build())
    size, channels = (28, 1) if build is LeNet else (32, 3)
    network = fullconv.all_convolutional(model, size, pools="keep", head="exact")
    assert network.plan.is_exact
    fcn = fullconv.convert(model, size)
    for big in ((size, size), (size + 13, size + 6)):
        x = noise(2, channels, *big)
        torch.testing.assert_close(network(x), fcn(x).mean((2, 3)), atol=1e-12, rtol=0)
    assert {name: p.shape for name, p in network.named_parameters()} == {
        name: p.shape for name, p in fcn.named_parameters()
    }
    assert [s.becomes for s in network.plan.steps] == [
        *(s.becomes for s in fcn.plan.steps if "Linear" in s.where), "the same, mean over the map"
    ]  # fmt: skip
    with pytest.raises(fullconv.InputError, match=f"smaller than the {size}×{size} window"):
        network(noise(1, channels, size - 1, size))


def test_cells_whose_window_leaves_the_image_are_not_averaged():
    """A padded body has more cells than there are windows."""
    model = ready(nn.Sequential(nn.Conv2d(3, 4, 3, 4, padding=3), nn.ReLU(), nn.Flatten(),
                                nn.Linear(4 * 25, 5)))  # fmt: skip
    network = fullconv.all_convolutional(model, 16, head="exact")
    fcn = fullconv.convert(model, 16)
    x = noise(1, 3, 19, 16)
    assert fcn(x).shape == (1, 5, 1, 1)
    torch.testing.assert_close(network(x), fcn(x).mean((2, 3)), atol=1e-12, rtol=0)


def test_a_softmax_comes_after_the_mean():
    model = classifier(nn.Flatten(), nn.Linear(5 * 49, 6), nn.Softmax(1))
    network = fullconv.all_convolutional(model, 17, head="exact")
    scores = fullconv.convert(model[:-1], 17)
    x = noise(2, 3, 24, 21)
    torch.testing.assert_close(network(x), scores(x).mean((2, 3)).softmax(1), atol=1e-12, rtol=0)
    assert network.plan.ending == ("_3",)
    torch.testing.assert_close(network(x[..., :17, :17]), model(x[..., :17, :17]))


def test_bins_that_overlap_stay_folded_into_the_weights():
    model = classifier(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(80, 6), nn.ReLU(),
                       nn.Linear(6, 3))  # fmt: skip
    network = fullconv.all_convolutional(model, 17, head="exact")
    x = noise(2, 3, 17, 17)
    torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)
    layer = network.get_submodule("3")
    before = layer.weight.clone()
    torch.manual_seed(5)
    layer.reset_parameters()
    wanted = nn.Linear(80, 6, dtype=torch.float64)
    assert not torch.equal(layer.weight, before)
    assert layer.weight.abs().max() <= wanted.weight.abs().max() * 1.05
    assert layer.bias.abs().max() <= 80**-0.5


def test_residual_networks_agree_at_the_window():
    model = residual()
    x = noise(2, 3, 32, 32)
    for head in ("gap", "exact"):
        network = fullconv.all_convolutional(model, 32, pools="convpool", head=head)
        torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)


# --- what is refused ---


def two_maps(self, x):
    x = self.conv1(x)
    y = self.conv2(x)
    return self.fc(torch.cat([x.mean((2, 3)), y.mean((2, 3))], 1))


def test_a_head_that_reads_two_maps_is_refused():
    model = ready(
        Net(two_maps, conv1=nn.Conv2d(3, 4, 3), conv2=nn.Conv2d(4, 5, 3), fc=nn.Linear(9, 2))
    )
    with pytest.raises(fullconv.RefusedError) as refused:
        fullconv.all_convolutional(model, 12)
    assert str(refused.value) == (
        "fc (Linear): the head reads 2 maps: conv1 (Conv2d), conv2 (Conv2d).\n"
        "A 1×1 convolution and an average replace a head that reads one map. "
        'Pass head="exact", which keeps what the head computes.'
    )
    assert refused.value.exit_code == 4
    network = fullconv.all_convolutional(model, 12, head="exact")
    x = noise(2, 3, 12, 12)
    torch.testing.assert_close(network(x), model(x), atol=1e-10, rtol=0)


def test_several_answers_are_refused():
    model = ready(
        Net(lambda self, x: {"a": self.fc(x.mean((2, 3))), "b": self.other(x.mean((2, 3)))},
            fc=nn.Linear(3, 2), other=nn.Linear(3, 4), conv=nn.Conv2d(3, 3, 1))
    )  # fmt: skip
    with pytest.raises(fullconv.RefusedError) as refused:
        fullconv.all_convolutional(model, 12, head="exact")
    assert str(refused.value) == (
        "the network gives 2 answers: a, b.\n"
        "An all-convolutional network gives one score vector. "
        "Wrap it in an nn.Module whose forward returns the answer to keep."
    )


def test_what_cannot_be_converted_is_refused_by_name():
    model = ready(nn.Sequential(*BODY, nn.Flatten(), nn.Linear(100, 4)))
    with pytest.raises(fullconv.RefusedError, match=r"5 \(Linear\): expects 100 features, but"):
        fullconv.all_convolutional(model, 17)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"pools": "drop"},
         "pools='drop' must be one of 'conv', 'strided', 'convpool', 'keep'."),
        ({"head": "mean"}, "head='mean' must be one of 'gap', 'exact'."),
    ],
)  # fmt: skip
def test_words_that_are_not_known(how, message):
    for door in (fullconv.all_convolutional, plan):
        with pytest.raises(fullconv.UsageError) as wrong:
            door(LeNet(), 28, **how)
        assert str(wrong.value) == message
        assert wrong.value.exit_code == 2


def test_without_weights_there_is_a_plan_but_no_network():
    with torch.device("meta"):
        model = LeNet()
    assert (
        plan(model, 28).new_parameters
        == fullconv.all_convolutional(LeNet(), 28).plan.new_parameters
    )
    with pytest.raises(fullconv.UsageError, match="the model is on the meta device: it has no wei"):
        fullconv.all_convolutional(model, 28)


def test_what_is_no_network():
    with pytest.raises(fullconv.UsageError, match=r"must be a torch\.nn\.Module, got int"):
        fullconv.all_convolutional(3, 28)


@pytest.mark.parametrize("name", ["plan", "window"])
def test_a_member_with_a_name_of_the_network_is_refused(name):
    model = ready(Net(lambda self, x: self.fc(getattr(self, name)(x).mean((2, 3))),
                      **{name: nn.Conv2d(3, 4, 3)}, fc=nn.Linear(4, 2)))  # fmt: skip
    with pytest.raises(fullconv.RefusedError, match=f"'{name}', a name that AllConvolutional uses"):
        fullconv.all_convolutional(model, 12)
