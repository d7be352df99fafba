"""What a network holds as it is, as an FCN and with other heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import torch

from fullconv.allconv.build import plan as allconv_plan
from fullconv.allconv.edits import ScoresHead
from fullconv.api.costs import counting, macs
from fullconv.auditing.figures import layer
from fullconv.auditing.measuring.timing import Say
from fullconv.auditing.subject import Subject
from fullconv.auditing.weights.heads import (
    FcLayer,
    decimated,
    fc_layers,
    first_over_cells,
    narrowed,
    parameters_of,
    shared_with,
    total,
)
from fullconv.auditing.weights.lowrank import LowRank, low_rank
from fullconv.errors import RefusedError
from fullconv.geometry import times
from fullconv.hosts.torch_fx.tracing import in_eval


@dataclass(frozen=True, slots=True)
class Variant:
    """A network with one kind of head.

    Attributes:
        key: "classifier", "exact", "gap", "decimated", "large field", "rank 1024" …
        name: for people.
        parameters, bytes: in all.
        head: parameters of its FC layers, or of what stands in their place.
        head_macs: of the head, for one cell of the map.
        same_function: whether it computes the same as the classifier.
    """

    key: str
    name: str
    parameters: int
    bytes: int
    head: int
    head_macs: int
    same_function: bool

    @property
    def share(self) -> float:
        """Of the head."""
        return self.head / self.parameters if self.parameters else 0.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was counted.

    Attributes:
        variants: the classifier first.
        layers: FC layers of the head: where, inputs, outputs, kernel, parameters.
        shared: parameters of the FCN that lie in the classifier's own memory.
        macs: of the classifier at its window; None where that could not be counted.
        shrunk: the FC layer over several cells that smaller heads shrink; empty without one.
        low_rank: what is left of it at lower ranks.
        without_gap: why there is no variant with a global average, where the head has FC layers.
    """

    variants: tuple[Variant, ...]
    layers: tuple[dict[str, Any], ...]
    shared: int
    macs: int | None
    shrunk: str = ""
    low_rank: LowRank | None = None
    without_gap: str = ""

    def variant(self, key: str) -> Variant | None:
        """One of the variants, if it is there."""
        return next((variant for variant in self.variants if variant.key == key), None)

    def to_dict(self) -> dict[str, Any]:
        """All figures, JSON-serialisable."""
        return asdict(self)


def measure(subject: Subject, *, seconds: float, say: Say) -> Parameters:
    """Count parameters of the network as it is and with other heads; try lower ranks.

    Seconds are for the ranks alone: everything else is counted.
    """
    count, size = parameters_of(subject.model)
    layers = fc_layers(subject)
    head = total(layers)
    classifier = Variant(
        "classifier", "the classifier", count, size, head, sum(one.macs for one in layers), True
    )
    listing = tuple(
        {
            "where": one.where,
            "inputs": one.inputs,
            "outputs": one.outputs,
            "kernel": list(one.kernel),
            "parameters": one.parameters,
        }
        for one in layers
    )
    work = _macs(subject)
    if subject.converted is None:
        return Parameters((classifier,), listing, 0, work)
    of_fcn, bytes_of_fcn = parameters_of(subject.converted)
    shared = shared_with(subject.converted, subject.model)
    variants = [
        classifier,
        Variant(
            "exact", "FCN, exact", of_fcn, bytes_of_fcn, head + of_fcn - count,
            classifier.head_macs, True,
        ),
    ]  # fmt: skip
    place = first_over_cells(layers)
    gap, problem = _average(subject, classifier, same=place is None)
    variants += [gap] if gap is not None else []
    if place is None:
        return Parameters(tuple(variants), listing, shared, work, without_gap=problem)
    fc = layers[place]
    ranks = low_rank(subject, fc, seconds, say)
    for cut in ranks.cuts:
        saved = fc.parameters - cut.parameters
        variants.append(
            Variant(
                key=f"rank {cut.rank}",
                name=f"{layer(fc.where)} at rank {cut.rank:,}",
                parameters=count - saved,
                bytes=size - saved * fc.itemsize,
                head=head - saved,
                head_macs=classifier.head_macs - fc.macs + cut.parameters - fc.bias,
                same_function=False,
            )
        )
    for key, name, heads in _smaller(layers, place):
        saved = head - total(heads)
        variants.append(
            Variant(
                key, name, count - saved, size - saved * fc.itemsize, head - saved,
                sum(one.macs for one in heads), False,
            )
        )  # fmt: skip
    return Parameters(tuple(variants), listing, shared, work, fc.where, ranks, problem)


def _smaller(layers: Sequence[FcLayer], place: int) -> list[tuple[str, str, tuple[FcLayer, ...]]]:
    """Heads with DeepLab's decimated kernels: key, name and layers."""
    fc, found = layers[place], []
    second = decimated(layers, place, 2)
    if prod(second[place].kernel) < prod(fc.kernel):
        name = f"{layer(fc.where)} with {times(second[place].kernel)} taps"
        found.append(("decimated", name, second))
    third = decimated(layers, place, 3)
    few = narrowed(third, place)
    if few is not None and prod(third[place].kernel) < prod(fc.kernel):
        kernel, outputs = third[place].kernel, few[place].outputs
        name = f"{layer(fc.where)} with {times(kernel)} taps, {outputs:,} channels"
        found.append(("large field", name, few))
    return found


def _average(subject: Subject, classifier: Variant, *, same: bool) -> tuple[Variant | None, str]:
    """The network with a 1×1 convolution and a global average; or why it has none.

    `same` says that no FC layer sees several cells: a single one is that convolution then.
    """
    try:
        plan = allconv_plan(subject.model, subject.window, pools="keep", head="gap")
    except RefusedError as error:
        return None, error.what
    if not any(isinstance(step.edit, ScoresHead) for step in plan.steps):
        return None, ""
    channels = subject.fcn.plan.cuts[0].channels
    itemsize = classifier.bytes / max(1, classifier.parameters)
    return Variant(
        key="gap",
        name="1×1 convolution and global average",
        parameters=plan.new_parameters,
        bytes=round(plan.new_parameters * itemsize),
        head=plan.outputs * (channels + 1),
        head_macs=plan.outputs * channels,
        same_function=same and plan.is_exact,
    ), ""


def _macs(subject: Subject) -> int | None:
    """Of the classifier on one image at its window."""
    try:
        return macs(subject.model, subject.shape)
    except Exception:  # forward is anybody's code, and need not run on what only has a shape
        pass
    try:
        like = next(subject.model.parameters(), torch.empty(0))
        with in_eval(subject.model), torch.no_grad(), counting() as counter:
            subject.model(torch.zeros(subject.shape).to(like))
    except Exception:
        return None
    return int(counter.get_total_flops()) // 2
