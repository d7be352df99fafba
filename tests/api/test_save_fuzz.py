"""Descriptions that were damaged in a thousand ways: an error of ours, or the same network."""

import copy
import json
import random
from collections import Counter

import pytest
import torch
from torch import nn

import fullconv
from fullconv.errors import FullconvError
from fullconv.hosts.torch_fx.fcn import About
from fullconv.storage.description import sealed

ATOMS = [
    None, True, 0, 1, -1, 2**40, 10**30, 1.5, "", "x", "__class__", "a.b", "../x", "é" * 5, "\ud800",
    [], {}, [1], [[[[]]]], {"node": "x"}, {"list": [{}]}, {"float": "nan"}, {"dtype": "load"},
    {"slice": [1]}, "torch.relu", "os.system", "eval", "open('marker','w')",
    "x=open('marker','w')", "');open('marker','w');('", '"),open("marker","w"),("', "a b", "self",
    "torch", "import", "\n", "f{open('marker','w')}",
]  # fmt: skip


class Small(nn.Module):
    """Every part of a description: functions, methods, modules, parameters, buffers, constants."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.head = nn.Linear(64, 5)
        self.gain = nn.Parameter(torch.randn(3, 1, 1))

    def forward(self, x):
        x = self.norm(self.conv(x * self.gain)).clamp(0, float("inf")) * torch.ones(4, 1, 1)
        return torch.softmax(self.head(torch.flatten(self.pool(torch.relu(x)), 1)), 1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The path of a saved network, its description, an image and its map."""
    torch.manual_seed(0)
    fcn = fullconv.convert(Small().eval(), 9)
    fcn.about = About("net.py:f", ("a", "b", "c", "d", "e"), (0.1, 0.2, 0.3), (1.0,))
    path = tmp_path_factory.mktemp("fuzz") / "net.safetensors"
    fullconv.save(fcn, path)
    image = torch.randn(1, 3, 20, 23)
    with torch.no_grad():
        return path, json.loads(path.with_suffix(".json").read_text()), image, fcn(image)


def places(value, path=()):
    """The way to every entry of nested lists and dicts."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        if isinstance(entry, dict | list):
            yield from places(entry, (*path, key))
        else:
            yield (*path, key)


def at(value, path):
    for key in path:
        value = value[key]
    return value


def mutated(value: dict, draw: random.Random) -> dict:
    """`value` with one to three entries replaced, removed, moved, renamed or changed a little."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        path = draw.choice(list(places(value)))
        owner, key = at(value, path[:-1]), path[-1]
        entry, kind = owner[key], draw.randrange(6)
        if kind == 0:
            owner[key] = copy.deepcopy(draw.choice(ATOMS))
        elif kind == 1:
            del owner[key]
        elif kind == 2:
            owner[key] = copy.deepcopy(at(value, draw.choice(list(places(value)))))
        elif kind == 3 and isinstance(owner, dict):
            name = draw.choice([atom for atom in ATOMS if isinstance(atom, str)])
            owner[name] = owner.pop(key)
        elif kind == 3:
            owner.insert(key, copy.deepcopy(entry))
        elif isinstance(entry, bool | int | float):
            owner[key] = entry + draw.choice([-2, -1, 1, 7])
        elif isinstance(entry, str):
            place = draw.randrange(len(entry) + 1)
            owner[key] = entry[:place] + draw.choice("x_.\"'\\\0 )") + entry[place + 1 :]
    return value


def outcome(pair, text: bytes, monkeypatch) -> str:
    """What came of loading this description: the name of our error, or the network's answer."""
    path, _, image, expected = pair
    path.with_suffix(".json").write_bytes(text)
    monkeypatch.chdir(path.parent)
    try:
        fcn = fullconv.load(path)
    except FullconvError as error:
        assert error.exit_code in (3, 4)
        assert str(path.parent) in str(error)
        return type(error).__name__
    finally:
        assert not (path.parent / "marker").exists()
    try:
        with torch.no_grad():
            same = torch.equal(fcn(image), expected)
    except Exception:
        return "does not run"
    finally:
        assert not (path.parent / "marker").exists()
    return "the same" if same else "another"


def test_a_description_that_was_changed_is_noticed(pair, monkeypatch):
    seen = Counter()
    for seed in range(300):
        changed = mutated(pair[1], random.Random(seed))
        if changed != pair[1]:
            seen[outcome(pair, json.dumps(changed).encode(), monkeypatch)] += 1
    assert set(seen) == {"InputError"}
    assert seen.total() > 250


def test_bytes_that_were_changed_are_noticed(pair, monkeypatch):
    whole = json.dumps(pair[1], indent=1).encode()
    seen = Counter()
    for seed in range(300):
        draw, text = random.Random(seed), bytearray(whole)
        start = draw.randrange(len(text))
        kind = draw.randrange(4)
        if kind == 0:
            text[start] = draw.randrange(256)
        elif kind == 1:
            del text[start : start + draw.randrange(1, 40)]
        elif kind == 2:
            text[start:start] = draw.randbytes(draw.randrange(1, 8))
        else:
            del text[start:]
        seen[outcome(pair, bytes(text), monkeypatch)] += 1
    assert set(seen) <= {"InputError", "the same"}  # white space may change
    assert seen["InputError"] > 200


def test_a_description_sealed_anew_never_runs_code_or_fails_in_an_unknown_way(pair, monkeypatch):
    """What somebody makes who means to deceive; it may be another network, but never a program."""
    plain = {key: value for key, value in pair[1].items() if key != "sha256"}
    seen = Counter()
    for seed in range(500):
        changed = sealed(mutated(plain, random.Random(1000 + seed)))
        seen[outcome(pair, json.dumps(changed).encode(), monkeypatch)] += 1
    assert seen["RefusedError"] > 10
    assert seen["InputError"] > 250
    assert seen["does not run"] < 15  # of the wrong number of axes, say


def test_the_pair_itself_loads(pair, monkeypatch):
    assert outcome(pair, json.dumps(pair[1], indent=3).encode(), monkeypatch) == "the same"
