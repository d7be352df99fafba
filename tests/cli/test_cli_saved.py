"""Saved networks that were damaged, changed or are something else, through the command."""

import json
import shutil

import pytest
import torch
from cli_runs import files
from safetensors.torch import save_file

from fullconv.storage.description import sealed


@pytest.fixture
def pair(fullconv, here):
    """A saved network, as net.safetensors and net.json."""
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors", "--no-check").code == 0
    return here


def refused(fullconv, here, code: int) -> str:
    """The error of using net.safetensors; nothing is written."""
    before = files(here)
    run = fullconv("heatmap", "net.safetensors", "photo.png", "--map", "m.npy")
    assert run.code == code
    assert files(here) == before
    return run.error


def rewrite(here, change, seal: bool) -> None:
    """Change the description; with `seal`, as someone would who means to deceive."""
    data = json.loads((here / "net.json").read_text())
    change(data)
    if seal:
        data = sealed({key: value for key, value in data.items() if key != "sha256"})
    (here / "net.json").write_text(json.dumps(data))


def test_it_works_as_written_and_laid_out_anew(fullconv, pair):
    assert fullconv("heatmap", "net.safetensors", "photo.png").code == 0
    rewrite(pair, lambda data: None, seal=False)
    assert fullconv("heatmap", "net.safetensors", "photo.png").code == 0


def test_there_is_no_such_file(fullconv, here):
    error = refused(fullconv, here, 3)
    assert error == "net.safetensors: there is no such file."


def test_the_description_is_missing(fullconv, pair):
    (pair / "net.json").unlink()
    error = refused(fullconv, pair, 3)
    assert error.startswith("net.json: is missing: a saved FCN is two files.")
    assert "pass it with --weights" in error


def test_the_weights_are_missing(fullconv, pair):
    (pair / "net.safetensors").unlink()
    assert refused(fullconv, pair, 3).startswith("net.safetensors: cannot be read: No such file")


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_the_weights_are_cut_short(keep, fullconv, pair):
    whole = (pair / "net.safetensors").read_bytes()
    (pair / "net.safetensors").write_bytes(whole[:keep])
    error = refused(fullconv, pair, 3)
    assert error.startswith(
        "net.safetensors: is empty." if keep == 0
        else "net.safetensors: is not the file that net.json describes."
    )  # fmt: skip


def test_one_bit_of_the_weights_is_another(fullconv, pair):
    whole = bytearray((pair / "net.safetensors").read_bytes())
    whole[-10] ^= 1
    (pair / "net.safetensors").write_bytes(whole)
    assert "Its checksum is another" in refused(fullconv, pair, 3)


def test_the_weights_of_another_network(fullconv, pair):
    save_file({"w": torch.ones(2)}, pair / "net.safetensors")
    assert "is not the file that net.json describes." in refused(fullconv, pair, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "net.json: is no JSON: "),
        (b"{", "net.json: is no JSON: "),
        (b"\xff\xfe", "net.json: is no JSON: "),
        (b"[" * 100_000, "net.json: is no JSON: "),
        (b"[]", "net.json: is no JSON object."),
        (b"{}", "net.json: is not the description of a saved FCN."),
        (b'{"format": "pt"}', "net.json: is not the description of a saved FCN."),
        (b'{"format": ["fullconv-1"]}', "net.json: is not the description of a saved FCN."),
        (b'{"format": "fullconv-9"}', "net.json: has the format fullconv-9, and this version"),
        (b'{"format": "fullconv-1"}', "net.json: lacks geometry, input, model, classes, plan,"),
        (b'{"format": NaN}', "net.json: is no JSON: NaN"),
    ],
)
def test_the_description_is_something_else(content, message, fullconv, pair):
    (pair / "net.json").write_bytes(content)
    assert refused(fullconv, pair, 3).startswith(message)


def test_the_description_is_a_directory(fullconv, pair):
    (pair / "net.json").unlink()
    (pair / "net.json").mkdir()
    assert refused(fullconv, pair, 3).startswith("net.json: cannot be read: Is a directory.")


def change_stride(data):
    data["program"]["modules"]["0"]["stride"] = [2, 2]


def change_class(data):
    data["classes"][0] = "lion"


@pytest.mark.parametrize("change", [change_stride, change_class])
def test_a_change_by_hand_is_noticed(change, fullconv, pair):
    rewrite(pair, change, seal=False)
    error = refused(fullconv, pair, 3)
    assert error.startswith("net.json: was changed or damaged: its checksum is another.")


def node(data, op):
    return next(entry for entry in data["program"]["nodes"] if entry["op"] == op)


def foreign_function(data):
    node(data, "call_function")["target"] = "os.system"


def foreign_module(data):
    data["program"]["modules"]["0"] = {"type": "Popen", "args": "touch marker"}


def foreign_method(data):
    node(data, "call_module").update(op="call_method", target="__reduce__")


def code_in_a_name(data):
    node(data, "placeholder")["target"] = "x=open('marker','w')"


def code_in_a_keyword(data):
    node(data, "call_module")["kwargs"] = {"x=open('marker','w'), input": 1}


def code_in_a_place(data):
    place = '0"), open("marker", "w"), ("'
    data["program"]["modules"][place] = data["program"]["modules"].pop("0")
    node(data, "call_module")["target"] = place


def dunder_place(data):
    data["program"]["modules"]["__class__"] = data["program"]["modules"]["0"]


def path_like_tensor(data):
    data["program"]["tensors"][0]["name"] = "../../0.weight"


def setting_of_a_device(data):
    data["program"]["modules"]["0"]["device"] = "cpu"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (foreign_function, "names the function 'os.system', which is not on the list."),
        (foreign_module, "names the module 'Popen', which is not on the list."),
        (foreign_method, "names the method '__reduce__', which is not on the list."),
        (code_in_a_name, "holds \"x=open('marker','w')\" where a name belongs."),
        (code_in_a_keyword, "where a name belongs."),
        (code_in_a_place, "where the place of a layer belongs."),
        (dunder_place, "holds '__class__' where the place of a layer belongs."),
        (path_like_tensor, "holds '../../0.weight' where the place of a layer belongs."),
        (setting_of_a_device, "gives a Conv2d the setting 'device'."),
    ],
)
def test_a_forged_description_is_refused_and_nothing_runs(change, message, fullconv, pair):
    rewrite(pair, change, seal=True)
    error = refused(fullconv, pair, 4)
    assert error.startswith("net.json: ")
    assert message in error
    assert "Do not use this file" in error
    assert not (pair / "marker").exists()


def test_two_networks_mixed_up(fullconv, pair):
    shutil.copy("net.json", "kept.json")
    assert fullconv("convert", "nets.py:padded", "-o", "net.safetensors", "--no-check").code == 0
    shutil.copy("kept.json", "net.json")
    assert "is not the file that net.json describes." in refused(fullconv, pair, 3)


@pytest.mark.parametrize("command", [["plan"], ["check"], ["convert", "-o", "two.safetensors"]])
def test_elsewhere_a_classifier_is_needed(command, fullconv, pair):
    run = fullconv(*command, "net.safetensors")
    assert run.code == 2
    assert run.error.startswith("net.safetensors: a saved network is already converted")
