"""The page and the picture of a study."""

import json
import sys

import PIL.Image
import pytest
from test_sentences import BASE, FC, row

from fullconv.errors import MissingExtraError
from fullconv.study.plot import draw
from fullconv.study.value import Study
from fullconv.study.write import write_report

RECIPE = {"epochs": 2, "batch": 8, "rate": 0.1, "momentum": 0.9, "decay": 0.0, "clip": None,
          "dtype": "float32", "flip": True, "shift": 2}  # fmt: skip


@pytest.fixture
def found() -> Study:
    gap = row("gap", [11.0, 11.5, None, 11.2, 12.0], FC)
    none = row("allconv", [None] * 5, FC)
    return Study(
        {"model": "net.py:net", "recipe": RECIPE}, (FC, gap, none), (100, 50),
        remarks=("a remark",), unread=("x.png: is cut short.",),
    )  # fmt: skip


def test_the_page_holds_every_figure_and_how_it_was_done(found, tmp_path):
    pytest.importorskip("matplotlib")
    written = write_report(found, tmp_path)
    assert [path.name for path in written] == [
        "report.md", "report.json", "errors.png", "errors.svg"
    ]  # fmt: skip
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# Study of net.py:net\n")
    assert f"| fc | {' | '.join(f'{error:.2f}' for error in BASE)} |" in page
    assert "| gap | 11.00 | 11.50 | failed | 11.20 | 12.00 |" in page
    assert "![Top-1 error of every variant: each seed, mean and deviation](errors.png)" in page
    for said in ("gradients not clipped", "mirrored at random and shifted by up to 2 px",
                 "a remark", "- x.png: is cut short.", "2 epochs, batches of 8"):  # fmt: skip
        assert said in page
    assert json.loads((tmp_path / "report.json").read_text())["rows"][1]["errors"]["4"] == 12.0
    with PIL.Image.open(tmp_path / "errors.png") as picture:
        assert picture.size[0] > 500
    drawn = (tmp_path / "errors.svg").read_bytes()
    draw(found, tmp_path / "errors.svg")
    assert (tmp_path / "errors.svg").read_bytes() == drawn


def test_without_matplotlib_the_error_names_the_install_line(found, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as error:
        write_report(found, tmp_path)
    assert str(error.value) == (
        "The picture of a study needs matplotlib, which is not installed.\n"
        "Install it with: pip install 'fullconv[plot]'"
    )
    written = write_report(found, tmp_path, plot=False)
    assert [path.name for path in written] == ["report.md", "report.json"]
    assert "![" not in (tmp_path / "report.md").read_text()
