"""`path/to/file.py:factory`."""

import os
import sys

import pytest
import torch

from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.models import load_model


def test_lenet_with_its_trained_weights(lenet, data):
    weights = data / "weights" / "lenet_mnist.pth"
    digits = data / "datasets" / "mnist.npz"
    if not (weights.exists() and digits.exists()):
        pytest.skip("the real data has no LeNet or no MNIST")
    import numpy as np

    loaded = load_model(f"{lenet}:LeNet", weights=weights)
    assert loaded.window == (28, 28)
    assert loaded.classes == tuple("0123456789")
    assert (loaded.mean, loaded.std) == ((0.1307,), (0.3081,))
    assert loaded.weights == f"file {weights}"
    assert not loaded.module.training
    with np.load(digits) as file:
        x, y = torch.from_numpy(file["x_test"][:200]), torch.from_numpy(file["y_test"][:200])
    with torch.no_grad():
        scores = loaded.module((x[:, None] / 255 - loaded.mean[0]) / loaded.std[0])
    assert (scores.argmax(1) == y).float().mean() > 0.95


def test_a_network_with_timm_inside_describes_itself(tmp_path, data):
    pytest.importorskip("huggingface_hub", reason="timm is not installed")
    weights = data / "weights" / "mobilenetv2_100_same_imagenet1001.safetensors"
    if not weights.exists():
        pytest.skip("the real data has no MobileNet")
    file = tmp_path / "mobile.py"
    file.write_text(
        "import timm\n"
        "CLASSES = [str(i) for i in range(1001)]\n"
        "MEAN = STD = 0.5\n"
        "def build():\n"
        "    return timm.create_model('mobilenetv2_100', pad_type='same', num_classes=1001)\n"
    )
    loaded = load_model(f"{file}:build", weights=weights)
    assert loaded.window == (224, 224)
    assert loaded.classes is not None
    assert len(loaded.classes) == 1001
    assert (loaded.mean, loaded.std) == ((0.5,), (0.5,))
    with torch.no_grad():
        assert loaded.module(torch.zeros(1, 3, 224, 224)).shape == (1, 1001)


def test_what_is_not_said_is_not_known(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\ndef build():\n    return nn.Conv1d(1, 1, 3)\n")
    loaded = load_model(f"{file}:build")
    assert (loaded.window, loaded.classes, loaded.mean, loaded.std) == (None, None, (0.0,), (1.0,))
    assert loaded.weights == f"as built by {file}:build"


@pytest.mark.parametrize(
    ("window", "layer", "expected"),
    [("64", "Conv1d", (64,)), ("64", "Conv3d", (64, 64, 64)), ("(32, 64)", "Conv2d", (32, 64))],
)
def test_window_has_the_axes_of_the_network(tmp_path, window, layer, expected):
    file = tmp_path / "net.py"
    file.write_text(f"from torch import nn\nWINDOW = {window}\ndef build():\n    return NET\n")
    file.write_text(file.read_text() + f"NET = nn.Sequential(nn.{layer}(1, 1, 3))\n")
    assert load_model(f"{file}:build").window == expected
    assert load_model(f"{file}:NET").window == expected  # a network that stands ready


def test_weights_are_left_alone_for_the_architecture(lenet, tmp_path):
    loaded = load_model(
        f"{lenet}:LeNet", weights=tmp_path / "not_there.pth", architecture_only=True
    )
    assert loaded.weights == f"as built by {lenet}:LeNet"


def test_weights_of_another_network(lenet, tmp_path):
    torch.save({"conv1.weight": torch.zeros(6, 1, 5, 5)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: does not fit LeNet\.\n  missing in the file"):
        load_model(f"{lenet}:LeNet", weights=tmp_path / "w.pth")


def test_siblings_can_be_imported_and_the_path_is_left_as_it_was(tmp_path):
    (tmp_path / "sibling_of_net.py").write_text("from torch import nn\n")
    (tmp_path / "types.py").write_text("raise SystemExit('the standard module is meant')\n")
    file = tmp_path / "net.py"
    file.write_text("from sibling_of_net import nn\ndef build():\n    return nn.ReLU()\n")
    before = list(sys.path)
    load_model(f"{file}:build")
    assert sys.path == before


def test_no_such_file(lenet):
    wrong = lenet.with_name("lenett.py")
    with pytest.raises(UsageError) as caught:
        load_model(f"{wrong}:LeNet")
    assert str(caught.value) == f"{wrong}: there is no such file.\nDid you mean lenet.py?"
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="there is no such file"):
        load_model(str(lenet.parent / "nowhere" / "net.py:build"))


def test_no_such_factory(lenet):
    with pytest.raises(UsageError) as caught:
        load_model(f"{lenet}:lenet5")
    assert str(caught.value) == (
        f"{lenet}: there is no 'lenet5' in it.\nIt defines LeNet. Did you mean LeNet?"
    )


@pytest.mark.parametrize("ending", ["", ":"])
def test_no_factory_named(lenet, ending):
    with pytest.raises(UsageError) as caught:
        load_model(f"{lenet}{ending}")
    assert str(caught.value) == (
        f"{lenet}: the factory is not named.\nIt defines LeNet. Write {lenet}:LeNet."
    )


def test_a_file_without_functions(tmp_path):
    (tmp_path / "net.py").write_text("from os.path import join\n")
    with pytest.raises(UsageError, match=r"It defines no function\. Write .*net\.py:factory\."):
        load_model(str(tmp_path / "net.py"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "def build():\n    x = 1\n    raise ValueError(\n        'too wide')\n",
            "{file}:3: build() failed with ValueError: too wide",
        ),
        ("import torch\ndef build():\n    torch.zeros(2).view(3)\n", "{file}:3: build() failed"),
        ("x = 1\nimport no_such_thing\n", "{file}:2: importing it failed with ModuleNotFoundError"),
        ("x = 1\nx = = 2\n", "{file}:2: importing it failed with SyntaxError: invalid syntax"),
        ("raise SystemExit('bye')\n", "{file}:1: importing it failed with SystemExit: bye"),
    ],
)
def test_code_that_raises(tmp_path, source, message):
    file = tmp_path / "net.py"
    file.write_text(source)
    with pytest.raises(FullconvError) as caught:
        load_model(f"{file}:build")
    assert str(caught.value).startswith(message.format(file=file))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("build = 3", "build is not a function or a class."),
        (
            "def build():\n    return {}",
            "build() returned dict, not a torch.nn.Module.\nReturn the network itself.",
        ),
        (
            "def build(width):\n    pass",
            "build() cannot be called without arguments: missing a required argument: 'width'.\n"
            "Write a function without arguments that returns build(…), and name that one.",
        ),
    ],
)
def test_things_that_are_no_factories(tmp_path, source, message):
    file = tmp_path / "net.py"
    file.write_text(source)
    with pytest.raises(UsageError) as caught:
        load_model(f"{file}:build")
    assert str(caught.value) == f"{file}: {message}"


@pytest.mark.parametrize(
    ("constant", "message"),
    [
        ("WINDOW = '64'", "WINDOW = '64' is not a tuple of px"),
        ("SHORTEST = '64'", "SHORTEST = ('64',) is not a tuple of px"),
        ("SHORTEST = 0", "the shortest side 0 px cannot be."),
        ("WINDOW = (64,)", "WINDOW=(64,) names 1 axes, but the network has 2"),
        ("WINDOW = -1", "WINDOW=-1 must be made of positive whole numbers"),
        ("CLASSES = 'cat'", "CLASSES = 'cat' is not a tuple of names"),
        ("CLASSES = [1]", "CLASSES = [1] is not a tuple of names"),
        ("MEAN = 'grey'", "MEAN = 'grey' is not a tuple of numbers"),
        ("MEAN, STD = (0.5, 0.5), (0.5,)", "the mean (0.5, 0.5) and the std (0.5,) do not go"),
        ("STD = (0.0,)", "the mean (0.0,) and the std (0.0,) do not go together"),
    ],
)
def test_constants_that_are_wrong(tmp_path, constant, message):
    file = tmp_path / "net.py"
    file.write_text(f"from torch import nn\n{constant}\nNET = nn.Conv2d(1, 1, 3)\n")
    with pytest.raises(UsageError) as caught:
        load_model(f"{file}:NET")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{file}:NET: ")


STARTS = """
import os
import sys
from torch import nn
from fullconv.cli import main


def build():
    return nn.Linear(2, 2)


sys.argv = ["fullconv", "models"]
main()
"""


def test_a_file_that_starts_fullconv_while_it_is_imported(tmp_path, capsys):
    file = tmp_path / "net.py"
    file.write_text(STARTS)
    with pytest.raises(FullconvError, match="importing it failed with SystemExit: 2"):
        load_model(f"{file}:build")
    assert capsys.readouterr().err == (
        f"error: {file}: starts fullconv while fullconv imports it.\n"
        "Every start would import it again, without end. Put what starts it under `if __name__ == "
        '"__main__":`.\n'
    )
    assert "FULLCONV_IMPORTING" not in os.environ


def test_processes_of_a_file_that_is_imported_start_nothing(tmp_path):
    file = tmp_path / "net.py"
    call = '[sys.executable, "-m", "fullconv", "models"]'
    file.write_text(
        "import subprocess, sys\nfrom torch import nn\n"
        f"ENDED = subprocess.run({call}, capture_output=True, text=True)\n"
        "def build():\n    net = nn.Linear(2, 2)\n    net.ended = ENDED\n    return net\n"
    )
    ended = load_model(f"{file}:build").module.ended
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {file}: starts fullconv while fullconv imports it.")
