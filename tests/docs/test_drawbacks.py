"""The page on drawbacks says what audits and the study have measured."""

import json
from pathlib import Path

import pytest

from studies import drawbacks_page as page
from studies import pages

DOCS = Path(__file__).parents[2] / "docs"
AUDITS = json.loads((DOCS / "studies" / "drawbacks.json").read_text(encoding="utf-8"))
STUDY = json.loads((DOCS / "studies" / "all_convolutional.json").read_text(encoding="utf-8"))


def test_the_page_is_made_of_the_figures_beside_it():
    text = (DOCS / "drawbacks.md").read_text(encoding="utf-8")
    assert f"{pages.begin(page.MADE_BY)}\n\n{page.body(AUDITS, STUDY)}\n{pages.END}" in text


@pytest.mark.parametrize(
    ("name", "parameters", "head", "px", "macs"),
    [
        ("vgg16", 138_357_544, 123_642_856, 224, 15_470_264_320),
        ("alexnet", 61_100_840, 58_631_144, 224, 714_188_480),
        ("resnet50", 25_557_032, 2_049_000, 224, 4_089_184_256),
    ],
)
def test_figures_are_those_that_are_known(name, parameters, head, px, macs):
    """Parameters and MACs of the networks as their layers give them."""
    facts = {key: part["facts"] for key, part in AUDITS[name]["sections"].items()}
    known = {variant["key"]: variant for variant in facts["parameters"]["variants"]}
    assert (known["classifier"]["parameters"], known["classifier"]["head"]) == (parameters, head)
    assert known["exact"]["parameters"] == parameters
    first = facts["growth"]["rows"][0]
    assert first["size"] == [px, px]
    assert first["macs"] == pytest.approx(macs, rel=1e-3)


def test_every_audit_took_less_than_three_minutes():
    assert all(audit["run"]["seconds"] < 180 for audit in AUDITS.values())
