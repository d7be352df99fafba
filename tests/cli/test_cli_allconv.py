"""`fullconv allconv`, called as a person calls it."""

import json

import PIL.Image
import pytest
import torch
from cli_runs import NETS, files, picture

import fullconv as package
from fullconv.allconv.build import plan as make_plan
from fullconv.allconv.words import HEADS, POOLS
from fullconv.models import load_model

POOLED = """

def pooled():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 25, 9), nn.ReLU(), nn.Linear(9, 4),
    )


def two():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(8, 4)

        def forward(self, x):
            x = self.one(x)
            return self.fc(torch.cat([x.mean((2, 3)), self.two(x).mean((2, 3))], 1))

    return Two()


def line():
    return nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(56, 4))
"""


@pytest.fixture
def here(here):
    (here / "nets.py").write_text(NETS + POOLED)
    return here


def model() -> torch.nn.Module:
    return load_model("nets.py:pooled").module


def test_the_plan_is_printed(fullconv, here):
    run = fullconv("allconv", "nets.py:pooled")
    assert run.code == 0
    assert "Conv 2×2, 6 → 6" in run.out
    assert "Conv 1×1, 8 → 4" in run.out
    body, head = 3 * 6 * 9 + 6 + 6 * 8 * 9 + 8, 200 * 9 + 9 + 9 * 4 + 4
    new = body + 6 * 6 * 4 + 6 + 8 * 4 + 4
    assert f"parameters {body + head:,} → {new:,}" in " ".join(run.out.split())
    assert run.err == "nets.py:pooled: weights as built by nets.py:pooled\n"
    assert files(here) == {"nets.py", "photo.png"}
    assert fullconv("allconv", "nets.py:pooled", "--plan").out == run.out


@pytest.mark.parametrize("pools", POOLS)
@pytest.mark.parametrize("head", HEADS)
def test_every_way_can_be_asked_for(fullconv, here, pools, head):
    run = fullconv("allconv", "nets.py:pooled", "--pools", pools, "--head", head, "--json")
    assert run.code == 0
    assert run.json["model"] == "nets.py:pooled"
    planned = make_plan(model(), 16, pools=pools, head=head).to_dict()
    assert run.json["plan"] == json.loads(json.dumps(planned))
    words = ["-o", "net.safetensors", "--pools", pools, "--head", head]
    assert fullconv("allconv", "nets.py:pooled", *words).code == 0
    fcn = package.load("net.safetensors")
    x = torch.randn(2, 3, 16, 16)
    if head == "exact":
        network = package.all_convolutional(model(), 16, pools=pools, head=head)
        torch.testing.assert_close(fcn(x)[:, :, 0, 0], network(x))
        if pools in ("keep", "convpool"):
            torch.testing.assert_close(fcn(x)[:, :, 0, 0], model()(x))
    assert fcn(torch.randn(1, 3, 21, 30)).shape == (1, 4, *fcn.grid((21, 30)).shape)


def test_what_is_written_is_read_by_the_other_commands(fullconv, here):
    run = fullconv("allconv", "nets.py:pooled", "-o", "net.safetensors")
    assert run.code == 0
    assert run.out.endswith("written: net.safetensors, net.json\n")
    about = package.load("net.safetensors").about
    assert about.form == "nets.py:pooled"
    assert about.classes == ("cat", "dog", "tiger cat, Felis tigrina", "bird")
    assert (about.mean, about.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    answer = fullconv("classify", "net.safetensors", "photo.png", "--json")
    assert answer.code == 0
    assert {guess["name"] for guess in answer.json["images"][0]["top"]} <= set(about.classes)
    assert fullconv("heatmap", "net.safetensors", "photo.png", "-o", "map.png").code == 0
    for name in ("cat", "dog"):
        (here / "data" / name).mkdir(parents=True)
        picture(here / "data" / name / "1.png")
    done = fullconv("evaluate", "net.safetensors", "--data", "data", "--evaluations", "dense")
    assert done.code == 0


def test_names_preparation_and_stride_may_be_given(fullconv, here):
    (here / "names.txt").write_text("a\nb\nc\nd\n")
    words = ["--classes", "names.txt", "--mean", "0.1", "--std", "2", "--stride", "1"]
    run = fullconv("allconv", "nets.py:pooled", "-o", "net.safetensors", *words)
    assert run.code == 0
    fcn = package.load("net.safetensors")
    assert fcn.about.classes == ("a", "b", "c", "d")
    assert (fcn.about.mean, fcn.about.std) == ((0.1,), (2.0,))
    assert fcn.stride == (1, 1)


def test_images_are_fitted_to(fullconv, here):
    (here / "more").mkdir()
    for index in range(12):
        pixels = picture(here / "more" / f"{index}.png", 18 + index, 25)
        PIL.Image.fromarray(pixels[::-1] // (index + 1)).save(here / "more" / f"{index}.png")
    words = ["--images", "photo.png", "--images", "more"]
    assert '"fitted scores"' in fullconv("allconv", "nets.py:pooled", "--json", *words).out
    run = fullconv("allconv", "nets.py:pooled", "-o", "net.safetensors", "--json", *words)
    assert run.code == 0
    assert "fitting to 13 images ..." in run.err
    assert run.json["agreement"]["images"] == 13
    assert run.json["agreement"]["same_class"] >= 10
    assert [step["start"] for step in run.json["plan"]["steps"]] == [
        "fitted maximum", "fitted scores"
    ]  # fmt: skip
    text = fullconv("allconv", "nets.py:pooled", "-o", "net.safetensors", *words).out
    assert f"for {run.json['agreement']['same_class']} of 13\n" in text


def test_the_images_are_the_middle_of_what_just_covers_the_window(here):
    from pathlib import Path

    from fullconv.allconv.pictures import at_window

    PIL.Image.new("RGB", (80, 40), (255, 0, 0)).save("wide.png")
    image = PIL.Image.new("RGB", (16, 32), (0, 0, 255))
    image.paste((0, 255, 0), (0, 8, 16, 24))
    image.save("tall.png")
    counted = []
    found = at_window([Path("wide.png"), Path("tall.png")], (16, 16), 3, mean=(0.5,), std=(0.5,),
                      progress=counted.append)  # fmt: skip
    assert counted == [1, 2]
    assert found.shape == (2, 3, 16, 16)
    for index, colour in enumerate([(1, -1, -1), (-1, 1, -1)]):
        wanted = torch.tensor(colour).float()[:, None, None].expand(3, 16, 16)
        torch.testing.assert_close(found[index], wanted)
    # Scaled to a shortest side of 20 px, what is blue stays outside of the middle still.
    (cut,) = at_window([Path("tall.png")], (16, 16), 3, mean=(0.0,), std=(1.0,), shortest=20)
    assert cut[1].min() > 0.99


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nets.py:pooled", "--pools", "none"], 2, "'none' is not one of 'conv', 'strided'"),
        (["nets.py:pooled", "--plan", "-o", "a.safetensors"], 2,
         "--plan and -o exclude each other."),
        (["nets.py:pooled", "--stride", "1", "--mean", "0"], 2,
         "--stride and --mean cannot be given without -o."),
        (["nets.py:pooled", "-o", "a.pt"], 2,
         "-o a.pt must be a name that ends in .safetensors."),
        (["nets.py:pooled", "-o", "no/a.safetensors"], 1, "no"),
        (["nets.py:pooled", "-o", "a.safetensors", "--images", "none.png"], 3, "none.png"),
        (["nets.py:pooled", "-o", "a.safetensors", "--images", "empty"], 3,
         "there is no image in this folder"),
        (["nets.py:pooled", "-o", "a.safetensors", "--images", "photo.png", "--mean", "1,2"], 2,
         "mean has 2 numbers"),
        (["nets.py:line", "-o", "a.safetensors", "--images", "photo.png"], 2,
         "an image has two spatial axes, and this network has 1."),
        (["nets.py:two"], 4, "the head reads 2 maps"),
        (["nets.py:pooled", "--window", "20"], 4, "expects 200 features"),
        (["torchvision:vgg61"], 2, "Did you mean"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_error_and_leaves_nothing(fullconv, here, words, code, message):
    (here / "empty").mkdir()
    run = fullconv("allconv", *words)
    assert run.code == code
    assert message in run.error
    assert files(here) == {"nets.py", "photo.png", "empty"}


def test_nothing_that_is_read_is_written_over(fullconv, here):
    (here / "photo.png").rename(here / "photo.safetensors")
    run = fullconv("allconv", "nets.py:pooled", "-o", "photo.safetensors",
                   "--images", "photo.safetensors")  # fmt: skip
    assert run.code == 2
    assert "photo.safetensors would overwrite the image photo.safetensors" in run.error
    (here / "other.json").write_text(json.dumps({"mine": 1}))
    run = fullconv("allconv", "nets.py:pooled", "-o", "other.safetensors")
    assert run.code == 2
    assert json.loads((here / "other.json").read_text()) == {"mine": 1}
