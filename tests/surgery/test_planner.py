"""The walk over a blueprint: refusals gathered, constants left alone, body and head told apart."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import fullconv.surgery.rules
from blueprints import BATCH, blueprint, edits, own_kinds, plan, square
from fullconv.blueprint import (
    AdaptivePool,
    Blueprint,
    Combine,
    Constant,
    Convolution,
    Elementwise,
    Input,
    Linear,
    Node,
    Output,
    Permute,
    Pool,
    Reduce,
    Refused,
    Reshape,
    Unknown,
)
from fullconv.errors import RefusedError
from fullconv.surgery.edits import Edit
from fullconv.surgery.planner import make_plan
from fullconv.surgery.rules import RULES, merge

MEAN = (Reduce("average", (2, 3)), (3,))


ROLL = 'fullconv.api.extend.elementwise("roll")  # if it works on each number by itself'

# --- refusals ---


def test_every_unknown_op_is_named_at_once():
    steps = (
        (Unknown("torch.fft"), (3, 8, 8)),
        (Elementwise("relu"), (3, 8, 8)),
        (Unknown("torch.roll", ROLL), (3, 8, 8)),
        (Unknown("torch.fft"), (3, 8, 8)),
        (Refused("Attention", "It mixes all positions."), (3, 8, 8)),
        MEAN,
    )
    with pytest.raises(RefusedError) as refusal:
        plan((8, 8), *steps)
    assert str(refusal.value) == (
        "3 places cannot be converted:\n"
        "- n5: Attention has no exact dense form.\n"
        "It mixes all positions. fullconv converts convolutional classifiers.\n"
        "- n1 and 1 more: there is no rule for torch.fft.\n"
        "An op is never guessed to be harmless. docs/extending.md shows how to add a rule.\n"
        "- n3: there is no rule for torch.roll.\n"
        "An op is never guessed to be harmless. docs/extending.md shows how to add a rule:\n"
        '    fullconv.api.extend.elementwise("roll")  # if it works on each number by itself'
    )


def test_refusals_of_rules_are_gathered_too():
    """Two branches, each with an op of its own to refuse, and an unknown op after both."""
    steps = (
        (Reduce("average", (1, 2)), (8,), ["n0"]),
        (Reshape("view"), (24, 8, 1), ["n0"]),
        (Reduce("max", (0,)), (3, 8, 8), ["n0"]),
        (Unknown("torch.roll"), (3, 8, 8), ["n0"]),
        (*MEAN, ["n0"]),
    )
    with pytest.raises(RefusedError) as refusal:
        plan((8, 8), *steps)
    assert [line[:60] for line in str(refusal.value).splitlines() if line[0] in "0123456789-"] == [
        "3 places cannot be converted:",
        "- n4: there is no rule for torch.roll.",
        "- n1: takes the average over channels and space of a 3×8×8 m",
        "- n3: reduces the batch.",
    ]


def test_one_refusal_is_itself():
    with pytest.raises(RefusedError) as refusal:
        plan((8, 8), (Unknown("torch.roll"), (3, 8, 8)), MEAN)
    assert refusal.value.where == "n1"
    assert refusal.value.what == "there is no rule for torch.roll."
    assert refusal.value.exit_code == 4


def test_a_rule_that_says_another_shape_than_the_classifier_is_a_mistake():
    with pytest.raises(AssertionError, match=r"n1: the rule for Convolution says \(2, 4, 6, 6\), "):
        plan((8, 8), (Convolution(4, square(3)), (4, 7, 7)), MEAN)


# --- constants ---


def test_what_is_computed_from_constants_alone_needs_no_rule():
    steps = (
        (Constant(), (3, 1, 1)),
        (Constant(), (3, 1, 1)),
        (Unknown("torch.linalg.qr"), (3, 1, 1), ["n1"]),
        (Combine("mul"), (3, 8, 8), ["n0", "n1"]),
        MEAN,
    )
    nodes = list(blueprint((8, 8), *steps).nodes)
    nodes[3] = Node("n3", steps[2][0], ("n1",), (3, 1, 1), "n3")
    made = make_plan(Blueprint(tuple(nodes), (8, 8), 3, BATCH))
    assert list(made.edits) == ["n5"]


# --- body and head ---


def cuts(*steps, window=(8, 8)) -> list[str]:
    return [cut.node for cut in plan(window, *steps).cuts]


def test_the_body_ends_where_windows_begin():
    conv = (Convolution(4, square(3)), (4, 6, 6))
    relu = (Elementwise("relu"), (4, 6, 6))
    flat = (Reshape("flatten"), (144,))
    assert cuts(conv, relu, flat, (Linear(144, 2), (2,))) == ["n2"]
    assert cuts(
        conv, (AdaptivePool("average", (6, 6)), (4, 6, 6)), flat, (Linear(144, 2), (2,))
    ) == ["n1"]
    assert cuts(conv, relu, (Convolution(2, square(6)), (2, 1, 1))) == ["n2"]
    assert cuts(flat[:1] + ((192,),), (Linear(192, 2), (2,))) == ["n0"]


def test_what_is_reordered_belongs_to_the_head():
    conv = (Convolution(4, square(3)), (4, 6, 6))
    last = (Permute((0, 2, 3, 1)), (6, 6, 4))
    steps = (conv, last, (Elementwise("relu"), (6, 6, 4)), (Reshape("flatten"), (144,)))
    assert cuts(*steps, (Linear(144, 2), (2,))) == ["n1"]
    shrunk = (
        (Pool("max", square(3, 2)), (3, 1, 1)),
        (Reshape("flatten"), (3,)),
        (Linear(3, 2), (2,)),
    )
    assert cuts(*shrunk, window=(3, 3)) == ["n1"]


def test_a_head_may_read_several_maps():
    steps = (
        (Convolution(4, square(3)), (4, 6, 6), ["n0"]),
        (Pool("max", square(2, 1)), (4, 5, 5)),
        (Reduce("average", (2, 3)), (4,), ["n1"]),
        (Reduce("average", (2, 3)), (4,), ["n2"]),
        (Combine("add"), (4,), ["n3", "n4"]),
    )
    assert cuts(*steps) == ["n1", "n2"]


# --- completeness ---


def test_every_op_with_a_rule_stands_in_one_file_with_its_tests():
    """Each file of rules has a test file; it names the ops whose rules stand there."""
    ops: set[type] = set()
    for module in pkgutil.iter_modules(fullconv.surgery.rules.__path__):
        if module.name == "rule":
            continue  # what rules get and return
        text = _test_of(module.name)
        table = getattr(
            importlib.import_module(f"fullconv.surgery.rules.{module.name}"), "RULES", {}
        )
        for op in table:
            assert f"{op.__name__}(" in text or op is Output, f"{op.__name__} has no test"
        ops |= set(table)
    assert ops == set(RULES)


def test_every_edit_is_wanted_by_a_test_of_the_walk_or_its_rules():
    folder = Path(__file__).parent
    walk = [folder / "test_phases.py", *folder.glob("test_planner_*.py")]
    tests = [*(folder / "rules").glob("test_rule_*.py"), *walk]
    text = "".join(path.read_text("utf-8") for path in tests)
    # Two edits share their name with an op, and are imported under another one.
    other = {"Enlarge": "Repeat", "SpaceToDepth": "Blocks"}
    names = [kind.__name__ for kind in own_kinds(Edit)]
    assert [name for name in names if f"{other.get(name, name)}(" not in text] == []


def _test_of(family: str) -> str:
    folder = Path(__file__).parent / "rules"
    return (folder / f"test_rule_{family}.py").read_text("utf-8")


def test_ops_without_a_rule_are_those_the_walk_knows_itself():
    from fullconv.blueprint import Op

    names = {kind.__name__ for kind in own_kinds(Op)}
    assert names - {op.__name__ for op in RULES} == {
        kind.__name__ for kind in (Input, Constant, Unknown, Refused)
    }


def test_an_op_in_two_tables_is_a_mistake():
    with pytest.raises(ValueError, match="two rules for Reshape"):
        merge({Reshape: RULES[Reshape]}, {Reshape: RULES[Reshape]})


def test_edits_come_in_the_order_of_computation():
    steps = (
        (Reshape("flatten"), (192,)),
        (Linear(192, 7), (7,)),
        (Elementwise("relu"), (7,)),
        (Linear(7, 4), (4,)),
    )
    assert list(edits((8, 8), *steps)) == ["n1", "n2", "n4"]
