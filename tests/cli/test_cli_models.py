"""Networks and files of networks that cannot be used: one error each, the right exit code."""

import pickle
import zipfile
from importlib.util import find_spec

import pytest
import torch
from cli_runs import files
from torch import nn

REFUSED = """
import torch
from torch import nn

WINDOW = 16


class Net(nn.Module):
    def __init__(self, head, **members):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = head
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, x):
        return type(self).head_of(self, self.conv(x))


def net(head, **members):
    made = type("Net", (Net,), {"head_of": head})
    return made(None, **members)


def position():
    return net(
        lambda self, x: self.fc((x + self.position).flatten(1)),
        position=nn.Parameter(torch.zeros(1, 8, 14, 14)), fc=nn.Linear(8 * 14 * 14, 4),
    )


def lstm():
    def head(self, x):
        y, _ = self.lstm(x.flatten(2).transpose(1, 2))
        return self.fc(y[:, -1])
    return net(head, lstm=nn.LSTM(8, 5, batch_first=True), fc=nn.Linear(5, 4))


def mixing():
    return net(lambda self, x: self.fc(x.reshape(-1, 16, 7, 14).mean((2, 3))), fc=nn.Linear(16, 4))


def pixels():
    def head(self, x):
        if x.sum() > 0:
            x = x * 2
        return self.fc(x.flatten(1))
    return net(head, fc=nn.Linear(8 * 14 * 14, 4))


def attention():
    def head(self, x):
        y = x.flatten(2).transpose(1, 2)
        y, _ = self.attention(y, y, y)
        return self.fc(y.mean(1))
    return net(head, attention=nn.MultiheadAttention(8, 2, batch_first=True), fc=nn.Linear(8, 4))


def noisy():
    def head(self, x):
        if (x * self.scale).sum() > 0:
            x = x * 2
        return self.fc(self.more(x).flatten(1))
    return net(
        head, scale=nn.Parameter(torch.ones(8, 1, 1)), more=nn.Conv2d(8, 8, 3),
        fc=nn.Linear(8 * 12 * 12, 4),
    )


def two():
    class Two(nn.Module):
        def forward(self, x, y):
            return x
    return Two()


def boom():
    raise RuntimeError("the disk is on fire")


def leave():
    raise SystemExit(7)


def nothing():
    pass


def needs(size):
    return nn.Conv2d(3, size, 3)


number = 7
"""


@pytest.fixture
def refused(here):
    (here / "odd.py").write_text(REFUSED)
    return here


@pytest.mark.parametrize(
    ("name", "where", "why"),
    [
        ("position", "add in Net", "a position embedding?"),
        ("lstm", "lstm (LSTM)", "A recurrent layer reads positions as a sequence"),
        ("mixing", "mean in Net", "its cells seen in blocks of 7×1"),
        ("pixels", "Net", "depends on the pixel values"),
        ("noisy", "Net", "depends on the pixel values"),
        ("attention", "attention (MultiheadAttention)", "Attention mixes all positions"),
        ("two", "Two", "forward needs a second input, 'y'."),
    ],
)
def test_a_network_that_cannot_slide(name, where, why, fullconv, refused):
    before = files(refused)
    for words in (
        ["plan", f"odd.py:{name}"],
        ["heatmap", f"odd.py:{name}", "photo.png"],
        ["convert", f"odd.py:{name}", "-o", "net.safetensors"],
        ["check", f"odd.py:{name}"],
    ):
        run = fullconv(*words)
        assert run.code == 4
        assert run.error.startswith(where)
        assert why in run.error
    assert files(refused) == before


def test_a_factory_that_raises_is_told_with_its_line(fullconv, refused):
    run = fullconv("plan", "odd.py:boom")
    line = 1 + REFUSED.splitlines().index('    raise RuntimeError("the disk is on fire")')
    assert run.error.startswith(f"odd.py:{line}: boom() failed with RuntimeError")


def test_a_vision_transformer(fullconv, here):
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    run = fullconv("plan", "timm:vit_tiny_patch16_224:random")
    assert run.code == 4
    assert "Attention mixes all positions" in run.error
    assert "places cannot be converted" in run.error


@pytest.mark.parametrize(
    ("form", "code", "message"),
    [
        ("odd.py:boom", 1, "boom() failed with RuntimeError: the disk is on fire"),
        ("odd.py:leave", 1, "leave() failed with SystemExit: 7"),
        ("odd.py:nothing", 2, "odd.py: nothing() returned NoneType, not a torch.nn.Module."),
        ("odd.py:needs", 2, "odd.py: needs() cannot be called without arguments"),
        ("odd.py:number", 2, "odd.py: number is not a function or a class."),
        ("odd.py:mixin", 2, "odd.py: there is no 'mixin' in it."),
        ("odd.py", 2, "odd.py: the factory is not named."),
        ("missing.py:build", 2, "missing.py: there is no such file."),
        ("odd", 2, "'odd': is no MODEL."),
        ("", 2, "'': is no MODEL."),
        ("model.onnx", 4, "model.onnx: reading ONNX is not supported yet."),
        ("net.pth", 2, "net.pth: holds weights, not a network."),
        ("torchvision:", 2, "'torchvision:': names no network."),
        ("torchvisoin:vgg16", 2, "Did you mean torchvision:vgg16?"),
        ("torchvision:vgg17", 2, "Did you mean vgg1"),
        ("-", 2, "'-': is no MODEL."),
    ],
)
def test_a_word_that_names_no_network(form, code, message, fullconv, refused):
    before = files(refused)
    for words in (["plan", form], ["heatmap", form, "photo.png"]):
        run = fullconv(*words)
        assert run.code == code
        assert message in run.error
    assert files(refused) == before


class Marker:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_checkpoint_that_runs_code_is_refused_and_does_not_run(fullconv, here):
    marker = here / "marker"
    with (here / "evil.pth").open("wb") as file:
        pickle.dump({"0.weight": Marker(marker)}, file)
    torch.save({"0.weight": Marker(marker)}, here / "evil.pt")
    with zipfile.ZipFile(here / "half.zip", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(Marker(marker)))
    assert fullconv("check", "nets.py:build", "--weights", "half.zip").code in (3, 4)
    for name in ("evil.pth", "evil.pt"):
        run = fullconv("check", "nets.py:build", "--weights", name)
        assert run.code == 4
        assert run.error.startswith(f"{name}: would run code when loaded: its pickle calls")
        assert not marker.exists()


def test_weights_that_cannot_be_read(fullconv, here):
    (here / "empty.pth").touch()
    (here / "text.pth").write_text("these are no weights")
    whole = nn.Linear(2, 2).state_dict()
    torch.save(whole, here / "whole.pth")
    (here / "cut.pth").write_bytes((here / "whole.pth").read_bytes()[:200])
    for name, message in {
        "empty.pth": "the file is empty.",
        "text.pth": "is neither a safetensors file nor a PyTorch checkpoint.",
        "cut.pth": "is cut short or damaged",
        "whole.pth": "does not fit Sequential.",
        "gone.pth": "cannot be read: No such file or directory.",
        ".": "cannot be read: Is a directory.",
    }.items():
        run = fullconv("check", "nets.py:build", "--weights", name)
        assert run.code == 3
        assert run.error.startswith(f"{name}: {message}")


def test_weights_that_are_not_numbers_are_named(fullconv, here):
    run = fullconv("heatmap", "nets.py:broken", "photo.png", "--map", "out.npy")
    assert run.code == 3
    assert run.error.startswith("2.weight: holds numbers that are not finite (NaN or infinite).")
    assert files(here) == {"nets.py", "photo.png"}
