"""From a classifier to an all-convolutional network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fullconv.allconv.counts import Counts
from fullconv.allconv.fitting import check_images, fit
from fullconv.allconv.network import AllConvolutional
from fullconv.allconv.plan import AllConvPlan
from fullconv.allconv.planner import check_words, make_plan
from fullconv.allconv.start import begin_scores
from fullconv.allconv.write import apply
from fullconv.api.convert import Size
from fullconv.errors import UsageError
from fullconv.hosts.torch_fx.read import Reading, read
from fullconv.surgery.plan import Plan
from fullconv.surgery.planner import make_plan as plan_fcn


def all_convolutional(
    model: nn.Module,
    window: Size = 224,
    *,
    pools: str = "conv",
    head: str = "gap",
    images: Tensor | None = None,
    example: Tensor | None = None,
) -> AllConvolutional:
    """A network of convolutions that begins where a classifier is (Springenberg et al. 2015).

    Args:
        model: a CNN classifier, `(N, C, *window)` to `(N, K)`. It stays as it is.
        window: its input size in px; one number for all axes, or one per axis.
        pools: what becomes of the body's pools. "conv" (All-CNN): a convolution of all channels in
            the place of each, with its kernel and stride, that begins as the average. "strided"
            (Strided-CNN): max pools are dropped and the convolution before each makes its steps;
            others as "conv". "convpool" (ConvPool-CNN): they stay, behind a convolution that
            begins as the identity. "keep": they stay.
        head: "gap", a 1×1 convolution to the scores and their mean over the map, or "exact", the FC
            layers as convolutions that compute the same, and the mean of the scores over the map.
        images: prepared images `(N, C, *space)`, at least the window. What cannot begin exactly is
            fitted to them by least squares: convolutions to the max pools they replace, channel by
            channel, and the 1×1 convolution to the scores of a head of several FC layers, which
            begins at random otherwise.
        example: an input `(N, C, *space)`, needed only where the number of channels or axes cannot
            be found from the convolutions.

    Returns:
        An `nn.Module` in inference mode, `(N, C, *space)` to `(N, K)`, with parameters of its own.
        It is as large at the window as the classifier is, cell for cell.

    Raises:
        RefusedError: the network cannot be converted, or its head cannot be replaced so.
        UsageError: an argument does not fit the network.
        InputError: images of another shape, or with numbers that are not finite.
    """
    check_words(pools, head)
    if isinstance(model, nn.Module) and any(p.is_meta for p in model.parameters()):
        raise UsageError(
            "the model is on the meta device: it has no weights to begin with.",
            hint="fullconv.allconv.build.plan needs none.",
        )
    reading = read(model, window, example)
    fcn_plan, changes = _planned(reading, pools, head, images is not None)
    if images is not None:
        check_images(images, fcn_plan)
    network = apply(changes, fcn_plan, reading)
    begin_scores(network, fcn_plan, reading)
    if images is not None:
        fit(network, fcn_plan, reading, images)
    return network


def plan(
    model: nn.Module,
    window: Size = 224,
    *,
    pools: str = "conv",
    head: str = "gap",
    fitted: bool = False,
    example: torch.Tensor | None = None,
) -> AllConvPlan:
    """The changes `all_convolutional` would make, without making them; `fitted` with images.

    Other arguments and errors as there. Needs shapes only: a model on the meta device will do.
    """
    check_words(pools, head)
    return _planned(read(model, window, example), pools, head, fitted)[1]


def _planned(reading: Reading, pools: str, head: str, fitted: bool) -> tuple[Plan, AllConvPlan]:
    """The plan of the FCN, whose context ops see all of the image, and the changes."""
    fcn_plan = plan_fcn(reading.blueprint, context="image")
    counts = Counts(reading)
    changes = make_plan(
        reading.blueprint,
        fcn_plan,
        pools=pools,
        head=head,
        fitted=fitted,
        parameters=counts.all,
        used=counts.used,
        steps_can_change=counts.is_own_convolution,
    )
    return fcn_plan, changes
