"""The forms of a MODEL word, and `load_model`, which tells them apart."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from fullconv.errors import MissingExtraError, RefusedError, UsageError, near
from fullconv.models.classifier import Classifier
from fullconv.models.constants import classifier_from
from fullconv.models.python_file import PYTHON_FORM, load_python
from fullconv.models.timm_hub import load_timm, timm_names
from fullconv.models.torchvision_hub import load_torchvision, torchvision_names
from fullconv.models.weights import load_weights

Loader = Callable[[str, str | Path | None, bool], Classifier]


def load_model(
    form: str, *, weights: str | Path | None = None, architecture_only: bool = False
) -> Classifier:
    """Load the classifier that a MODEL word names.

    `form` is `torchvision:NAME[:WEIGHTS|:random]`, `timm:NAME[:random]`, `path/to/file.py:factory`
    or the name of a bundled model. Both hubs give pretrained weights unless told otherwise; with
    `weights`, a safetensors file or a PyTorch checkpoint, nothing is downloaded. With
    `architecture_only` neither hub nor file is asked for weights.

    Raises UsageError (2) for a word that names nothing, InputError (3) for weights that are damaged
    or of another network, RefusedError (4) for what is unsafe or not supported, and FullconvError
    (1) if the pretrained weights cannot be fetched or the user's own code fails.
    """
    return _loader(form)(form, weights, architecture_only)


def load_bundled(form: str, weights: str | Path | None, architecture_only: bool) -> Classifier:
    """The bundled model called `form`; its weights come with it."""
    bundle = importlib.import_module(BUNDLED[form])
    module = bundle.load()
    origin = "bundled"
    if weights is not None and not architecture_only:
        load_weights(module, Path(weights))
        origin = f"file {weights}"
    return classifier_from(vars(bundle), module, form, origin)


# Each module offers WINDOW, CLASSES, MEAN, STD and load().
BUNDLED = {"textures": "fullconv.bundled.textures"}
HUBS: dict[str, Loader] = {"torchvision": load_torchvision, "timm": load_timm}

_FORMS = (
    "MODEL is torchvision:NAME[:WEIGHTS|:random], timm:NAME[:random], path/to/file.py:factory, "
    f"or a bundled model ({', '.join(BUNDLED)})."
)
_WEIGHT_FILES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".tar", ".npz", ".pt2")


def _loader(form: str) -> Loader:
    if form in BUNDLED:
        return load_bundled
    head, colon, name = form.partition(":")
    if colon and head in HUBS:
        if not name:
            raise UsageError("names no network.", where=repr(form), hint=_FORMS)
        return HUBS[head]
    if PYTHON_FORM.fullmatch(form):
        return load_python
    suffix = Path(form).suffix.lower()
    if suffix == ".onnx":
        raise RefusedError(
            "reading ONNX is not supported yet.",
            where=form,
            hint="Give the PyTorch model it was exported from: path/to/file.py:factory.",
        )
    if suffix == ".safetensors":
        raise UsageError(
            "a saved network is already converted, and here a classifier is needed.",
            where=form,
            hint="If the file holds the weights of a classifier, name that and pass them with "
            f"--weights {form}.",
        )
    if suffix in _WEIGHT_FILES:
        raise UsageError(
            "holds weights, not a network.",
            where=form,
            hint=f"Name the network they belong to and pass them with --weights {form}. {_FORMS}",
        )
    raise UsageError("is no MODEL.", where=repr(form), why=_suggestion(form), hint=_FORMS)


def _suggestion(form: str) -> str:
    head, colon, rest = form.partition(":")
    if colon:
        return near(head, list(HUBS)).replace("?", f":{rest}?")
    if not form:
        return ""
    bundled = near(form, list(BUNDLED))
    try:
        hubs = {"torchvision": torchvision_names(), "timm": timm_names()}
    except MissingExtraError:
        return bundled
    same = [f"{hub}:{form}" for hub, names in hubs.items() if form in names]
    if form.partition(".")[0] in hubs["timm"] and not same:
        same = [f"timm:{form}"]  # a name with its tag
    if same:
        return f"Did you mean {' or '.join(same)}?"
    alike = near(form, hubs["torchvision"])
    return bundled or (f"{alike} Write it as torchvision:NAME." if alike else "")
