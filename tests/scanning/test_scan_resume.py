"""A scan that ended early is gone on with, byte for byte as if nothing had happened."""

import multiprocessing

import numpy as np
import PIL.Image
import pytest
import torch
from scans import network, noise, tree
from torch import nn

import fullconv
from fullconv.errors import FullconvError, IncompleteError, InputError
from fullconv.storage.locking import locked
from fullconv.storage.maps import MapWriter, open_map
from fullconv.storage.sources import ArraySource

SIZES = {"strip": 4, "band": 6}


class Stopping(ArraySource):
    """An array whose n-th read fails."""

    def __init__(self, pixels, reads: int) -> None:
        super().__init__(pixels)
        self.left = reads

    def read(self, box):
        self.left -= 1
        if self.left < 0:
            raise InputError("the cable was pulled.", where=self.name)
        return super().read(box)


def test_after_an_error_at_every_read(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels = noise(61, 47, channels)
    fullconv.scan(fcn, pixels, folder / "whole", **SIZES)
    expected = tree(folder / "whole")
    reads, done = 0, -1
    while True:
        target = folder / f"after {reads}"
        try:
            fullconv.scan(fcn, Stopping(pixels, reads), target, **SIZES)
            break
        except InputError as error:
            assert str(error) == "the array: the cable was pulled."
        there = open_map(target, incomplete=True)
        assert not there.complete
        assert len(there.done) >= done
        done = len(there.done)
        summary = fullconv.scan(fcn, pixels, target, **SIZES)
        assert (summary.before, summary.computed) == (done, summary.chunks - done)
        assert tree(target) == expected
        reads += 1
    assert reads > summary.chunks
    assert done == summary.chunks - 1


def test_many_errors_in_one_scan(folder, strip_by_strip):
    _, fcn, channels = network("padded")
    pixels = noise(61, 47, channels)
    fullconv.scan(fcn, pixels, folder / "whole", **SIZES)
    ends = 0
    for reads in range(200):
        try:
            fullconv.scan(fcn, Stopping(pixels, 4 + reads // 4), folder / "map", **SIZES)
            break
        except InputError:
            ends += 1
    assert ends > 5
    assert tree(folder / "map") == tree(folder / "whole")


def test_the_plan_is_kept_whatever_the_memory_is(folder):
    """Other strips would give other last digits, and other chunks."""
    _, fcn, channels = network("TinyVGG")
    pixels = noise(150, 140, channels)
    fullconv.scan(fcn, pixels, folder / "whole", strip=3, band=7)
    with pytest.raises(InputError):
        fullconv.scan(fcn, Stopping(pixels, 3), folder / "map", strip=3, band=7)
    done = fullconv.scan(fcn, pixels, folder / "map")
    assert (done.plan.height, done.plan.width) == (3, 7)
    assert tree(folder / "map") == tree(folder / "whole")


def test_chunks_that_are_damaged_are_made_again(folder, strip_by_strip):
    _, fcn, channels = network("padded")
    pixels, target = noise(61, 47, channels), folder / "map"
    fullconv.scan(fcn, pixels, target, **SIZES)
    expected = tree(target)
    files = sorted(target.glob("scores/c.*"))
    content = bytearray(files[3].read_bytes())
    content[7] ^= 1
    files[3].write_bytes(bytes(content))
    files[9].unlink()
    said = []
    done = fullconv.scan(fcn, pixels, target, say=said.append, **SIZES)
    assert done.computed == 2
    assert said[0].endswith("are missing or damaged, and will be written again.")
    assert said[1] == f"{target}: {done.chunks - 2} of {done.chunks} chunks are there"
    assert tree(target) == expected


def test_a_map_that_is_whole_is_left_alone(folder):
    _, fcn, channels = network("padded")
    pixels, target = noise(61, 47, channels), folder / "map"
    fullconv.scan(fcn, pixels, target)
    expected = tree(target)
    done = fullconv.scan(fcn, pixels, target)
    assert (done.before, done.computed, done.cells, done.macs) == (1, 0, 0, 0.0)
    assert tree(target) == expected
    assert dict(done.summary())["chunks"] == "1: 0 computed, 1 were there"
    assert "time" not in dict(done.summary())


def test_another_model_input_or_setting_is_refused_by_name(folder):
    model, fcn, channels = network("padded")
    pixels, target = noise(61, 47, channels), folder / "map"
    fullconv.scan(fcn, pixels, target, strip=5, band=9)
    expected = tree(target)

    def refusal(other=fcn, image=pixels, **options) -> list[str]:
        with pytest.raises(InputError) as refused:
            fullconv.scan(other, image, target, **{"strip": 5, "band": 9, **options})
        first, *lines = str(refused.value).splitlines()
        assert first == f"{target}: this folder holds a map that was begun otherwise:"
        return [line.split(":")[0].removeprefix("- ") for line in lines[:-1]]

    changed = pixels.copy()
    changed[5, 5] ^= 1
    assert refusal(image=changed) == ["fingerprint"]
    assert refusal(image=pixels[:-8]) == ["size", "fingerprint", "shape", "chunk"]
    assert refusal(mean=(0.5,)) == ["settings mean"]
    assert refusal(values="probabilities") == ["values"]
    assert refusal(keep=[1]) == ["kept"]
    assert refusal(dtype="float16") == ["dtype"]
    assert refusal(strip=6) == ["plan", "settings strip"]
    assert refusal(band=8) == ["plan", "settings band", "chunk"]
    assert refusal(fcn.optimize()) == ["model"]
    assert refusal(fcn.optimize(dtype=torch.float32)) == ["model", "settings numbers"]
    with torch.no_grad():
        model[-1].weight[0, 0] += 1e-9
    assert refusal() == ["model"]
    model[-1].weight.data[0, 0] -= 1e-9
    finer = fullconv.convert(model, 12, stride=1)
    assert refusal(finer) == ["stride", "model", "plan", "shape"]
    assert tree(target) == expected


def test_the_same_network_made_again_is_the_same(folder):
    _, fcn, channels = network("padded")
    pixels, target = noise(61, 47, channels), folder / "map"
    with pytest.raises(InputError):
        fullconv.scan(fcn, Stopping(pixels, 1), target)
    _, again, _ = network("padded")
    assert again is not fcn
    assert fullconv.scan(again, pixels, target).chunks == 1


def test_settings_of_a_layer_count(folder):
    """Two networks with the same weights are not the same."""
    pixels, target = noise(20, 20, 1), folder / "map"
    nets = [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.LeakyReLU(slope), nn.Flatten(), nn.Linear(8, 2))
        for slope in (0.1, 0.2)
    ]
    nets[1].load_state_dict(nets[0].state_dict())
    one, other = (fullconv.convert(net.double().eval(), 4) for net in nets)
    fullconv.scan(one, pixels, target)
    with pytest.raises(InputError, match="- model: "):
        fullconv.scan(other, pixels, target)


def test_a_file_that_changes_while_it_is_read(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels = noise(61, 47, channels)
    path = folder / "photo.png"
    PIL.Image.fromarray(pixels).save(path)

    def change(standing) -> None:
        if standing.chunks == 3:
            PIL.Image.fromarray(255 - pixels).save(path)

    with pytest.raises(InputError) as changed:
        fullconv.scan(fcn, path, folder / "map", progress=change, **SIZES)
    assert str(path) in str(changed.value)
    assert "changed" in str(changed.value)
    done = open_map(folder / "map", incomplete=True).done
    assert 3 <= len(done) <= 5
    with pytest.raises(InputError, match="- fingerprint: "):
        fullconv.scan(fcn, path, folder / "map", **SIZES)
    PIL.Image.fromarray(pixels).save(path)
    fullconv.scan(fcn, path, folder / "map", **SIZES)
    fullconv.scan(fcn, path, folder / "whole", **SIZES)
    assert tree(folder / "map") == tree(folder / "whole")


def test_a_disk_that_is_full_halfway(folder, strip_by_strip, monkeypatch):
    _, fcn, channels = network("unpadded")
    pixels, target = noise(61, 47, channels), folder / "map"
    write, full = MapWriter.write, FullconvError("cannot be written: no space left.", where="x")

    def failing(self, index, block, faults=()):
        if len(self.done) == 5:
            raise full
        write(self, index, block, faults)

    with monkeypatch.context() as patch, pytest.raises(IncompleteError) as stopped:
        patch.setattr(MapWriter, "write", failing)
        fullconv.scan(fcn, pixels, target, **SIZES)
    assert str(stopped.value) == str(full)
    assert fullconv.scan(fcn, pixels, target, **SIZES).before == 5


def test_memory_that_runs_out_is_told(folder, strip_by_strip, monkeypatch):
    _, fcn, channels = network("unpadded")

    def broken(*_) -> None:
        raise MemoryError

    monkeypatch.setattr("fullconv.scanning.work.run.check_finite", broken)
    with pytest.raises(FullconvError) as short:
        fullconv.scan(fcn, noise(61, 47, channels), folder / "map", **SIZES)
    assert str(short.value) == (
        "the array: the memory did not suffice for a strip of the image.\n"
        "Something else took what was free when the scan was planned. Free some memory: the same "
        "call goes on. Or begin another map with less (max_memory, --max-memory)."
    )


def holding(folder, taken, release) -> None:
    with locked(folder):
        taken.set()
        release.wait(60)


def test_two_processes_cannot_work_on_one_map(folder):
    _, fcn, channels = network("unpadded")
    pixels, target = noise(61, 47, channels), folder / "map"
    with pytest.raises(InputError):
        fullconv.scan(fcn, Stopping(pixels, 1), target)
    spawn = multiprocessing.get_context("spawn")
    taken, release = spawn.Event(), spawn.Event()
    process = spawn.Process(target=holding, args=(target, taken, release))
    process.start()
    try:
        assert taken.wait(60)
        with pytest.raises(FullconvError) as refused:
            fullconv.scan(fcn, pixels, target)
    finally:
        release.set()
        process.join()
    assert str(refused.value) == (
        f"{target}: another process works in this folder.\n"
        "Wait until it has ended, or name another folder."
    )
    assert fullconv.scan(fcn, pixels, target).computed == 1


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_target_that_is_something_else(kind, folder):
    _, fcn, channels = network("unpadded")
    target = folder / "map"
    if kind == "file":
        target.write_text("notes")
    else:
        target.mkdir()
        (target / "notes.txt").write_text("notes")
    before = tree(folder)
    with pytest.raises(InputError) as refused:
        fullconv.scan(fcn, noise(61, 47, channels), target)
    assert str(refused.value).startswith(f"{target}: ")
    assert tree(folder) == before


def test_progress_adds_up(folder, strip_by_strip):
    _, fcn, channels = network("unpadded")
    pixels, target, told = noise(61, 47, channels), folder / "map", []
    with pytest.raises(InputError):
        fullconv.scan(fcn, Stopping(pixels, 15), target, **SIZES)
    there = len(open_map(target, incomplete=True).done)
    done = fullconv.scan(fcn, pixels, target, progress=told.append, **SIZES)
    assert told[-1].px == told[-1].total == 61 * 47
    assert told[-1].share == 1
    assert told[-1].left == 0
    assert told[-1].chunks == done.chunks
    assert told[0].px > there / done.chunks * 61 * 47 * 0.8
    assert [one.px for one in told] == sorted(one.px for one in told)
    assert all(one.rate > 0 and one.memory > 2**20 for one in told)
    assert np.all(np.diff([one.seconds for one in told]) >= 0)
