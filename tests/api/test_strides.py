"""Finer strides of well-known networks: dilate = fragments = the FCN of shifted images.

The stride is made finer along one axis at a time, the other keeps its own: late layers then stay
small, and only the finer axis has borders that differ from those of a shifted image.
"""

import os
from dataclasses import dataclass

import pytest
import torch

import fullconv
from by_hand import assert_same
from fullconv.errors import MissingExtraError
from fullconv.models import load_model
from zoo.draw import noise, redraw

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


@dataclass(frozen=True)
class Case:
    """A network, a window at which it is cheap, and the strides tried in every run."""

    name: str
    window: int
    stride: int = 1
    heavy: bool = False


CASES = (
    Case("torchvision:alexnet", 224, 4),
    Case("torchvision:vgg16", 224, 16, heavy=True),
    Case("torchvision:resnet18", 64),
    Case("torchvision:resnet50", 64, 4),
    Case("torchvision:densenet121", 64, 8, heavy=True),
    Case("torchvision:googlenet", 64, 4),
    Case("torchvision:mobilenet_v2", 64, 2),
    Case("torchvision:efficientnet_b0", 64, 8, heavy=True),
    Case("torchvision:convnext_tiny", 64, 8, heavy=True),
    Case("timm:legacy_xception", 96, 8, heavy=True),
    Case("torchvision:vgg11_bn", 64, 8),
    Case("torchvision:squeezenet1_1", 64, 2),
    Case("torchvision:shufflenet_v2_x0_5", 64, 4),
    Case("torchvision:mnasnet0_5", 64, 4),
    Case("torchvision:regnet_x_400mf", 64, 8),
    Case("timm:resnetblur18", 64, 4),
    Case("timm:tresnet_m", 64, 8, heavy=True),
    Case("timm:dla46_c", 64, 4),
    Case("timm:test_convnext", 64, 4),
    Case("timm:test_byobnet", 64, 4),
    Case("timm:skresnet18", 64, 8, heavy=True),
    Case("timm:selecsls42", 64, 8),
    Case("timm:gernet_s", 64, 8),
)


def network(case: Case) -> torch.nn.Module:
    try:
        model = load_model(f"{case.name}:random").module
    except MissingExtraError:
        pytest.skip("torchvision or timm is not installed")
    return redraw(model, (case.window,) * 2)


def strides(case: Case, native: int) -> list[int]:
    if not NIGHTLY:
        return [case.stride]
    return [t for t in (16, 8, 4, 2, 1) if native % t == 0 and t < native]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_finer_along_one_axis(case: Case):
    if case.heavy and not NIGHTLY:
        pytest.skip("takes minutes; make nightly runs it")
    model = network(case)
    native = fullconv.convert(model, case.window)
    for axis in (0, 1) if NIGHTLY else (0,):
        for finer in strides(case, native.stride[axis]):
            _compare(model, native, case.window, axis, finer)


def _compare(model, native, window: int, axis: int, finer: int) -> None:
    own = native.stride[axis]
    stride = tuple(finer if a == axis else s for a, s in enumerate(native.stride))
    before, after = fullconv.plan(model, window, stride=stride).overhang[axis]
    reach = window + before + after + 2 * own
    size = tuple(reach if a == axis else window for a in range(2))
    image = noise(native.plan.channels, size, 7)
    with torch.no_grad():
        maps = {
            method: fullconv.convert(model, window, stride=stride, method=method)(image)
            for method in ("dilate", "fragments")
        }
        coarse = {name: _phase(scores, axis, 0, own // finer) for name, scores in maps.items()}
        expected = native(image)
        for scores in coarse.values():
            assert_same(scores, expected)
        # Of the other phases one in the middle and the last.
        for phase in {own // finer // 2, own // finer - 1} - {0}:
            shift = phase * finer
            shifted = native(image.narrow(2 + axis, shift, size[axis] - shift))
            inner = _inner(shifted.shape[2 + axis], own, shift, before, after, window, size[axis])
            assert inner, "no cell lies away from the borders"
            theirs = shifted.index_select(2 + axis, torch.tensor(inner))
            for scores in maps.values():
                ours = _phase(scores, axis, phase, own // finer)
                assert_same(ours.index_select(2 + axis, torch.tensor(inner)), theirs)


def _phase(scores: torch.Tensor, axis: int, phase: int, step: int) -> torch.Tensor:
    cells = [slice(None)] * scores.ndim
    cells[2 + axis] = slice(phase, None, step)
    return scores[tuple(cells)]


def _inner(
    cells: int, own: int, shift: int, before: int, after: int, window: int, size: int
) -> list[int]:
    """Cells of a shifted map that see neither its borders nor those of the whole image."""
    return [
        cell
        for cell in range(cells)
        if cell * own >= before and shift + cell * own + window + after <= size
    ]
