"""The study of all-convolutional variants: its page says what its figures say, no more."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from studies import all_convolutional_page as page
from studies import all_convolutional_words as words
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


def test_pools_are_compared_with_the_network_that_has_their_head():
    from scipy import stats

    found = words.comparisons(FACTS["families"])
    raw = []
    for variant, other in (
        ("gap", "fc"),
        ("strided", "gap"),
        ("convpool", "gap"),
        ("allconv", "gap"),
    ):
        for family, one in zip(FACTS["families"], found[variant], strict=True):
            rows = {row["variant"]: row for row in FACTS["families"][family]["rows"]}
            own, base = ([run["error"] for run in rows[name]["runs"]] for name in (variant, other))
            assert one.found.value == pytest.approx(np.mean(own) - np.mean(base))
            raw.append((stats.ttest_rel(own, base).pvalue, one))
    raw.sort(key=lambda pair: pair[0])
    most = 0.0  # Holm by hand: over all twelve
    for place, (p, one) in enumerate(raw):
        most = max(most, min(1.0, (12 - place) * p))
        assert one.p == pytest.approx(most)


def test_no_more_is_said_than_the_tests_allow():
    facts = copy.deepcopy(FACTS)
    for found in facts["families"].values():
        rows = {row["variant"]: row for row in found["rows"]}
        for run, base, shift in zip(
            rows["gap"]["runs"], rows["fc"]["runs"], (1, -1, 2, -2, 0.1), strict=True
        ):
            run["error"] = base["error"] + shift
    said = words.conclusion(facts)["gap"]
    assert "it cannot be told from it in A (+0.02 [" in said
    for run, base in zip(rows["gap"]["runs"], rows["fc"]["runs"], strict=True):
        run["error"] = base["error"] - 5 - 0.001 * run["seed"]
    said = words.conclusion(facts)["gap"]
    assert "it errs less in C (-5.00 [" in said
    assert "cannot be told from it in A (+0.02 [" in said


def test_the_drop_is_held_against_a_pooled_deviation():
    facts = copy.deepcopy(FACTS)
    for found in facts["families"].values():
        for row in found["rows"]:
            row["deviation"] = 0.5 if row["variant"] in ("fc", "exact") else 9.0
            row["error"] = 20.0 if row["variant"] == "fc" else 20.4
    assert (
        "within one standard deviation (0.50 points) in every family"
        in (words.conclusion(facts)["gap"])
    )
    found["rows"][2]["error"] = 21.0
    assert "beyond one standard deviation (0.50) in C; in A and B" in words.conclusion(facts)["gap"]
