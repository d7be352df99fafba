"""Random small networks, every way: what is promised holds."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import AVERAGE_POOLS, CONVS, MAX_POOLS, NORMS, WHOLE_MEANS, pools_left
from torch import nn

import fullconv
from fullconv.allconv.words import HEADS, POOLS
from networks import noise, ready

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU)


@st.composite
def sweeping(draw, size: int) -> tuple[dict, int]:
    """Kernel, stride and padding for a map of `size` cells, and how many cells it gives."""
    kernel = draw(st.integers(1, min(4, size)))
    stride = draw(st.integers(1 + (kernel == 1), 3))  # another one would do nothing, and stay
    padding = draw(st.integers(0, kernel // 2))
    cells = (size + 2 * padding - kernel) // stride + 1
    return {"kernel_size": kernel, "stride": stride, "padding": padding}, cells


@st.composite
def classifiers(draw) -> tuple[nn.Module, tuple[int, ...]]:
    dims = draw(st.integers(1, 2))
    side = size = draw(st.integers(11, 17))
    channels, layers = 2, []
    for _ in range(draw(st.integers(1, 3))):
        how, cells = draw(sweeping(size))
        if cells < 3:
            break
        out = draw(st.integers(1, 4))
        layers.append(CONVS[dims - 1](channels, out, **{**how, "stride": 1 + (size > 12)}))
        size = (size + 2 * how["padding"] - how["kernel_size"]) // (1 + (size > 12)) + 1
        channels = out
        if draw(st.booleans()):
            layers.append(NORMS[dims - 1](channels))
        layers.append(draw(st.sampled_from(ACTIVATIONS))())
        how, cells = draw(sweeping(size))
        if cells >= 2 and draw(st.booleans()):
            maximum = draw(st.booleans())
            ceil = draw(st.booleans())
            pool = (MAX_POOLS if maximum else AVERAGE_POOLS)[dims - 1](**how, ceil_mode=ceil)
            layers.append(pool)
            size = pool(torch.zeros(1, 1, *(size,) * dims)).shape[-1]
    kind = draw(st.sampled_from(["mean", "flat", "deep"]))
    if kind == "mean":
        layers += [WHOLE_MEANS[dims - 1](1), nn.Flatten(), nn.Linear(channels, 3)]
    else:
        features = channels * size**dims
        deep = [nn.Linear(features, 5), nn.ReLU(), nn.Linear(5, 3)]
        layers += [nn.Flatten(), *(deep if kind == "deep" else [nn.Linear(features, 3)])]
    if draw(st.booleans()):
        layers.append(nn.Softmax(1))
    return ready(nn.Sequential(*layers)), (side,) * dims


@settings(max_examples=40)
@given(classifiers(), st.sampled_from(POOLS), st.sampled_from(HEADS), st.integers(0, 5))
def test_random_networks_keep_what_is_promised(classifier, pools, head, more):
    model, window = classifier
    network = fullconv.all_convolutional(model, window, pools=pools, head=head)
    x = noise(2, 2, *window)
    scores = network(x)
    assert scores.shape == (2, 3)
    plan = network.plan
    if pools in ("keep", "convpool") and head == "exact":
        assert plan.is_exact
    if plan.is_exact:
        torch.testing.assert_close(scores, model(x), atol=1e-10, rtol=0)
    if pools in ("conv", "strided") and head == "gap":
        assert pools_left(network) == []
    assert network(noise(1, 2, *(n + more for n in window))).shape == (1, 3)
    fcn = fullconv.convert(network, window)
    torch.testing.assert_close(fcn(x).flatten(1), scores, atol=1e-10, rtol=0)
    assert sum(p.numel() for p in network.parameters()) == plan.new_parameters
    torch.testing.assert_close(model(x), model.double()(x))
