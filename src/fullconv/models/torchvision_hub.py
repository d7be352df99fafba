"""`torchvision:NAME[:WEIGHTS|:random]`: torchvision's classifiers and their pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from fullconv.errors import UsageError, near
from fullconv.models.classifier import NOT_LOADED, Classifier, repeatable
from fullconv.models.fetch import fetch_url, not_fetched
from fullconv.models.torchvision_import import import_torchvision
from fullconv.models.weights import load_weights

# Networks whose initialisation takes seconds; weights that follow make it a waste.
_SLOW_TO_INITIALISE = ("vgg", "googlenet", "inception")


def torchvision_names() -> list[str]:
    """Every classifier of torchvision: of images, and of videos (whose windows are 3-D)."""
    models = import_torchvision().models
    return [*models.list_models(module=models), *models.list_models(module=models.video)]


def load_torchvision(form: str, weights: str | Path | None, architecture_only: bool) -> Classifier:
    """The classifier that `form` names, with the input its weights entry describes.

    A weights entry counts even where its weights are not used: the default one says for which
    window and which mean the network was made. Class names go with weights, not with random ones.
    """
    _, name, *options = form.split(":")
    names = torchvision_names()
    if name not in names:
        hint = near(name, names)
        raise UsageError(f"torchvision has no classifier named {name!r}.", where=form, hint=hint)
    if len(options) > 1:
        hint = f"Write torchvision:{name}:{options[0]}."
        raise UsageError("only one word may follow the name.", where=form, hint=hint)
    option = options[0] if options else "DEFAULT"
    entry = _entry(form, name, "DEFAULT" if option == "random" else option)
    loads = not (architecture_only or (option == "random" and weights is None))
    path = Path(weights) if weights is not None else None
    if loads and path is None:
        try:
            path = fetch_url(entry.url)
        except Exception as error:  # of the network, the file system, the hash: one answer to all
            raise not_fetched(form, f"torchvision:{name}:random", entry.url, error) from error
    module = _built(name, entry, initialised=option == "random" and not loads)
    if not loads:
        origin = NOT_LOADED if architecture_only else "random"
    else:
        assert path is not None
        load_weights(module, path)
        origin = f"pretrained {entry.name}" if weights is None else f"file {path}"
    preset = entry.transforms()
    side = preset.crop_size
    return Classifier(
        module=module,
        form=form,
        # A video preset tells the size of a frame, not the number of frames.
        window=(side[0], side[0]) if len(side) == 1 else None,
        classes=None if origin == "random" else tuple(entry.meta["categories"]),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        weights=origin,
        shortest=_shortest(preset),
    )


def _shortest(preset: Any) -> int | None:
    """The side to which a weights entry scales images; a video's frames are scaled to two."""
    sides: tuple[int, ...] = tuple(getattr(preset, "resize_size", None) or ())
    return sides[0] if len(sides) == 1 else None


def _entry(form: str, name: str, option: str) -> Any:
    entries = import_torchvision().models.get_model_weights(name)
    # An entry without class names is for other networks that begin with this one.
    known = {entry.name: entry for entry in entries if entry.meta.get("categories")}
    if option == "DEFAULT":
        return entries.DEFAULT
    if option not in known:
        headless = option in entries.__members__
        raise UsageError(
            f"the weights {option} of {name} have no trained head."
            if headless
            else f"{name} has no weights named {option!r}.",
            where=form,
            why=f"It has {', '.join(known)}.",
            hint="" if headless else near(option, [*known, "random"]),
        )
    return known[option]


def _built(name: str, entry: Any, *, initialised: bool) -> nn.Module:
    """The network as torchvision builds it for `entry`, with random weights."""
    arguments: dict[str, Any] = {}
    # The pretrained ones of these two shift their input to the mean they were trained with; one has
    # lost the heads that only training uses, the other keeps them.
    if name == "googlenet":
        arguments = {"transform_input": True, "aux_logits": False}
    elif name == "inception_v3":
        arguments = {"transform_input": True, "aux_logits": True}
    elif name.startswith("vit_"):
        arguments = {"image_size": entry.meta["min_size"][0]}
    elif name == "maxvit_t":
        arguments = {"input_size": entry.meta["min_size"]}
    if name.startswith(_SLOW_TO_INITIALISE):
        arguments["init_weights"] = initialised and name.startswith("vgg")
    with repeatable():
        module: nn.Module = import_torchvision().models.get_model(name, weights=None, **arguments)
    return module
