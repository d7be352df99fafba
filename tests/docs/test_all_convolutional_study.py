"""The study of all-convolutional variants: its page says what its figures say, no more."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from studies import all_convolutional_page as page
from studies import pages, springenberg

DOCS = Path(__file__).parents[2] / "docs"
FACTS = json.loads((DOCS / "studies" / "all_convolutional.json").read_text(encoding="utf-8"))


def test_the_page_is_made_of_the_figures_beside_it():
    text = (DOCS / "all-convolutional-study.md").read_text(encoding="utf-8")
    assert f"{pages.begin(page.MADE_BY)}\n\n{page.body(FACTS)}\n{pages.END}" in text


def test_every_seed_of_every_variant_is_there():
    for found in FACTS["families"].values():
        for row in found["rows"]:
            errors = [run["error"] for run in row["runs"]]
            assert len(errors) == 5
            assert row["error"] == pytest.approx(np.mean(errors), abs=1e-12)
            assert row["deviation"] == pytest.approx(np.std(errors, ddof=1), abs=1e-12)
            line = ", ".join(f"{error:.2f}" for error in errors)
            assert line in page.body(FACTS)


def test_differences_are_those_of_the_seeds():
    from scipy import stats

    for found in FACTS["families"].values():
        base = [run["error"] for run in found["rows"][0]["runs"]]
        for row in found["rows"][1:]:
            own = [run["error"] for run in row["runs"]]
            reference = stats.ttest_rel(own, base)
            assert row["difference"]["p"] == pytest.approx(reference.pvalue)


@pytest.mark.parametrize("family", springenberg.KERNELS)
def test_networks_have_the_layers_of_the_paper(family):
    model = springenberg.network(family, width=4).eval()
    convs = [m for m in model if isinstance(m, torch.nn.Conv2d)]
    kernels = [m.kernel_size[0] for m in convs]
    each = {"A": [5], "B": [5, 1], "C": [3, 3]}[family]
    assert kernels == [*each, *each, 3, 1]
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
        assert model[:-5](torch.zeros(2, 3, 32, 32)).shape == (2, 8, 6, 6)


def test_no_more_is_said_than_the_intervals_allow():
    facts = copy.deepcopy(FACTS)
    for found in facts["families"].values():
        row = next(row for row in found["rows"] if row["variant"] == "gap")
        row["difference"].update(value=-0.5, low=-1.0, high=0.1)
    assert (
        "shows no difference beyond chance in A (-0.50), B (-0.50) and C (-0.50)"
        in (page.conclusion(facts)[0])
    )
    row["difference"].update(high=-0.1)
    assert "It errs less than fc in C (-0.50); shows" in page.conclusion(facts)[0]
