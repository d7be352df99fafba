"""What a network holds as it is, as an FCN and with other heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from fullconv.allconv.build import plan as allconv_plan
from fullconv.api.costs import macs
from fullconv.auditing.figures import percent
from fullconv.auditing.heads import (
    FcLayer,
    decimated,
    fc_layers,
    first_over_cells,
    narrowed,
    parameters_of,
    shared_with,
    total,
)
from fullconv.auditing.lowrank import KEPT, LowRank, low_rank
from fullconv.auditing.measuring.timing import Say
from fullconv.auditing.subject import Subject
from fullconv.errors import RefusedError
from fullconv.geometry import times
from fullconv.hosts.torch_fx.tracing import in_eval


@dataclass(frozen=True, slots=True)
class Variant:
    """A network with one kind of head.

    Attributes:
        key: "classifier", "exact", "gap", "decimated", "large field", "rank 90" …
        name: for people.
        parameters, bytes: in all.
        head: parameters of its FC layers, or of what stands in their place.
        head_macs: of the head, for one cell of the map.
        same_function: whether it computes the same as the classifier; None where that was tried.
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
        without_gap: why there is no variant with a global average; empty where there is one.
        averages: whether the head is an FC layer behind a global average already.
    """

    variants: tuple[Variant, ...]
    layers: tuple[dict[str, Any], ...]
    shared: int
    macs: int | None
    shrunk: str = ""
    low_rank: LowRank | None = None
    without_gap: str = ""
    averages: bool = False

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
        "classifier", "the classifier", count, size, head, sum(layer.macs for layer in layers), True
    )
    listing = tuple(
        {
            "where": layer.where,
            "inputs": layer.inputs,
            "outputs": layer.outputs,
            "kernel": list(layer.kernel),
            "parameters": layer.parameters,
        }
        for layer in layers
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
    gap, problem = _average(subject, classifier)
    variants += [gap] if gap is not None else []
    place = first_over_cells(layers)
    if place is None:
        averages = gap is not None and gap.parameters == count
        return Parameters(
            tuple(variants), listing, shared, work, without_gap=problem, averages=averages
        )
    fc = layers[place]
    ranks = low_rank(subject, fc, seconds, say)
    for cut, kept in zip(ranks.cuts, KEPT, strict=False):
        saved = fc.parameters - cut.parameters
        variants.append(
            Variant(
                f"rank {kept:.0%}".rstrip("%"),
                f"{fc.where} at rank {cut.rank:,} ({percent(kept)} kept)",
                count - saved,
                size - saved * fc.itemsize,
                head - saved,
                classifier.head_macs - fc.macs + cut.parameters - fc.bias,
                False,
            )
        )
    for key, name, heads in _smaller(layers, place):
        saved = head - total(heads)
        variants.append(
            Variant(
                key, name, count - saved, size - saved * fc.itemsize, head - saved,
                sum(layer.macs for layer in heads), False,
            )
        )  # fmt: skip
    return Parameters(tuple(variants), listing, shared, work, fc.where, ranks, problem)


def _smaller(layers: Sequence[FcLayer], place: int) -> list[tuple[str, str, tuple[FcLayer, ...]]]:
    """Heads with DeepLab's decimated kernels: key, name and layers."""
    fc, found = layers[place], []
    second = decimated(layers, place, 2)
    found.append(("decimated", f"{fc.where} with {times(second[place].kernel)} taps", second))
    third = decimated(layers, place, 3)
    few = narrowed(third, place)
    if few is not None:
        kernel, outputs = third[place].kernel, few[place].outputs
        name = f"{fc.where} with {times(kernel)} taps, {outputs:,} channels"
        found.append(("large field", name, few))
    return found


def _average(subject: Subject, classifier: Variant) -> tuple[Variant | None, str]:
    """The network with a 1×1 convolution and a global average; or why it has none."""
    try:
        plan = allconv_plan(subject.model, subject.window, pools="keep", head="gap")
    except RefusedError as error:
        return None, str(error)
    if not plan.steps:
        return None, "Its head has no FC layers: there is nothing to replace."
    cut = subject.fcn.plan.cuts[0]
    head = plan.outputs * (cut.channels + 1)
    added = sum(step.added for step in plan.steps)
    itemsize = classifier.bytes / max(1, classifier.parameters)
    return Variant(
        "gap", "1×1 convolution and global average", plan.after,
        classifier.bytes + round(added * itemsize), head, plan.outputs * cut.channels, False,
    ), ""  # fmt: skip


def _macs(subject: Subject) -> int | None:
    """Of the classifier on one image at its window."""
    try:
        return macs(subject.model, subject.shape)
    except Exception:  # forward is anybody's code, and need not run on what only has a shape
        pass
    try:
        like = next(subject.model.parameters(), torch.empty(0))
        with in_eval(subject.model), torch.no_grad(), FlopCounterMode(display=False) as counter:
            subject.model(torch.zeros(subject.shape).to(like))
    except Exception:
        return None
    return int(counter.get_total_flops()) // 2
