"""What `extend` takes and refuses, and how it is undone."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from fullconv.api import extend
from fullconv.blueprint import Elementwise, Input, Op
from fullconv.errors import UsageError
from fullconv.surgery.edits import Bypass, Edit, Phases
from fullconv.surgery.rules import Outcome

pytestmark = pytest.mark.usefixtures("tables")


class Gate(nn.Module):
    pass


@dataclass(frozen=True)
class Odd(Op):
    pass


@dataclass(frozen=True)
class Evened(Edit):
    pass


class Thawed(Op):
    pass


def reader(*args):
    return None


def rule(op, node, inputs, setting):
    return Outcome(inputs[0])


ADD = {
    "function": lambda **k: extend.function(torch.special.erfcx, reader, **k),
    "method": lambda **k: extend.function("erfinv", reader, **k),
    "module": lambda **k: extend.module(Gate, reader, **k),
    "elementwise": lambda **k: extend.elementwise(torch.special.erfcx, "erfinv", Gate, **k),
    "rule": lambda **k: extend.rule(Odd, rule, looks_around=True, **k),
    "edit": lambda **k: extend.edit(Evened, lambda *args: None, **k),
}
TABLES = (
    extend.FUNCTIONS, extend.MODULES, extend.RULES, extend.LOOKS_AROUND, extend.WRITERS,
    extend.TYPES,
)  # fmt: skip


def entries():
    return [dict(table) for table in TABLES]


@pytest.mark.parametrize("add", ADD.values(), ids=ADD)
def test_what_is_added_is_there_until_it_is_undone(add):
    before = entries()
    added = add()
    assert entries() != before
    added.undo()
    assert entries() == before
    added.undo()  # nothing is left to undo
    with pytest.raises(ZeroDivisionError), add():
        assert entries() != before
        raise ZeroDivisionError
    assert entries() == before


@pytest.mark.parametrize("add", ADD.values(), ids=ADD)
def test_what_is_known_is_replaced_only_on_demand(add):
    first = add()
    once = entries()
    with pytest.raises(UsageError, match=r"^fullconv knows .* already\.\nPass replace=True"):
        add()
    assert entries() == once
    second = add(replace=True)
    with pytest.raises(UsageError, match=r"was replaced since\.\nUndo what was added last first\."):
        first.undo()
    second.undo()
    assert entries() == once
    first.undo()


def test_all_that_is_known_is_named_and_nothing_is_added():
    before = entries()
    with pytest.raises(UsageError) as known:
        extend.elementwise(torch.special.erfcx, torch.relu, "tanh", nn.ReLU)
    assert str(known.value) == (
        "fullconv knows torch.relu, Tensor.tanh, torch.nn.ReLU already.\n"
        "Pass replace=True to replace it."
    )
    assert entries() == before


def test_a_tensor_method_is_added_under_its_name():
    with extend.elementwise(torch.Tensor.erfinv):
        assert "erfinv" in extend.FUNCTIONS
        assert torch.Tensor.erfinv not in extend.FUNCTIONS


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda: extend.elementwise(), "name at least one function, tensor method or module."),
        (lambda: extend.elementwise("erfnv"), "torch.Tensor has no method 'erfnv'."),
        (lambda: extend.elementwise(3), "3 is neither a function nor the name of a tensor method."),
        (lambda: extend.elementwise(int), "<class 'int'> is neither a function nor the name of"),
        (
            lambda: extend.elementwise(Gate()),
            "Gate() is a module, not a function.\nPass the type of a module to extend.module or",
        ),
        (lambda: extend.function(Gate, reader), f"{Gate!r} is a module, not a function."),
        (lambda: extend.function("erfinv", 3), "the reader must be a function, got 3."),
        (
            lambda: extend.module(Gate(), reader),
            "Gate() is no subclass of torch.nn.Module.\nPass its type, Gate.",
        ),
        (lambda: extend.module(int, reader), "<class 'int'> is no subclass of torch.nn.Module."),
        (lambda: extend.module(Gate, Odd), f"the reader must be a function, got {Odd!r}."),
        (
            lambda: extend.rule(Thawed, rule),
            "Thawed must be a frozen dataclass derived from fullconv.blueprint.Op.\nWrite "
            "@dataclass(frozen=True) over class Thawed(Op).",
        ),
        (lambda: extend.rule(Evened, rule), "Evened must be a frozen dataclass derived from full"),
        (lambda: extend.rule(Op, rule), "Op must be a frozen dataclass derived from"),
        (lambda: extend.rule(Odd(), rule), "Odd() must be a frozen dataclass derived from"),
        (lambda: extend.rule(Odd, None), "the rule must be a function, got None."),
        (lambda: extend.rule(Input, rule), "Input is never asked for a rule."),
        (lambda: extend.rule(Elementwise, rule), "fullconv knows Elementwise already."),
        (lambda: extend.edit(Odd, reader), "Odd must be a frozen dataclass derived from fullconv."),
        (lambda: extend.edit(Evened, "w"), "the writer must be a function, got 'w'."),
        (lambda: extend.edit(Phases, reader, replace=True), "a plan calls something else Phases"),
        (lambda: extend.edit(Bypass, reader), "fullconv knows Bypass already."),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(add, message):
    before = entries()
    with pytest.raises(UsageError) as error:
        add()
    assert str(error.value).startswith(message)
    assert entries() == before


def test_an_edit_does_not_take_a_name_that_plans_use():
    taken = dataclass(frozen=True)(type("Bypass", (Edit,), {}))
    for replace in (False, True):
        with pytest.raises(UsageError, match="a plan calls something else Bypass already"):
            extend.edit(taken, reader, replace=replace)
    again = dataclass(frozen=True)(type("Evened", (Edit,), {}))  # a notebook's cell, run again
    extend.edit(Evened, reader)
    with pytest.raises(UsageError, match="a plan calls something else Evened already"):
        extend.edit(again, reader)
    extend.edit(again, reader, replace=True)


def test_files_may_name_the_same_whether_or_not_something_was_added_first():
    program = (
        "import torch; from fullconv.api import extend; extend.elementwise(torch.erfinv, 'erfinv')"
        "\nfrom fullconv.hosts.torch_fx.saved import listed"
        "\nassert 'torch.relu' in listed.FUNCTION_BY_NAME and 'relu' in listed.METHODS"
        "\nassert 'torch.erfinv' not in listed.FUNCTION_BY_NAME and 'erfinv' not in listed.METHODS"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
