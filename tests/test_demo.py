"""The demo, once, from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest

pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")

from fullconv import demo


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> demo.Report:
    return demo.run(tmp_path_factory.mktemp("demo") / "new" / "folder", say=told.append)


def test_the_map_is_the_classifiers(report: demo.Report) -> None:
    assert report.certificate.ok
    assert report.certificate.exact
    assert report.image == (1024, 1024)
    assert report.cells == (121, 121)
    assert report.difference < 1e-5  # float32


def test_the_map_is_right_about_the_mosaic(report: demo.Report) -> None:
    assert report.inside >= 0.99
    assert report.inside_cells > 9000
    assert 0.8 <= report.accuracy < report.inside


def test_the_speed_up_is_measured_and_has_a_ceiling(report: demo.Report) -> None:
    assert report.speedup == report.sliding_seconds / report.fcn_seconds
    # 14,641 crops of 6,535,936 MACs against one pass over 1024×1024 px, counted by hand.
    crops = 14641 * (60**2 * 25 * 16 + 28**2 * 9 * 16 * 32 + 12**2 * 9 * 32 * 32
                     + 1152 * 128 + 128 * 64 + 64 * 8)  # fmt: skip
    dense = (1020**2 * 25 * 16 + 508**2 * 9 * 16 * 32 + 252**2 * 9 * 32 * 32
             + 121**2 * (1152 * 128 + 128 * 64 + 64 * 8))  # fmt: skip
    assert report.ceiling == pytest.approx(crops / dense, rel=1e-12)


def test_the_pictures_are_there(report: demo.Report) -> None:
    sizes = [PIL.Image.open(path).size for path in report.written]
    assert [Path(path).name for path in report.written] == [
        "mosaic.png",
        "classes.png",
        "grass.png",
    ]
    assert sizes[0] == (1024, 1024)
    assert all(width >= 1024 and height >= 1024 for width, height in sizes)


def test_it_says_what_it_does_and_prints_what_it_found(
    report: demo.Report, told: list[str]
) -> None:
    assert [line.split("]")[0] for line in told if line.startswith("[")] == [
        f"[{step}/5" for step in range(1, 6)
    ]
    text = str(report)
    for word in ("Conv 6×6", "proven", "121×121", "times faster", "ceiling", "accuracy"):
        assert word in text
    assert json.loads(json.dumps(report.to_dict()))["cells"] == [121, 121]
