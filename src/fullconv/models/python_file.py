"""`path/to/file.py:factory`: a network that the user's own code builds.

Naming the file is the decision to run it: it is imported as Python would run it, with its own
folder first on the import path, and `factory()` is called without arguments.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from torch import nn

from fullconv.errors import FullconvError, UsageError, near
from fullconv.models.classifier import Classifier
from fullconv.models.constants import classifier_from
from fullconv.models.torchvision_import import with_torchvision
from fullconv.models.weights import load_weights
from fullconv.storage.marks import importing

T = TypeVar("T")

# The folder part may hold a colon of its own, as in C:\nets\vgg.py:build.
PYTHON_FORM = re.compile(r"(?P<path>.+\.py)(?::(?P<factory>[^:]*))?")


def load_python(form: str, weights: str | Path | None, architecture_only: bool) -> Classifier:
    """The network that `factory()` returns; the file's constants describe its input and output.

    Raises UsageError if there is no such file or factory, or it returns something else, and
    FullconvError with the place in the file if the user's code raises.
    """
    parts = PYTHON_FORM.fullmatch(form)
    assert parts is not None
    path, name = Path(parts["path"]), parts["factory"] or ""
    if not os.path.isfile(path):  # no error for a name that is too long
        beside = path.parent.glob("*.py") if path.parent.is_dir() else ()
        hint = near(path.name, [other.name for other in beside])
        raise UsageError("there is no such file.", where=str(path), hint=hint)
    with _first_on_path(path.parent):
        with importing(str(path)):
            file = _imported(path)
        module = _made(file, path, name)
    origin = f"as built by {form}"
    if weights is not None and not architecture_only:
        load_weights(module, Path(weights))
        origin = f"file {weights}"
    return classifier_from(vars(file), module, form, origin)


def _imported(path: Path) -> ModuleType:
    # A name of its own: a file called `types.py` must not stand in for the standard module.
    spec = importlib.util.spec_from_file_location(f"fullconv_model_{path.stem}", path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    run: Callable[[ModuleType], None] = spec.loader.exec_module
    _run(path, "importing it", lambda: run(module))
    return module


def _made(file: ModuleType, path: Path, name: str) -> nn.Module:
    factory = getattr(file, name, None) if name else None
    if factory is None:
        found = [key for key, value in vars(file).items() if _is_factory(value, file)]
        raise UsageError(
            f"there is no {name!r} in it." if name else "the factory is not named.",
            where=str(path),
            why=f"It defines {', '.join(found)}." if found else "It defines no function.",
            hint=near(name, found) if name else f"Write {path}:{found[0] if found else 'factory'}.",
        )
    if not callable(factory):
        raise UsageError(f"{name} is not a function or a class.", where=str(path))
    made = factory
    if not isinstance(factory, nn.Module):  # a network that stands ready needs no call
        _check_call(factory, path, name)
        made = _run(path, f"{name}()", factory)
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"{name}() returned {type(made).__name__}, not a torch.nn.Module.",
            where=str(path),
            hint="Return the network itself.",
        )
    return made


def _is_factory(value: Any, file: ModuleType) -> bool:
    made_here = getattr(value, "__module__", None) == file.__name__
    return made_here and (inspect.isfunction(value) or inspect.isclass(value))


def _check_call(factory: Callable[..., Any], path: Path, name: str) -> None:
    try:
        inspect.signature(factory).bind()
    except ValueError:  # a callable without a signature: calling it will tell
        return
    except TypeError as error:
        raise UsageError(
            f"{name}() cannot be called without arguments: {error}.",
            where=str(path),
            hint=f"Write a function without arguments that returns {name}(…), and name that one.",
        ) from None


def _run(path: Path, doing: str, action: Callable[[], T]) -> T:
    try:
        return with_torchvision(action)
    except (Exception, SystemExit) as error:
        here = str(path.resolve())
        if isinstance(error, SyntaxError) and error.filename == here:
            line = error.lineno
        else:
            frames = traceback.extract_tb(error.__traceback__)
            line = next((f.lineno for f in reversed(frames) if f.filename == here), None)
        last = traceback.format_exception_only(error)[-1].strip()
        where = f"{path}:{line}" if line else str(path)
        raise FullconvError(f"{doing} failed with {last}", where=where) from error


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with suppress(ValueError):  # the file may have changed the path itself
            sys.path.remove(entry)
