"""The refusal of an op that nobody has described names the line that describes it."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fullconv
import fullconv.api.extend
from fullconv.errors import RefusedError
from fullconv.hosts.torch_fx.naming import spelled
from networks import Net

pytestmark = pytest.mark.usefixtures("tables")


def refusal(forward, **members):
    model = Net(lambda m, x: m.fc(forward(m, m.body(x)).flatten(1)), body=nn.Conv2d(3, 4, 3),
                fc=nn.Linear(64, 5), **members).double()  # fmt: skip
    with pytest.raises(RefusedError) as error:
        fullconv.plan(model, 6)
    return model, str(error.value)


@pytest.mark.parametrize(
    ("use", "line"),
    [
        (torch.special.erfcx, "elementwise(torch.special.erfcx)"),
        (torch.special.expit, "elementwise(torch.special.expit)"),
        (torch.asinh, "elementwise(torch.asinh)"),
        (lambda x: x.sinh(), 'elementwise("sinh")'),
        (nn.PixelShuffle(1), "elementwise(torch.nn.PixelShuffle)"),
        (lambda x: torch.fmod(x, 2.0), "elementwise(torch.fmod)"),
    ],
)
def test_the_line_as_it_stands_describes_the_op(use, line):
    members = {"use": use} if isinstance(use, nn.Module) else {}
    model, message = refusal(lambda m, x: m.use(x) if members else use(x), **members)
    assert message.endswith(
        "docs/extending.md shows how to add a rule:\n"
        f"    fullconv.api.extend.{line}  # if it works on each number by itself"
    )
    exec(message.splitlines()[-1].strip(), {"fullconv": fullconv, "torch": torch})
    assert fullconv.verify(model, fullconv.convert(model, 6)).ok


def test_all_lines_at_once():
    model, message = refusal(lambda m, x: torch.special.erfcx(x).sinh() + torch.asinh(x).sinh())
    lines = re.findall(r"fullconv\.api\.extend.*", message)
    assert [line.partition("  #")[0] for line in lines] == [
        "fullconv.api.extend.elementwise(torch.special.erfcx)",
        'fullconv.api.extend.elementwise("sinh")',
        "fullconv.api.extend.elementwise(torch.asinh)",
    ]
    for line in lines:
        exec(line, {"fullconv": fullconv, "torch": torch})
    assert fullconv.plan(model, 6).outputs == 5


@pytest.mark.parametrize(
    ("use", "what", "line"),
    [
        (
            lambda x: x.mean(1, keepdim=True, dtype=torch.float64) + x,
            "there is no rule for Tensor.mean with these arguments.",
            'function("mean", reader, replace=True)  # a reader that knows this use',
        ),
        (
            lambda x: F.batch_norm(x, None, None, training=True),
            "there is no rule for torch.nn.functional.batch_norm with these arguments.",
            "function(torch.nn.functional.batch_norm, reader, replace=True)  # a reader that knows",
        ),
    ],
)
def test_a_use_that_a_known_op_does_not_know(use, what, line):
    message = refusal(lambda m, x: use(x))[1]
    assert what in message
    assert f"    fullconv.api.extend.{line}" in message


class Compiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2


class Twice(nn.Module):
    def forward(self, x):
        return Compiled.apply(x)


class Choice(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


@pytest.mark.parametrize("kind", [Twice, Choice])
def test_a_module_that_cannot_be_recorded_can_be_described(kind):
    message = refusal(lambda m, x: m.inner[0](x), inner=nn.Sequential(kind()))[1]
    assert message.startswith("inner.0 (") or "in inner.0" in message.splitlines()[0]
    assert message.endswith(
        f"\n    fullconv.api.extend.elementwise({__name__}.{kind.__name__})"
        "  # if it works on each number by itself"
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (torch.roll, "torch.roll"),
        (torch.fft.fft, "torch.fft.fft"),
        (F.gelu, "torch.nn.functional.gelu"),
        (torch.special.erf, "torch.special.erf"),
        ("roll", '"roll"'),
        (nn.Fold, "torch.nn.Fold"),
        (torch.ops.aten.roll, "torch.ops.aten.roll"),
        (print, "print"),
        (Twice, f"{__name__}.Twice"),
    ],
)
def test_things_are_called_as_people_write_them(target, words):
    assert spelled(target) == words


def test_item_assignment_is_named_and_does_not_hide_what_else_there_is():
    def forward(m, x):
        x = x.clone()
        x[:, 0] = x[:, 1] @ x[:, 2]
        return x

    message = refusal(forward)[1]
    first, second = [line for line in message.splitlines() if line.startswith("- ")]
    assert first.startswith("- matmul in Net: matmul has no exact dense form.")
    assert second.startswith("- setitem in Net: there is no rule for operator.setitem.")
