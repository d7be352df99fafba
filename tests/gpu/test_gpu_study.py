"""On a GPU studies are trained, tested and timed as on the CPU."""

import pytest
import torch

from fullconv.study import study
from fullconv.training import Parts, Recipe
from learnable import network, samples

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_study_on_a_gpu(tmp_path, jobs):
    data = Parts(samples(), samples(60, seed=1))
    found = study(network().cuda(), data, 16, folder=tmp_path / "s", seeds=1, jobs=jobs,
                  recipe=Recipe(epochs=8, batch=20))  # fmt: skip
    assert {run.device for row in found.rows for run in row.runs} == {"cuda"}
    assert found.row("fc").mean < 30  # chance: 66.7
    assert found.row("exact").gap < 1e-10
    assert found.row("allconv").step.backward > 0
