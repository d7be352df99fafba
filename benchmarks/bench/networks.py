"""The networks that are measured, and both sides of a comparison in their best form."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

import fullconv
from fullconv.errors import InputError
from fullconv.hosts.torch_fx.fcn import tensors_of
from fullconv.models import load_model
from fullconv.models.torchvision_import import import_timm, import_torchvision
from fullconv.models.weights import load_weights
from fullconv.storage.images import read_image

NAMES = {
    "alexnet": "AlexNet",
    "vgg16": "VGG-16",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "mobilenet_v2": "MobileNetV2",
    "squeezenet1_0": "SqueezeNet 1.0",
}
WINDOW = 224


@dataclass(frozen=True, slots=True)
class Trained:
    """A network with real weights.

    Attributes:
        model: the classifier.
        window: its input size, px.
        scale, mean: of its input, from pixels of 0 to 1.
        bgr: whether blue comes first.
    """

    model: nn.Module
    window: int
    scale: float
    mean: tuple[float, float, float]
    bgr: bool = False

    def prepare(self, pixels: Tensor) -> Tensor:
        """From RGB pixels `(1, 3, H, W)`, 0 to 1, to the network's input."""
        x = pixels.flip(1) if self.bgr else pixels
        return x * self.scale - torch.tensor(self.mean).view(1, 3, 1, 1)


def build(name: str, device: str = "cpu") -> nn.Module:
    """A classifier of torchvision with random weights: speed does not depend on them."""
    return load_model(f"torchvision:{name}:random").module.to(device)


def data_folder() -> Path:
    """Where real weights and photos lie: $FULLCONV_DATA, or shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return Path(os.environ.get("FULLCONV_DATA", beside))


def trained(name: str, data: Path) -> Trained | None:
    """MobileNetV2 or SqueezeNet with ImageNet weights from `data`; None where there are none."""
    if name == "mobilenet_v2":
        file = data / "weights" / "mobilenetv2_100_same_imagenet1001.safetensors"
        if file.exists():
            model = import_timm().create_model("mobilenetv2_100", pad_type="same", num_classes=1001)
            load_weights(model, file)
            return Trained(model.eval(), WINDOW, 2.0, (1.0, 1.0, 1.0))
    if name == "squeezenet1_0":
        file = data / "weights" / "squeezenet1_0_imagenet.npz"
        if file.exists():
            model = import_torchvision().models.squeezenet1_0()
            with np.load(file) as arrays:
                model.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays})
            model.classifier[1].padding = (1, 1)
            return Trained(model.eval(), 227, 255.0, (104.0, 117.0, 123.0), bgr=True)
    return None


def photos(folder: Path, shortest: int) -> dict[str, Tensor]:
    """The photographs of a folder by file name, `(1, 3, H, W)`, 0 to 1, resized to one side.

    Raises InputError if there is none.
    """
    found = {}
    for path in sorted(folder.glob("*.jpg")) if folder.is_dir() else []:
        pixels = torch.from_numpy(read_image(path).scaled()).permute(2, 0, 1)[None]
        scale = shortest / min(pixels.shape[2:])
        size = [max(shortest, round(side * scale)) for side in pixels.shape[2:]]
        found[path.name] = F.interpolate(
            pixels, size=size, mode="bilinear", antialias=True, align_corners=False
        )
    if not found:
        raise InputError("no photographs (*.jpg).", where=str(folder), hint="Name a folder.")
    return found


def folds() -> bool:
    """Whether the FCN's best form has its batch norms folded into its convolutions."""
    return hasattr(fullconv.FCN, "optimize")


def form() -> str:
    """The best form, in words."""
    return "channels last" + (", batch norms folded into the convolutions" if folds() else "")


def optimized(
    fcn: fullconv.FCN, dtype: torch.dtype | None = None, compile: bool = False
) -> nn.Module:
    """The FCN in its best form, with weights of its own."""
    if folds():
        fast: nn.Module = fcn.optimize(dtype=dtype, compile=compile)
        return fast
    twin: Any = copy.deepcopy(fcn).to(memory_format=torch.channels_last)
    twin = twin if dtype is None else twin.to(dtype)
    return torch.compile(twin) if compile else twin


def optimized_classifier(model: nn.Module) -> nn.Module:
    """The classifier in its best form: what `optimized` does to the FCN, and nothing less."""
    twin = copy.deepcopy(model).eval()
    if folds():
        twin = fuse(twin)
    return twin.to(memory_format=torch.channels_last)


def image_of(size: int, device: str = "cpu") -> Tensor:
    """Noise `(1, 3, size, size)`, channels last, the same in every run."""
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    return noise.to(device).contiguous(memory_format=torch.channels_last)


def scores_of(network: nn.Module, x: Tensor) -> Tensor:
    """The first answer of a network."""
    return tensors_of(network(x))[0]


def relative_difference(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest number of `b`."""
    return float((a - b).abs().max() / b.abs().max())


def set_tf32(allowed: bool) -> None:
    """Whether float32 products and convolutions may use TF32 on a GPU; a CPU has none."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
