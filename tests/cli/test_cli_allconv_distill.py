"""`fullconv allconv --distill`: the network that is written has learnt from its classifier."""

import pytest
import torch
from cli_runs import files

import fullconv as package
from fullconv.api import save as saving
from fullconv.errors import FullconvError
from fullconv.storage.locking import locked_file
from fullconv.training import Recipe, error_of, predictions, start_afresh, train
from learnable import network, samples, write

NET = """
from learnable import network as build

WINDOW = 16
CLASSES = ("rows", "columns", "checks")
MEAN, STD = 0.47, 0.2
"""
WORDS = ("allconv", "net.py:build", "--weights", "net.pth", "-o", "new.safetensors", "--distill",
         "d.npz", "--epochs", "15", "--batch", "20")  # fmt: skip


@pytest.fixture
def teacher(here):
    """A trained network in the working folder, and images to learn from."""
    (here / "net.py").write_text(NET)
    write(here / "d.npz")
    net = start_afresh(network(), 0)
    train(net, samples(), Recipe(epochs=8, batch=20))
    torch.save(net.state_dict(), here / "net.pth")
    return net


def test_the_new_network_learns_the_answers_and_is_written(fullconv, teacher, here):
    run = fullconv(*WORDS, "--json")
    assert run.code == 0
    learnt = run.json["learnt"]
    assert (learnt["train"], learnt["test"], learnt["unread"]) == (120, 60, [])
    test = samples(60, seed=1)
    own = error_of(predictions(teacher, test), test.labels)
    assert learnt["classifier_error"] == pytest.approx(own)
    assert learnt["error_after"] < 20 < learnt["error_before"]
    assert files(here) >= {"new.safetensors", "new.json"}
    assert "new.training.pt" not in files(here)
    written = package.load(here / "new.safetensors")
    scores = written(test.prepared(test.pixels)).mean((2, 3))
    assert error_of(scores, test.labels) == pytest.approx(learnt["error_after"])


def test_it_goes_on_where_it_was_stopped(fullconv, teacher, here, monkeypatch):
    def full(*args):
        raise FullconvError("no space is left.")

    with monkeypatch.context() as patch:
        patch.setattr(saving, "save", full)
        assert fullconv(*WORDS).code == 1
    assert "new.training.pt" in files(here)
    other = fullconv(*WORDS, "--temperature", "2")
    assert other.code == 3
    assert "new.training.pt: is the state of a training with other settings." in other.err
    text = fullconv(*WORDS)
    assert text.code == 0
    assert "new.training.pt keeps where it stands" in text.err
    assert "on 60 test images: the classifier errs on " in text.out
    assert "new.training.pt" not in files(here)


def test_the_state_is_no_file_that_is_read(fullconv, teacher, here):
    (here / "net.pth").rename(here / "new.training.pt")
    words = ["new.training.pt" if word == "net.pth" else word for word in WORDS]
    before = (here / "new.training.pt").read_bytes()
    run = fullconv(*words)
    assert run.code == 2
    assert run.error.startswith("--distill: new.training.pt would overwrite the weights.")
    plain = fullconv(*words[: words.index("--distill")])  # which keeps no state
    assert plain.code == 0
    assert (here / "new.training.pt").read_bytes() == before


def test_two_at_a_time_do_not_write_the_same_state(fullconv, teacher, here):
    with locked_file(here / "new.training.pt"):
        run = fullconv(*WORDS)
        assert run.code == 1
        assert run.err.endswith(
            "error: new.training.pt: another process writes this file.\n"
            "Wait until it has ended, or name another file.\n"
        )
    before = files(here)
    assert fullconv(*WORDS, "--limit", "30").code == 0
    assert files(here) == before | {"new.safetensors", "new.json"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--distill", "d.npz"], "--distill cannot be given without -o."),
        (["-o", "new.safetensors", "--epochs", "3", "--resize"],
         "--epochs and --resize cannot be given without --distill."),
        (["--temperature", "3"], "--temperature cannot be given without --distill."),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(words, message, fullconv, teacher, here):
    before = files(here)
    run = fullconv("allconv", "net.py:build", *words)
    assert run.code == 2
    assert run.error.startswith(message)
    assert files(here) == before
