"""The two files: what is in them, that they change together, and what is refused."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import torch
from torch import nn

import fullconv
from fullconv.errors import FullconvError, InputError, UsageError
from fullconv.hosts.torch_fx.fcn import About
from fullconv.storage import files, outputs

SRC = Path(__file__).resolve().parents[2] / "src"

NET = """
import torch
from torch import nn


class Scale(nn.Module):
    def forward(self, x):
        return x * 2


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), Scale(), nn.Flatten(), nn.Linear(144, 5)).eval()
"""


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()


@pytest.fixture
def fcn() -> fullconv.FCN:
    made = fullconv.convert(small(), 8)
    made.about = About(
        "net.py:build", ("ape", "bee", "cow", "dog", "猫"), (0.5,), (0.2, 0.3, 0.4), 9
    )
    return made


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what is written ---


def test_the_description_says_what_a_person_wants_to_know(fcn, tmp_path):
    fullconv.save(fcn, tmp_path / "net.safetensors")
    text = (tmp_path / "net.json").read_text(encoding="utf-8")
    data = json.loads(text)
    assert list(data) == [
        "format", "model", "geometry", "input", "plan", "classes", "weights_sha256", "program",
        "sha256",
    ]  # fmt: skip
    assert data["format"] == "fullconv-1"
    assert data["model"] == "net.py:build"
    assert data["geometry"] == {
        "window": [8, 8], "stride": [1, 1], "offset": [0, 0], "receptive_field": [8, 8],
    }  # fmt: skip
    assert data["input"] == {
        "channels": 3, "mean": [0.5], "std": [0.2, 0.3, 0.4], "shortest": 9,
    }  # fmt: skip
    assert data["classes"] == ["ape", "bee", "cow", "dog", "猫"]
    assert fullconv.Plan.from_dict(data["plan"]) == fcn.plan
    assert "Linear 144 → 5" in text  # not \u2192
    lines = text.splitlines()
    assert len(lines) < 140
    assert max(map(len, lines)) <= 160
    assert ' "classes": ["ape", "bee", "cow", "dog", "猫"],' in lines


def test_the_weights_are_plain_tensors_under_the_classifier_s_names(fcn, tmp_path):
    model = small()
    fullconv.save(fcn, tmp_path / "net.safetensors")
    with safetensors.safe_open(tmp_path / "net.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "fullconv-1"}
        assert set(opened.keys()) == set(model.state_dict())
        assert torch.equal(opened.get_tensor("0.weight"), model[0].weight)
        assert torch.equal(opened.get_tensor("3.weight").flatten(1), model[3].weight)


def test_both_paths_are_returned_and_have_usual_permissions(fcn, tmp_path):
    paths = fullconv.save(fcn, str(tmp_path / "net.safetensors"))
    assert paths == (tmp_path / "net.safetensors", tmp_path / "net.json")
    usual = tmp_path / "usual"
    usual.touch()
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_saving_twice_gives_the_same_bytes(fcn, tmp_path):
    one = [path.read_bytes() for path in fullconv.save(fcn, tmp_path / "one.safetensors")]
    two = [path.read_bytes() for path in fullconv.save(fcn, tmp_path / "two.safetensors")]
    again = fullconv.load(tmp_path / "one.safetensors")
    three = [path.read_bytes() for path in fullconv.save(again, tmp_path / "three.safetensors")]
    assert one == two == three


def test_loading_needs_neither_the_user_s_file_nor_a_hub(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    code = (
        "import sys, torch, fullconv, net; torch.manual_seed(0)\n"
        "fcn = fullconv.convert(net.build(), 8); fullconv.save(fcn, 'net.safetensors')\n"
        "torch.save((torch.randn(1, 3, 14, 11), ), 'x.pt')\n"
        "x, = torch.load('x.pt'); torch.save(fcn(x), 'y.pt')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    (tmp_path / "net.py").unlink()
    code = (
        "import sys, torch, fullconv\n"
        "fcn = fullconv.load('net.safetensors'); x, = torch.load('x.pt')\n"
        "assert torch.equal(fcn(x), torch.load('y.pt'))\n"
        "assert not {'torchvision', 'timm', 'net'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


# --- both files change, or none ---


class Stop(BaseException):
    """As hard a stop as Python knows."""


def interrupt_at(monkeypatch, step: int) -> None:
    """Stop at the step-th rename that would put a file in its place."""
    real, seen = os.replace, []

    def replace(source, target):
        seen.append(target)
        if len(seen) == step:
            raise Stop
        real(source, target)

    monkeypatch.setattr(files.os, "replace", replace)


@pytest.mark.parametrize("step", [1, 2])
def test_a_stop_between_the_files_leaves_the_old_pair(step, fcn, tmp_path, monkeypatch):
    target = tmp_path / "net.safetensors"
    fullconv.save(fcn, target)
    before = {name: (tmp_path / name).read_bytes() for name in listed(tmp_path)}
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(Stop):
            fullconv.save(fullconv.convert(small(1), 8), target)
    assert {name: (tmp_path / name).read_bytes() for name in listed(tmp_path)} == before
    assert torch.equal(fullconv.load(target).get_parameter("0.weight"), small()[0].weight)


@pytest.mark.parametrize("step", [1, 2])
def test_a_stop_between_the_files_leaves_nothing_where_nothing_was(
    step, fcn, tmp_path, monkeypatch
):
    interrupt_at(monkeypatch, step)
    with pytest.raises(Stop):
        fullconv.save(fcn, tmp_path / "net.safetensors")
    assert listed(tmp_path) == []


@pytest.mark.parametrize("name", ["save_file", "write_description", "_digest"])
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, RuntimeError])
def test_a_stop_while_writing(name, error, fcn, tmp_path, monkeypatch):
    from fullconv.api import save as module

    def fail(*args, **kwargs):
        raise error

    target = tmp_path / "net.safetensors"
    fullconv.save(fcn, target)
    before = {name: (tmp_path / name).read_bytes() for name in listed(tmp_path)}
    monkeypatch.setattr(module.safetensors.torch if name == "save_file" else module, name, fail)
    with pytest.raises(error):
        fullconv.save(fullconv.convert(small(1), 8), target)
    assert {name: (tmp_path / name).read_bytes() for name in listed(tmp_path)} == before


def test_without_hard_links_the_old_weights_are_kept_by_copying(fcn, tmp_path, monkeypatch):
    def link(source, target):
        raise OSError("no links here")

    monkeypatch.setattr(outputs.os, "link", link)
    test_a_stop_between_the_files_leaves_the_old_pair(2, fcn, tmp_path, monkeypatch)


def test_a_pair_that_was_torn_apart_is_noticed(fcn, tmp_path):
    fullconv.save(fcn, tmp_path / "a.safetensors")
    fullconv.save(fullconv.convert(small(1), 8), tmp_path / "b.safetensors")
    os.replace(tmp_path / "b.safetensors", tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"is not the file that a\.json describes\.") as caught:
        fullconv.load(tmp_path / "a.safetensors")
    assert "cut short, changed or replaced" in str(caught.value)


def test_links_stay_links(fcn, tmp_path):
    (tmp_path / "real").mkdir()
    for ending in ("safetensors", "json"):
        (tmp_path / f"net.{ending}").symlink_to(tmp_path / "real" / f"x.{ending}")
    for seed in (0, 1):
        fullconv.save(fullconv.convert(small(seed), 8), tmp_path / "net.safetensors")
        assert listed(tmp_path / "real") == ["x.json", "x.safetensors"]
    assert (tmp_path / "net.json").is_symlink()
    fullconv.load(tmp_path / "net.safetensors")


# --- what is refused ---


def test_only_an_fcn_is_saved(tmp_path):
    with pytest.raises(UsageError, match="only an FCN can be saved here, not a Sequential"):
        fullconv.save(small(), tmp_path / "net.safetensors")


@pytest.mark.parametrize("name", ["net", "net.pt", "net.json", ".safetensors", "net.SAFETENSORS"])
def test_the_name_must_end_in_safetensors(name, fcn, tmp_path):
    for call in (
        lambda: fullconv.save(fcn, tmp_path / name),
        lambda: fullconv.load(tmp_path / name),
    ):
        with pytest.raises(UsageError, match=r"must be a name that ends in \.safetensors"):
            call()
    assert listed(tmp_path) == []


def test_hooks_are_code(tmp_path):
    model = small()
    model[0].register_forward_hook(lambda *args: None)
    fcn = fullconv.convert(model, 8)
    with pytest.raises(FullconvError, match=r"^0: has hooks, which are code and are not saved\."):
        fullconv.save(fcn, tmp_path / "net.safetensors")
    other = fullconv.convert(small(), 8)
    other.register_forward_pre_hook(lambda *args: None)
    with pytest.raises(FullconvError, match="the network: has hooks"):
        fullconv.save(other, tmp_path / "net.safetensors")
    assert listed(tmp_path) == []


def test_a_function_that_is_not_listed(tmp_path):
    class Odd(nn.Conv2d):
        def forward(self, x):
            return torch.nn.functional.conv2d(x, torch.atan2(self.weight, self.weight + 1))

    net = nn.Sequential(Odd(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)).eval()
    with pytest.raises(
        FullconvError, match="calls torch.atan2, which is not on the list"
    ) as caught:
        fullconv.save(fullconv.convert(net, 8), tmp_path / "net.safetensors")
    assert "remove_parametrizations" in str(caught.value)
    assert listed(tmp_path) == []


def test_a_network_without_numbers(fcn, tmp_path):
    with pytest.raises(FullconvError, match=r"0\.weight: has no numbers"):
        fullconv.save(fcn.to("meta"), tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    "about",
    [
        About(classes=("one",)),
        About(mean=(0.1, 0.2)),
        About(std=(1.0, 0.0, 1.0)),
        About(mean=(float("nan"),)),
        About(classes=(1, 2, 3, 4, 5)),
        About(shortest=0),
        About(shortest=True),
    ],
)
def test_what_is_said_of_the_network_must_fit_it(about, fcn, tmp_path):
    fcn.about = about
    with pytest.raises(UsageError, match=r"what fcn\.about says does not fit the network"):
        fullconv.save(fcn, tmp_path / "net.safetensors")
    assert listed(tmp_path) == []


def test_another_json_of_that_name_stays(fcn, tmp_path):
    (tmp_path / "net.json").write_text('{"important": true}')
    with pytest.raises(UsageError, match=r"net\.json: is there already, and is something else"):
        fullconv.save(fcn, tmp_path / "net.safetensors")
    assert (tmp_path / "net.json").read_text() == '{"important": true}'
    assert listed(tmp_path) == ["net.json"]


def test_a_folder_that_is_missing(fcn, tmp_path):
    with pytest.raises(FullconvError, match=r"cannot be written: the folder .* does not exist"):
        fullconv.save(fcn, tmp_path / "no" / "net.safetensors")
