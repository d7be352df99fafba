"""Gradients of an FCN in the classifier's parameters, against the classifier's own backward."""

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from test_classifier_state import NETWORKS, build
from torch import nn

import fullconv
from networks import LeNet, noise, ready


def at_window(fcn: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return fcn(x).flatten(1)  # (N, K, 1, 1) -> (N, K)


def expected(model: nn.Module, *images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Summed gradients of a twin of the classifier, by name."""
    twin = copy.deepcopy(model)
    for x in images:
        twin(x).square().sum().backward()
    return {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}


def assert_gradients(module: nn.Module, gradients: dict[str, torch.Tensor]) -> None:
    """In the module's own shapes; an FCN's are compared as its state dict would be."""
    if isinstance(module, fullconv.FCN):
        shapes = copy.deepcopy(module)
        for name, parameter in module.named_parameters():
            assert parameter.grad is None or parameter.grad.shape == parameter.shape
            zero = torch.zeros_like(parameter)
            shapes.get_parameter(name).data.copy_(
                zero if parameter.grad is None else parameter.grad
            )
        held = shapes.to_classifier_state()
        held = {name: held[name] for name, p in module.named_parameters() if p.grad is not None}
    else:
        held = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    assert held.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(held[name], gradient, rtol=1e-11, atol=1e-11)


IMAGES = [noise(3, 1, 8, 8), noise(2, 1, 8, 8), noise(1, 1, 8, 8)]


@pytest.mark.parametrize("name", NETWORKS)
def test_they_accumulate_in_both(name):
    model = build(name)
    fcn = fullconv.convert(model, 8)
    for count, x in enumerate(IMAGES, 1):
        at_window(fcn, x).square().sum().backward()
        assert_gradients(model, expected(model, *IMAGES[:count]))
        assert_gradients(fcn, expected(model, *IMAGES[:count]))


@pytest.mark.parametrize("to_none", [True, False])
def test_each_is_zeroed_for_itself(to_none):
    model = build("h·w·c")
    fcn = fullconv.convert(model, 8)
    one, two, three = IMAGES
    shared = ("stem.weight", "stem.bias")  # the very same parameters
    at_window(fcn, one).square().sum().backward()
    model.zero_grad(set_to_none=to_none)
    at_window(fcn, two).square().sum().backward()
    assert_gradients(model, expected(model, two))
    both = expected(model, one, two)
    both.update({name: expected(model, two)[name] for name in shared})
    assert_gradients(fcn, both)
    torch.optim.SGD(fcn.parameters(), lr=0.1).zero_grad(set_to_none=to_none)
    at_window(fcn, three).square().sum().backward()
    assert_gradients(fcn, expected(model, three))
    both = expected(model, two, three)
    both.update({name: expected(model, three)[name] for name in shared})
    assert_gradients(model, both)
    assert model.fc.weight.grad.data_ptr() != fcn.fc.weight.grad.data_ptr()


def test_only_what_is_accumulated_is_passed_on():
    model = build("c·h·w")
    fcn = fullconv.convert(model, 8)
    for _ in range(2):
        torch.autograd.grad(at_window(fcn, IMAGES[0]).sum(), list(fcn.parameters()))
        assert model.fc.weight.grad is None
        model.zero_grad()
    at_window(fcn, IMAGES[0]).square().sum().backward()
    torch.autograd.grad(at_window(fcn, IMAGES[1]).sum(), list(fcn.parameters()))
    at_window(fcn, IMAGES[2]).square().sum().backward()
    assert_gradients(model, expected(model, IMAGES[0], IMAGES[2]))
    model.zero_grad()
    at_window(fcn, IMAGES[0]).sum().backward(inputs=[fcn.stem.weight])
    assert model.fc.weight.grad is None


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
def test_gradients_of_gradients():
    """A penalty on the gradient, for which the gradient itself must be differentiable."""

    def penalised(net, x):
        net(x).flatten(1).square().sum().backward(create_graph=True)

    model = build("h·w·c")
    twin, fcn = copy.deepcopy(model), fullconv.convert(model, 8)
    for x in IMAGES[:2]:
        penalised(twin, x)
        penalised(fcn, x)
    results = []
    for net in (twin, model):
        penalty = net.fc.weight.grad.square().sum()
        (found,) = torch.autograd.grad(penalty, net.stem.weight)
        results.append(found)
    torch.testing.assert_close(*results, rtol=1e-11, atol=1e-11)
    for net in (twin, model, fcn):
        net.zero_grad()


@pytest.mark.parametrize("frozen", ["before", "after", "the FCN's"])
def test_frozen_layers_get_none(frozen):
    model = build("c·h·w")
    if frozen == "before":
        model.fc.requires_grad_(False)
    fcn = fullconv.convert(model, 8)
    {"before": model, "after": model, "the FCN's": fcn}[frozen].fc.requires_grad_(False)
    at_window(fcn, IMAGES[0]).square().sum().backward()
    assert model.fc.weight.grad is None
    assert model.fc.bias.grad is None
    assert (fcn.fc.weight.grad is None) == (frozen != "after")
    assert model.out.weight.grad is not None
    model.requires_grad_(True)
    fcn.requires_grad_(True).zero_grad()
    model.zero_grad()
    at_window(fcn, IMAGES[0]).square().sum().backward()
    assert_gradients(model, expected(model, IMAGES[0]))


@pytest.mark.parametrize("how", ["deep copy", "cast", "saved", "classifier cast", "assigned"])
def test_an_fcn_with_parameters_of_its_own_keeps_its_gradients(how, tmp_path):
    model = build("c·h·w")
    fcn = fullconv.convert(model, 8)
    x = IMAGES[0]
    if how == "deep copy":
        fcn = copy.deepcopy(fcn)
    elif how == "cast":
        fcn, x = fcn.float(), x.float()
    elif how == "saved":
        fullconv.save(fcn, tmp_path / "net.safetensors")
        fcn = fullconv.load(tmp_path / "net.safetensors")
    elif how == "classifier cast":
        model.fc.float()
        fcn = fcn.double()
        fcn.get_submodule("fc").bias = nn.Parameter(model.fc.bias.detach().double())
    elif how == "assigned":
        fcn.load_state_dict({k: v.clone() for k, v in model.state_dict().items()}, assign=True)
    at_window(fcn, x).square().sum().backward()
    assert fcn.fc.weight.grad is not None
    assert model.fc.weight.grad is None


def test_nothing_is_kept_alive():
    model = build("c·h·w")
    fcn = fullconv.convert(model, 8)
    at_window(fcn, IMAGES[0]).sum().backward()
    theirs, ours = weakref.ref(model.fc.weight), weakref.ref(fcn.fc.weight)
    classifier, network = weakref.ref(model), weakref.ref(fcn)
    del model
    gc.collect()
    assert classifier() is None
    assert theirs() is None
    at_window(fcn, IMAGES[0]).sum().backward()  # and there is nowhere to send it
    del fcn
    gc.collect()
    assert network() is None
    assert ours() is None


def test_the_classifier_outlives_the_fcn():
    model = build("c·h·w")
    at_window(fullconv.convert(model, 8), IMAGES[0]).square().sum().backward()
    gc.collect()
    assert_gradients(model, expected(model, IMAGES[0]))


@pytest.mark.filterwarnings("error")
def test_classifier_and_states_are_copied_and_pickled_as_before():
    model = ready(LeNet())
    fcn = fullconv.convert(model, 28)
    x = noise(1, 1, 28, 28)
    fcn(x).sum().backward()
    with torch.no_grad():
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin(x), model(x))
    stream = io.BytesIO()
    torch.save(fcn.state_dict(keep_vars=True), stream)
    stream.seek(0)
    state = torch.load(stream, weights_only=True)
    assert torch.equal(state["fc1.weight"], fcn.fc1.weight)
    layer = copy.deepcopy(fcn.fc1)
    layer(noise(1, 16, 4, 4)).sum().backward()
    torch.testing.assert_close(
        model.fc1.bias.grad, torch.autograd.grad(fcn(x).sum(), fcn.fc1.bias)[0]
    )
