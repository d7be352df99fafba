"""Every code block of the README and the docs runs as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import drawn_maps

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall(document.read_text()) if kind == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the photograph and the labelled images that the documents speak of."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 320, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "photo.png")
    for index, name in enumerate(("brick", "grass", "gravel")):
        (tmp_path / "labelled" / name).mkdir(parents=True)
        PIL.Image.fromarray(noise[32 * index :][:96, :80]).save(
            tmp_path / "labelled" / name / "1.png"
        )
    # A map of the photograph, as "fullconv scan" makes them.
    drawn = drawn_maps.noise(29, 37, classes=("brick", "grass", "gravel"), source="photo.png")
    drawn_maps.stored(tmp_path / "photo-map", drawn)
    # What docs/study.md trains: its own network, on bright and dark images.
    (code, *_) = blocks(ROOT / "docs" / "study.md", "python")
    (tmp_path / "net.py").write_text(code)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    torch.save(namespace["build"]().state_dict(), tmp_path / "net.pth")
    for part, count in (("train", 10), ("test", 5)):
        for label in (0, 1):
            (tmp_path / "images" / part / str(label)).mkdir(parents=True)
            for index in range(count):
                image = noise[index : index + 32, :32] // 2 + 120 * label
                PIL.Image.fromarray(image).save(
                    tmp_path / "images" / part / str(label) / f"{index}.png"
                )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run_one_after_the_other(document: Path, folder: Path, tables: None) -> None:
    from fullconv.models.torchvision_import import import_torchvision

    import_torchvision()
    torch.manual_seed(0)
    namespace: dict[str, object] = {}
    for code in blocks(document, "python"):
        exec(compile(code, str(document), "exec"), namespace)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_command_blocks_run_one_after_the_other(document: Path, folder: Path) -> None:
    for code in blocks(document, "bash"):
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            if words[0] == "make":  # what it runs is running right now
                command, where = ["make", "-n", *words[1:]], ROOT
            else:
                assert words[0] == "fullconv", f"{document.name} runs {words[0]!r}"
                command, where = [sys.executable, "-m", *words], folder
            done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_pictures_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_shows_the_plan_that_is_printed() -> None:
    """The table in the README is an excerpt of the real one."""
    done = subprocess.run(
        [sys.executable, "-m", "fullconv", "plan", "torchvision:vgg16"],
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=True,
    )
    printed = " ".join(done.stdout.split())
    (shown,) = [code for code in blocks(ROOT / "README.md", "") if "classifier.0" in code]
    for line in shown.splitlines():
        node, was, becomes = re.split(r" {2,}", line)[:3]
        assert re.sub(r"\s+", " ", f"{node} {was} {becomes}") in printed


def test_the_page_on_audits_names_every_section() -> None:
    from fullconv.auditing.questions import SECTIONS

    text = (ROOT / "docs" / "audit.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z].*?\?) \|", text, re.MULTILINE)
    assert rows == [(question.key, question.title) for question in SECTIONS]


def test_the_plan_of_an_all_convolutional_network_is_the_one_that_is_printed() -> None:
    """Line by line, but for what is left out."""
    done = subprocess.run(
        [sys.executable, "-m", "fullconv", "allconv", "torchvision:vgg16:random", "--plan"],
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=True,
    )
    (shown,) = blocks(ROOT / "docs" / "all-convolutional.md", "")
    assert set(shown.splitlines()) <= {*done.stdout.splitlines(), "…"}
    assert "parameters           138,357,544 → 17,670,376" in shown
