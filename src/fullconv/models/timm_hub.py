"""`timm:NAME[:random]`: timm's classifiers; NAME may carry a tag, as in `resnet50.a1_in1k`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fullconv.errors import InputError, UsageError, near
from fullconv.models.classifier import NOT_LOADED, Classifier, repeatable
from fullconv.models.fetch import fetch_hub, fetch_url, not_fetched
from fullconv.models.torchvision_import import import_timm
from fullconv.models.weights import load_weights


def timm_names() -> list[str]:
    """Every architecture of timm, without tags."""
    names: list[str] = import_timm().list_models()
    return names


def load_timm(form: str, weights: str | Path | None, architecture_only: bool) -> Classifier:
    """The classifier that `form` names, with the input its pretrained configuration describes.

    Class names go with weights, not with random ones.
    """
    timm = import_timm()
    name, _, option = form.partition(":")[2].partition(":")
    configuration = _configuration(form, name)
    if option not in ("", "random"):
        raise UsageError(
            f"{option!r} is not understood.",
            where=form,
            hint=f"Write timm:{name}, timm:{name}:random, or name weights with a tag: "
            "timm:resnet50.a1_in1k.",
        )
    pretrained = weights is None and not architecture_only and option == ""
    if pretrained:
        path, module = _pretrained(form, name, configuration)
        origin = f"pretrained {getattr(configuration, 'tag', None) or name}"
    else:
        with repeatable():
            module = timm.create_model(name)
        origin = NOT_LOADED if architecture_only else "random"
        if weights is not None and not architecture_only:
            path = Path(weights)
            load_weights(module, path)
            origin = f"file {path}"
    found = described(module)
    return Classifier(
        module=module,
        form=form,
        window=found.window,
        classes=None if origin == "random" else _classes(module),
        mean=found.mean or (0.0,),
        std=found.std or (1.0,),
        weights=origin,
        shortest=found.shortest,
    )


@dataclass(frozen=True, slots=True)
class Described:
    """What timm's configuration says of a network's input; None where it says nothing.

    Attributes:
        window: px per axis.
        mean, std: of pixels scaled to 0..1.
        shortest: the shortest side to which images are scaled when the network is tested, px.
    """

    window: tuple[int, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    shortest: int | None = None


def described(module: nn.Module) -> Described:
    """What is known of the input of a network that carries timm's configuration."""
    given = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    if not isinstance(given, Mapping):
        return Described()
    size, mean, std, share = (given.get(key) for key in ("input_size", "mean", "std", "crop_pct"))
    window = tuple(size[1:]) if size else None  # (C, H, W)
    # The window is a share of the shortest side, unless images are squeezed into a square.
    cut = share and window and given.get("crop_mode", "center") == "center"
    return Described(
        window,
        tuple(mean) if mean else None,
        tuple(std) if std else None,
        math.floor(min(window) / share) if cut and window else None,
    )


def _configuration(form: str, name: str) -> Any:
    timm = import_timm()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        hint = near(architecture, timm_names())
        raise UsageError(f"timm has no network named {architecture!r}.", where=form, hint=hint)
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
        raise UsageError(
            f"{architecture} has no pretrained weights tagged {tag!r}.",
            where=form,
            why=f"It has {', '.join(tags) or 'none'}.",
            hint=near(tag, tags),
        ) from None


def _pretrained(form: str, name: str, configuration: Any) -> tuple[Path, nn.Module]:
    repository: str = getattr(configuration, "hf_hub_id", None) or ""
    url: str = getattr(configuration, "url", None) or ""
    if not (repository or url):
        raise UsageError(
            f"there are no pretrained weights for {name}.",
            where=form,
            hint=f"Pass --weights FILE, or use timm:{name}:random for random weights.",
        )
    try:
        path = fetch_hub(repository) if repository else fetch_url(url)
    except Exception as error:  # of the network, the hub, the file system: one answer to all
        source = f"the Hugging Face repository {repository}" if repository else url
        raise not_fetched(form, f"timm:{name}:random", source, error) from error
    try:
        # timm itself loads the file: it knows what each architecture needs renamed.
        overlay = {"file": str(path), "custom_load": False}
        module = import_timm().create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:
        raise InputError(
            f"the fetched weights cannot be loaded: {error}",
            where=str(path),
            hint="Delete that file to have it fetched again.",
        ) from error
    return path, module


def _classes(module: nn.Module) -> tuple[str, ...] | None:
    """The names of the ImageNet subset with as many classes, if timm knows one."""
    data = importlib.import_module("timm.data")
    subset = data.infer_imagenet_subset(module)
    return tuple(data.ImageNetInfo(subset).label_descriptions()) if subset else None
