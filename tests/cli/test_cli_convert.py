import json
import os

import pytest
import torch
from cli_runs import files

import fullconv as package


def test_both_files_are_written_and_named(fullconv, here):
    run = fullconv("convert", "nets.py:build", "-o", "net.safetensors")
    assert run.code == 0
    assert run.out.endswith("written: net.safetensors, net.json\n")
    assert "Conv 6×6, 8 → 4" in run.out
    assert "proven" in run.out
    assert files(here) == {"nets.py", "photo.png", "net.safetensors", "net.json"}


def test_json_has_plan_certificate_and_files(fullconv, here):
    data = fullconv("convert", "nets.py:build", "-o", "net.safetensors", "--json").json
    assert data["written"] == ["net.safetensors", "net.json"]
    assert data["certificate"]["ok"] is True
    assert data["plan"]["window"] == [16, 16]


def test_what_is_written_is_the_network(fullconv, here):
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors").code == 0
    fcn = package.load("net.safetensors")
    assert fcn.about.form == "nets.py:build"
    assert fcn.about.classes == ("cat", "dog", "tiger cat, Felis tigrina", "bird")
    assert fcn.about.mean == (0.5, 0.4, 0.3)
    assert fcn.about.std == (0.2, 0.25, 0.3)
    from fullconv.models import load_model

    model = load_model("nets.py:build").module
    x = torch.randn(2, 3, 29, 41)
    assert torch.equal(fcn(x), package.convert(model, 16)(x))
    torch.testing.assert_close(fcn(x[:, :, :16, :16])[:, :, 0, 0], model(x[:, :, :16, :16]))


def test_names_and_preparation_may_be_given(fullconv, here):
    (here / "names.txt").write_text("ä\nb\nc\nd\n", encoding="utf-8")
    words = ["--classes", "names.txt", "--mean", "0.1", "--std", "1,2,4", "--no-check"]
    run = fullconv("convert", "nets.py:build", "-o", "net.safetensors", *words, "--json")
    assert run.code == 0
    assert "certificate" not in run.json
    assert "comparing" not in run.err
    about = package.load("net.safetensors").about
    assert about.classes == ("ä", "b", "c", "d")
    assert (about.mean, about.std) == ((0.1,), (1.0, 2.0, 4.0))


def test_mean_and_std_must_fit(fullconv, here):
    run = fullconv("convert", "nets.py:build", "-o", "net.safetensors", "--mean", "1,2")
    assert run.code == 2
    assert "mean has 2 numbers" in run.error
    assert files(here) == {"nets.py", "photo.png"}


def test_class_names_of_another_number_are_left_out_with_a_remark(fullconv, here):
    text = (here / "nets.py").read_text().replace('CLASSES = ("cat", ', "CLASSES = (")
    (here / "three.py").write_text(text)
    run = fullconv("convert", "three.py:build", "-o", "net.safetensors", "--no-check")
    assert run.code == 0
    assert "three.py:build: its 3 class names are left out, for 4 scores" in run.err
    assert package.load("net.safetensors").about.classes is None


def test_a_network_that_does_not_pass_is_not_written(fullconv, here):
    run = fullconv("convert", "nets.py:broken", "-o", "net.safetensors")
    assert run.code == 1
    assert "the FCN does not equal the classifier." in run.error
    assert files(here) == {"nets.py", "photo.png"}


@pytest.mark.parametrize(
    "name", ["net.pt", "net", "net.safetensors.gz", ".safetensors", "net.json"]
)
def test_the_ending_is_checked_before_anything_is_loaded(name, fullconv, here):
    run = fullconv("convert", "missing.py:build", "-o", name)
    assert run.code == 2
    assert run.error == f"-o {name} must be a name that ends in .safetensors."


@pytest.mark.parametrize("where", ["missing", "nets.py"])
def test_a_folder_that_is_not_there_is_told_at_once(where, fullconv, here):
    run = fullconv("convert", "missing.py:build", "-o", f"{where}/net.safetensors")
    assert run.code == 1
    assert f"{where} does not exist" in run.error or "Not a directory" in run.error
    assert files(here) == {"nets.py", "photo.png"}


@pytest.mark.parametrize("name", ["net.safetensors", "net.json"])
def test_a_directory_in_the_way(name, fullconv, here):
    (here / name).mkdir()
    run = fullconv("convert", "missing.py:build", "-o", "net.safetensors")
    assert run.code == 1
    assert run.error.startswith(f"{name}: cannot be written: it is a directory.")


def test_the_weights_are_not_overwritten(fullconv, here):
    from safetensors.torch import save_file

    save_file({"w": torch.ones(1)}, "net.safetensors")
    os.link("net.safetensors", "same.safetensors")
    for name in ("net.safetensors", "same.safetensors", "../" + here.name + "/net.safetensors"):
        run = fullconv("convert", "nets.py:build", "--weights", "net.safetensors", "-o", name)
        assert run.code == 2
        assert run.error.startswith(f"-o: {name} would overwrite the weights.")


def test_another_json_of_that_name_is_not_overwritten(fullconv, here):
    (here / "net.json").write_text('["cat"]')
    run = fullconv("convert", "nets.py:build", "-o", "net.safetensors")
    assert run.code == 2
    assert run.error.startswith("net.json: is there already, and is something else.")
    assert (here / "net.json").read_text() == '["cat"]'
    (here / "names.json").write_text('["a", "b", "c", "d"]')
    words = ["--classes", "names.json", "-o", "names.safetensors"]
    run = fullconv("convert", "nets.py:build", *words)
    assert run.code == 2
    assert run.error.startswith("beside -o: names.json would overwrite the class names.")


def test_its_own_pair_is_replaced(fullconv, here):
    assert fullconv("convert", "nets.py:padded", "-o", "net.safetensors", "--no-check").code == 0
    assert fullconv("convert", "nets.py:build", "-o", "net.safetensors", "--no-check").code == 0
    assert package.load("net.safetensors").about.form == "nets.py:build"
    assert json.loads((here / "net.json").read_text())["model"] == "nets.py:build"
