"""What a weights file may be, and how its tensors must fit."""

import contextlib
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fullconv.errors import InputError, RefusedError
from fullconv.models import checkpoint
from fullconv.models.weights import load_weights


def same(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def saved(path: Path, content: object, **options) -> Path:
    torch.save(content, path, **options)
    return path


class Evil:
    """Pickles to a call that creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"echo ran > {self.marker}",)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.without_a_hint"])
def test_safetensors_are_told_by_content(tmp_path, small, other_small, name):
    save_file(other_small.state_dict(), tmp_path / name)
    load_weights(small, tmp_path / name)
    assert same(small, other_small)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_checkpoints_of_both_ages_are_told_by_content(tmp_path, small, other_small, zipped, name):
    state = other_small.state_dict()
    load_weights(small, saved(tmp_path / name, state, _use_new_zipfile_serialization=zipped))
    assert same(small, other_small)


@pytest.mark.parametrize(
    "nest",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state_dict": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {**state, "epoch": 3},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
        lambda state: {key.replace("conv.", "conv.module."): v for key, v in state.items()},
        lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
        lambda state: {**state, "AuxLogits.fc.weight": torch.zeros(2), "aux1.b": torch.zeros(2)},
        lambda state: {
            key: value.double() if value.dim() else value for key, value in state.items()
        },
    ],
)
def test_usual_nesting_is_taken_off(tmp_path, small, other_small, nest):
    load_weights(small, saved(tmp_path / "w.pth", nest(other_small.state_dict())))
    assert same(small, other_small)


def test_old_names_of_densenet(tmp_path):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.denselayer1 = nn.Module()
            self.denselayer1.norm1 = nn.BatchNorm2d(3)

    net, other = Layer(), Layer()
    nn.init.normal_(other.denselayer1.norm1.weight)
    state = {k.replace("norm1", "norm.1"): v for k, v in other.state_dict().items()}
    load_weights(net, saved(tmp_path / "w.pth", state))
    assert same(net, other)


def test_layer_versions_travel_with_a_checkpoint(tmp_path):
    seen = []

    class Versioned(nn.Linear):
        _version = 7

        def _load_from_state_dict(self, state, prefix, metadata, *rest):
            seen.append(metadata.get("version"))
            super()._load_from_state_dict(state, prefix, metadata, *rest)

    net = nn.Sequential(Versioned(2, 2))
    state = net.state_dict()
    save_file(dict(state), tmp_path / "w.safetensors")
    load_weights(net, tmp_path / "w.safetensors")  # has none: the network's own
    state._metadata["0"]["version"] = 3
    load_weights(net, saved(tmp_path / "w.pth", state))
    assert seen == [7, 3]


def test_misfit_lists_every_kind(tmp_path, small):
    state = small.state_dict()
    state["hed.weight"] = state.pop("head.weight")
    state["conv.weight"] = torch.zeros(4, 3, 3, 3)
    state["conv.bias"] = torch.zeros(4, dtype=torch.int8)
    with pytest.raises(InputError) as caught:
        load_weights(small, saved(tmp_path / "w.pth", state))
    assert str(caught.value) == (
        f"{tmp_path}/w.pth: does not fit Small.\n"
        "  missing in the file (1): head.weight\n"
        "  not in the network (1): hed.weight\n"
        "  another shape (1): conv.weight is 4×1×3×3 in the network, 4×3×3×3 in the file\n"
        "  not floating point (1): conv.bias is int8\n"
        "  head.weight: Did you mean hed.weight?\n"
        "Pass the weights of this very architecture, or name the one they belong to."
    )
    assert caught.value.exit_code == 3


def test_misfit_counts_what_it_does_not_show(tmp_path, small):
    state = {f"layer{index}.weight": torch.zeros(1) for index in range(9)}
    with pytest.raises(InputError) as caught:
        load_weights(small, saved(tmp_path / "w.pth", state))
    assert (
        "missing in the file (8): conv.weight, conv.bias, norm.weight, norm.bias, "
        "norm.running_mean and 3 more\n" in str(caught.value)
    )
    assert "layer4.weight and 4 more" in str(caught.value)


def test_a_misfit_keeps_the_names_of_the_file(tmp_path, small):
    state = {f"module.{name}.weight": torch.zeros(1) for name in "ab"}
    with pytest.raises(InputError, match=r"not in the network \(2\): module.a.weight, module.b"):
        load_weights(small, saved(tmp_path / "w.pth", state))


def test_nan_is_refused(tmp_path, small):
    state = small.state_dict()
    state["head.bias"][1] = float("nan")
    with pytest.raises(InputError, match=r"w.pth: head.bias holds values that are not numbers"):
        load_weights(small, saved(tmp_path / "w.pth", state))


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("wrap", ["zip", "legacy", "bare"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, small, protocol, wrap):
    marker, path = tmp_path / "marker", tmp_path / "w.pth"
    content = {"state_dict": small.state_dict(), "extra": Evil(marker)}
    if wrap == "bare":
        path.write_bytes(pickle.dumps(Evil(marker), protocol))
        pickle.loads(path.read_bytes())
    else:
        zipped = wrap == "zip"
        saved(path, content, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        torch.load(path, weights_only=False)
    assert marker.exists(), "the payload itself works"
    marker.unlink()
    with pytest.raises(RefusedError) as caught:
        load_weights(small, path)
    assert not marker.exists()
    assert caught.value.exit_code == 4
    assert str(caught.value) == (
        f"{path}: would run code when loaded: its pickle calls {os.system.__module__}.system.\n"
        "Nothing of it was executed. If you trust it, open it where it was made and save the "
        "tensors alone: safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
    )


def test_a_pickled_network_is_refused_by_its_class(tmp_path, small):
    path = saved(tmp_path / "net.pt", nn.Sequential(nn.ReLU()))
    with pytest.raises(RefusedError, match=r"calls torch\.nn\.modules\.container\.Sequential\."):
        load_weights(small, path)


def test_a_harmless_pickle_of_a_newer_protocol_is_refused(tmp_path, small):
    path = saved(tmp_path / "w.pt", small.state_dict(), pickle_protocol=4)
    with pytest.raises(RefusedError, match="cannot be read without running it"):
        load_weights(small, path)


def test_an_allowance_made_elsewhere_is_not_needed(tmp_path, small, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "marker"
    path = saved(tmp_path / "w.pth", {"x": Evil(marker)})
    with pytest.raises(RefusedError):
        load_weights(small, path)
    assert not marker.exists()


def test_an_old_torch_reads_no_pickle(tmp_path, small, monkeypatch):
    path = saved(tmp_path / "w.pth", small.state_dict())
    monkeypatch.setattr(checkpoint.torch, "__version__", "2.9.1")
    with pytest.raises(RefusedError, match=r"torch 2.9.1 cannot read a pickle.*\n.*torch 2.10"):
        load_weights(small, path)
    save_file(small.state_dict(), tmp_path / "w.safetensors")
    load_weights(small, tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        ("net/constants.pkl", "a TorchScript archive"),
        ("net/archive_format", r"an exported program \(\.pt2\)"),
        ("serialized_exported_program.json", r"an exported program \(\.pt2\)"),
        ("net/.data/extern_modules", "a torch.package archive"),
    ],
)
def test_archives_of_programs_are_refused(tmp_path, small, member, kind):
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickle.dumps({}, 2))
        archive.writestr(member, "")
    with pytest.raises(RefusedError, match=rf"net\.pt: is {kind}: it holds a program"):
        load_weights(small, path)


def test_a_real_exported_program_is_refused(tmp_path, small):
    path = tmp_path / "net.pt2"
    net = nn.Sequential(nn.Conv2d(1, 2, 3)).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 1, 8, 8),)), path)
    with pytest.raises(RefusedError, match="an exported program"):
        load_weights(small, path)


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_cut_short(tmp_path, small, form):
    path = tmp_path / "w"
    if form == "safetensors":
        save_file(small.state_dict(), path)
    else:
        saved(path, small.state_dict(), _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    for size in (9, 10, 40, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(
            InputError, match=r"w: is cut short or damaged \(.*\nDelete it"
        ) as caught:
            load_weights(small, path)
        assert caught.value.exit_code == 3


def test_damage_never_escapes(tmp_path, small):
    path = tmp_path / "w"
    saved(path, small.state_dict(), _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with contextlib.suppress(InputError, RefusedError):  # a flipped number goes unseen
            load_weights(small, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"w: the file is empty\."),
        (b"PK", "is neither a safetensors file nor a PyTorch checkpoint"),
        (b"\x89HDF\r\n\x1a\n and so on", "is neither a safetensors file nor a PyTorch checkpoint"),
        (b"cos\nsystem\n(S'exit'\ntR.", "is neither a safetensors file nor a PyTorch checkpoint"),
    ],
)
def test_other_content(tmp_path, small, content, message):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_weights(small, tmp_path / "w")


def test_npz_is_not_read(tmp_path, small):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    with pytest.raises(InputError, match="is a zip archive, but not a PyTorch checkpoint"):
        load_weights(small, tmp_path / "w.npz")


@pytest.mark.parametrize(
    ("content", "found"),
    [({"epoch": 3}, "the keys epoch"), ([1, 2], r"\[1, 2\]"), (OrderedDict(), "nothing")],
)
def test_no_tensors(tmp_path, small, content, found):
    with pytest.raises(InputError, match=rf"holds no tensors by name\.\nFound {found}"):
        load_weights(small, saved(tmp_path / "w.pth", content))


def test_no_such_file(tmp_path, small):
    (tmp_path / "weights.pth").touch()
    with pytest.raises(InputError) as caught:
        load_weights(small, tmp_path / "wieghts.pth")
    assert str(caught.value) == (
        f"{tmp_path}/wieghts.pth: cannot be read: No such file or directory.\n"
        "Did you mean weights.pth?"
    )
    with pytest.raises(InputError, match="Is a directory"):
        load_weights(small, tmp_path)


def test_versions_that_are_nonsense(tmp_path, small):
    state = small.state_dict()
    state._metadata = 3
    load_weights(small, saved(tmp_path / "w.pth", state))
    state._metadata = {"conv": 3}
    with pytest.raises(InputError, match=r"w\.pth: cannot be loaded: 'int' object has no"):
        load_weights(small, saved(tmp_path / "w.pth", state))


def test_tensors_without_values(tmp_path, small):
    state = {key: value.to("meta") for key, value in small.state_dict().items()}
    with pytest.raises(InputError, match=r"w\.pth: "):
        load_weights(small, saved(tmp_path / "w.pth", state))
    state = small.state_dict()
    state["head.weight"] = state["head.weight"].to_sparse()
    with pytest.raises(InputError, match=r"w\.pth: "):
        load_weights(small, saved(tmp_path / "w.pth", state))
