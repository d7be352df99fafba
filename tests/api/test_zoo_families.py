"""A small network of each family of timm and torchvision: FCN against classifier.

At a small window, with weights under which nothing hides: at the window, and head over body. What
`make zoo` measures at the window each network is trained at, for many more; see docs/coverage.md.
"""

import pytest
import torch

from fullconv.errors import MissingExtraError
from fullconv.models import load_model
from zoo.draw import redraw
from zoo.measure import compare

WINDOW = (64, 64)

SMALL = (
    "timm:test_byobnet",
    "timm:test_convnext",
    "timm:test_convnext2",
    "timm:test_convnext3",
    "timm:test_efficientnet",
    "timm:test_efficientnet_gn",
    "timm:test_efficientnet_ln",
    "timm:test_mambaout",
    "timm:test_nfnet",
    "timm:test_resnet",
    "timm:convnext_zepto_rms",
    "timm:cs3darknet_focus_s",
    "timm:cspnext_tiny",
    "timm:darknet17",
    "timm:dla46x_c",
    "timm:dpn48b",
    "timm:eca_resnext26ts",
    "timm:ese_vovnet19b_slim_dw",
    "timm:fasternet_t0",
    "timm:fastvit_t8",
    "timm:focalnet_tiny_srf",
    "timm:ghostnetv2_100",
    "timm:hgnetv2_b0",
    "timm:hrnet_w18_small",
    "timm:inception_next_atto",
    "timm:lcnet_035",
    "timm:legacy_seresnet18",
    "timm:mixnet_s",
    "timm:mobilenetv3_small_050",
    "timm:poolformer_s12",
    "timm:regnety_002",
    "timm:res2net50_48w_2s",
    "timm:resnest14d",
    "timm:resnetv2_18",
    "timm:rexnet_100",
    "timm:selecsls42",
    "timm:skresnet18",
    "timm:starnet_s050",
    "timm:tresnet_m",
    "torchvision:efficientnet_b0",
    "torchvision:mobilenet_v3_small",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:squeezenet1_1",
)


@pytest.mark.parametrize("form", SMALL)
def test_a_small_network_of_the_family(form):
    try:
        model = load_model(f"{form}:random").module
    except MissingExtraError:
        pytest.skip("torchvision or timm is not installed")
    redraw(model, WINDOW)
    with torch.no_grad():
        found = compare(model, WINDOW, halved=False)
    assert found["state"] == "equal", found
