"""From the blueprint of a classifier to the plan of its all-convolutional network."""

from __future__ import annotations

from collections.abc import Callable

from fullconv.allconv.heads import average_head, exact_head, head_of
from fullconv.allconv.plan import AllConvPlan
from fullconv.allconv.pools import Around, is_pool, steps_of_pool
from fullconv.allconv.surroundings import behind, never_negative
from fullconv.allconv.words import HEADS, POOLS
from fullconv.blueprint import Blueprint
from fullconv.errors import RefusedError, UsageError
from fullconv.surgery.plan import Plan


def check_words(pools: str, head: str) -> None:
    """Raise UsageError for words that are not known."""
    for name, value, known in (("pools", pools, POOLS), ("head", head, HEADS)):
        if value not in known:
            raise UsageError(f"{name}={value!r} must be one of {', '.join(map(repr, known))}.")


def make_plan(
    blueprint: Blueprint,
    plan: Plan,
    *,
    pools: str,
    head: str,
    fitted: bool,
    parameters: int,
    used: Callable[[list[str]], int],
    steps_can_change: Callable[[str], bool],
) -> AllConvPlan:
    """The changes of a network that was read and planned.

    Args:
        blueprint, plan: of the classifier; the plan is that of `fullconv.plan`.
        pools, head: what is to become of them: see `POOLS` and `HEADS`.
        fitted: whether there are images to which what cannot begin exactly is fitted.
        parameters: of the classifier.
        used: how many parameters the nodes of these names are computed with.
        steps_can_change: whether the convolution of a node is PyTorch's own.

    Raises UsageError for unknown words, RefusedError for a network with several answers, or whose
    head cannot be replaced so.
    """
    check_words(pools, head)
    if len(plan.answers) > 1:
        names = ", ".join(answer.name for answer in plan.answers)
        raise RefusedError(
            f"the network gives {len(plan.answers)} answers: {names}.",
            why="An all-convolutional network gives one score vector.",
            hint="Wrap it in an nn.Module whose forward returns the answer to keep.",
        )
    cuts = [cut.node for cut in plan.cuts]
    rear = behind(blueprint, cuts)
    around = Around(blueprint, blueprint.consumers(), never_negative(blueprint), steps_can_change)
    spared = rear | {context.node for context in plan.contexts}
    steps = [
        step
        for node in blueprint.nodes
        if is_pool(node) and node.name not in spared
        for step in steps_of_pool(around, node, pools, fitted=fitted)
    ]
    last = head_of(blueprint, rear)
    all_used = used([blueprint.output.name])
    in_head = all_used - used(cuts)
    if head == "exact":
        steps += exact_head(blueprint, plan, last)
    else:
        steps += average_head(blueprint, plan, last, in_head, fitted=fitted)
    return AllConvPlan(
        window=plan.window,
        channels=plan.channels,
        outputs=plan.outputs,
        pools=pools,
        head=head,
        steps=tuple(steps),
        ending=tuple(node.name for node in last.ending),
        parameters=parameters,
        in_head=in_head,
        left_out=parameters - all_used,
    )
