"""Ops among the channels of a cell."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

from fullconv.hosts.torch_fx import runtime
from fullconv.hosts.torch_fx.work import Work, argument
from fullconv.surgery.edits import (
    ReduceChannels,
    ShuffleChannels,
    SoftmaxParts,
    StackChannels,
    TakeChannels,
)


def _take_channels(work: Work, node: fx.Node, edit: TakeChannels) -> None:
    index = (slice(None), slice(edit.start, edit.stop, edit.step))
    work.call(node, operator.getitem, work.input(node), index)


def _shuffle(work: Work, node: fx.Node, edit: ShuffleChannels) -> None:
    work.call(node, runtime.shuffle_channels, work.input(node), edit.parts, edit.order)


def _reduce(work: Work, node: fx.Node, edit: ReduceChannels) -> None:
    work.call(node, runtime.reduce_part, work.input(node), edit.kind, edit.parts, edit.part)


def _softmax(work: Work, node: fx.Node, edit: SoftmaxParts) -> None:
    log = edit.name == "log-softmax"
    work.call(node, runtime.softmax_part, work.input(node), edit.parts, edit.part, log)


def _stack(work: Work, node: fx.Node, edit: StackChannels) -> None:
    work.call(node, torch.cat, argument(node, 0, "tensors"), dim=1)


WRITERS: dict[type, Any] = {
    TakeChannels: _take_channels,
    ShuffleChannels: _shuffle,
    ReduceChannels: _reduce,
    SoftmaxParts: _softmax,
    StackChannels: _stack,
}
