"""MobileNetV2 with trained weights, as a factory for MODEL: `trained_mobilenet.py:build`.

A dequantised ImageNet classifier of 1,001 classes with TensorFlow's "same" padding; the weights lie
among the data of the studies. Images: pixels x/127.5 − 1.
"""

from __future__ import annotations

from torch import nn

from fullconv.models.torchvision_import import import_torchvision
from studies.cifar10 import data_folder

WINDOW = 224
MEAN, STD = (0.5,), (0.5,)


def build() -> nn.Module:
    """The classifier, `(N, 3, 224, 224) -> (N, 1001)`."""
    import_torchvision()
    import timm
    from safetensors.torch import load_file

    model = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1001)
    name = "mobilenetv2_100_same_imagenet1001.safetensors"
    model.load_state_dict(load_file(data_folder() / "weights" / name))
    return model.eval()
