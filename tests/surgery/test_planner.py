"""The walk over a blueprint: refusals gathered, constants left alone, body and head told apart."""

import importlib
import pkgutil

import pytest

import fullconv.surgery.rules
from blueprints import BATCH, blueprint, edits, plan, square
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
from fullconv.errors import RefusedError, UsageError
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
        (Reduce("average", (1,)), (8, 8), ["n0"]),
        (Reshape("view"), (24, 8, 1), ["n0"]),
        (Reduce("max", (0,)), (3, 8, 8), ["n0"]),
        (Unknown("torch.roll"), (3, 8, 8), ["n0"]),
        (*MEAN, ["n0"]),
    )
    with pytest.raises(RefusedError) as refusal:
        plan((8, 8), *steps)
    assert [line[:60] for line in str(refusal.value).splitlines() if line[0] in "0123456789-"] == [
        "3 places cannot be converted:",
        "- n1: takes the average over the channels of a 3×8×8 map.",
        "- n3: reduces the batch.",
        "- n4: there is no rule for torch.roll.",
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


# --- stride ---


def test_the_native_stride_may_be_asked_for():
    network = blueprint((8, 8), (Pool("max", square(2, 2)), (3, 4, 4)), MEAN)
    assert make_plan(network, stride=2) == make_plan(network, stride=(2, 2)) == make_plan(network)


def test_other_strides_are_refused_with_the_native_one():
    network = blueprint((8, 8), (Pool("max", square(2, 2)), (3, 4, 4)), MEAN)
    with pytest.raises(UsageError) as refusal:
        make_plan(network, stride=3)
    assert str(refusal.value) == (
        "stride=3×3 px: this network's maps have its native stride, 2×2 px.\nPass stride=2, or none."
    )
    with pytest.raises(UsageError, match=r"stride=\(2, 2, 2\) names 3 axes"):
        make_plan(network, stride=(2, 2, 2))


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
    """Each file of rules has a test file that names the file's ops."""
    ops: set[type] = set()
    for module in pkgutil.iter_modules(fullconv.surgery.rules.__path__):
        table = getattr(
            importlib.import_module(f"fullconv.surgery.rules.{module.name}"), "RULES", None
        )
        if table is None:
            continue
        text = _test_of(module.name)
        for op in table:
            assert f"{op.__name__}(" in text or op is Output, f"{op.__name__} has no test"
        ops |= set(table)
    assert ops == set(RULES)


def _test_of(family: str) -> str:
    from pathlib import Path

    return (Path(__file__).parent / "rules" / f"test_rule_{family}.py").read_text("utf-8")


def test_ops_without_a_rule_are_those_the_walk_knows_itself():
    from fullconv.blueprint import Op

    names = {kind.__name__ for kind in Op.__subclasses__()}
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
