"""On a GPU the map is that of the CPU: exactly in float64, closely in float32 and below."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import fullconv
from fullconv.models import load_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

FORMS = (
    "torchvision:alexnet:random",
    "torchvision:resnet18:random",
    "torchvision:mobilenet_v2:random",
)


@pytest.fixture
def tf32() -> Iterator[None]:
    """Products of float32 in float32, whatever was set before."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest, relative to the largest score."""
    return float((found.cpu().double() - expected).abs().max() / expected.abs().max())


def expected(model: torch.nn.Module, x: torch.Tensor, stride: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return fullconv.convert(model, 224, stride=stride)(x)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["dilate", "fragments"])
def test_float64(form, method):
    model = load_model(form).module.double()
    x = torch.randn(1, 3, 288, 320, dtype=torch.float64)
    native = fullconv.convert(model, 224).stride
    for stride in (native, tuple(step // 2 for step in native)):
        fcn = fullconv.convert(model, 224, stride=stride, method=method).to("cuda")
        with torch.no_grad():
            assert difference(fcn(x.cuda()), expected(model, x, stride)) <= 1e-10
            assert difference(fcn.optimize()(x.cuda()), expected(model, x, stride)) <= 1e-10


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_faster_types(form, dtype, close, tf32):
    model = load_model(form).module.double()
    x = torch.randn(1, 3, 288, 320, dtype=torch.float64)
    fcn = fullconv.convert(model, 224)
    found = fcn.to("cuda").optimize(dtype=dtype)(x.cuda())
    assert found.dtype == torch.float32
    assert difference(found, expected(model, x, fcn.stride)) <= close


def test_pictures_go_to_the_gpu_and_answers_come_back():
    pixels = np.random.default_rng(0).integers(0, 256, (260, 300, 3), np.uint8)
    fcn = fullconv.convert(load_model("torchvision:alexnet:random").module, 224)
    here = fullconv.classify(fcn, pixels, flip=True).probabilities
    there = fullconv.classify(fcn.to("cuda"), pixels, flip=True).probabilities
    np.testing.assert_allclose(there, here, atol=1e-4)
    assert fullconv.heatmap(fcn, pixels, 3).scores.shape == (1000, 2, 3)
