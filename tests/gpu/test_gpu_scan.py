"""On a GPU a scan is one pass there, and its memory is bounded there."""

import numpy as np
import pytest
import torch

import fullconv
from fullconv.models import load_model
from fullconv.storage.maps import open_map

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_scan_is_one_pass(dtype, tmp_path):
    model = load_model("torchvision:resnet18:random").module.double()
    fcn = fullconv.convert(model, 224)
    pixels = np.random.default_rng(0).integers(0, 256, (700, 500, 3), np.uint8)
    numbers = torch.from_numpy(np.divide(pixels, np.float32(255), dtype=np.float32)).double()
    with torch.no_grad():
        expected = fcn(numbers.permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    fast = fcn.optimize(dtype=dtype).to("cuda")
    done = fullconv.scan(fast, pixels, tmp_path / "map", strip=2, band=4, max_memory=2 << 30)
    found = open_map(tmp_path / "map").read()
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-2, torch.bfloat16: 1e-1}[dtype]
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
    assert done.device_memory is not None
    assert 0 < done.device_memory < 2 << 30
    assert open_map(tmp_path / "map").about.settings["device"] == "cuda"
