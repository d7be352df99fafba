"""On a GPU a streamed map is that of one pass, too."""

import pytest
import torch

import fullconv
from fullconv.models import load_model
from streamed import assert_streams, one_pass, stream

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize("form", ["torchvision:resnet18:random", "torchvision:mobilenet_v2:random"])
def test_float64(form):
    fcn = fullconv.convert(load_model(form).module.double(), 224).to("cuda")
    image = torch.randn(1, 3, 416, 320, dtype=torch.float64, device="cuda")
    for height, width in ((1, 2), (3, None)):
        assert_streams(fcn, image, height, width)


def test_optimized_in_bfloat16():
    model = load_model("torchvision:resnet18:random").module
    fcn = fullconv.convert(model, 224).optimize(dtype=torch.bfloat16).to("cuda")
    image = torch.randn(2, 3, 416, 320, device="cuda")
    expected = one_pass(fcn, image)[0]
    found = stream(fcn, image, 2)[0]
    assert float((found - expected).abs().max()) <= 5e-2 * float(expected.abs().max())
