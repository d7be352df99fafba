"""Small networks that are audited, and what the sections of all of them must hold."""

import json
import re

import torch
import torch.nn.functional as F
from torch import nn

from fullconv.auditing.section import Section
from networks import LeNet, Net


def small(dims: int = 2) -> nn.Module:
    """Window 8, stride 4, zero-padded, with a max and an average pool: a class for anybody."""
    conv = getattr(nn, f"Conv{dims}d")
    return nn.Sequential(
        conv(3, 6, 3, padding=1), nn.ReLU(), getattr(nn, f"MaxPool{dims}d")(2),
        conv(6, 8, 3, padding=1), nn.ReLU(), getattr(nn, f"AvgPool{dims}d")(2),
        nn.Flatten(), nn.Linear(8 * 2**dims, 5),
    ).eval()  # fmt: skip


def excited() -> nn.Module:
    """Window 8, stride 2; a squeeze-excite in the middle looks at the whole map."""
    return Net(
        lambda m, x: m.fc(
            (lambda y: y * torch.sigmoid(m.squeeze(y.mean((2, 3), keepdim=True))))(
                F.relu(m.conv(x))
            ).flatten(1)
        ),
        conv=nn.Conv2d(3, 4, 3, stride=2, padding=1),
        squeeze=nn.Conv2d(4, 4, 1),
        fc=nn.Linear(64, 5),
    ).eval()


def strided(*strides: int) -> nn.Module:
    """Unpadded convolutions whose kernels are their strides: they cut the window into tiles."""
    layers, side = [], 1
    for stride in strides:
        layers += [nn.Conv2d(2 if layers else 3, 2, stride, stride=stride), nn.ReLU()]
        side *= stride
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 4)).eval()  # window: twice the side


def lenet() -> nn.Module:
    return LeNet().eval()


def quiet(text: str) -> None:
    assert text


def check_section(section: Section) -> None:
    """What every section promises: JSON, sentences, tables as wide as their headers."""
    assert json.loads(json.dumps(section.facts, allow_nan=False)) is not None
    for sentence in (*section.verdict, *section.text, *section.skipped, *section.how):
        assert sentence[0].isupper() or sentence[0].isdigit(), sentence
        assert sentence.endswith((".", ")")), sentence
        assert "  " not in sentence
        assert "None" not in sentence
        assert "nan" not in sentence
        plural = re.search(r"\b1 (images|cells|pools|rounds|threads|sizes|parameters)\b", sentence)
        assert plural is None, sentence
    for table in section.tables:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.header)}
    for chart in section.charts:
        assert chart.alt
        for series in chart.series:
            assert len(series.x) == len(series.y) > 0
            if chart.bars:
                assert max(series.x) < len(chart.ticks)


def column(section: Section, table: int, name: str) -> list[str]:
    """The cells of one column of a section's table."""
    found = section.tables[table]
    return [row[found.header.index(name)] for row in found.rows]
