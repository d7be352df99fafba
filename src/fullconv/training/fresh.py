"""A network with new random weights: what training from scratch begins with."""

from __future__ import annotations

import torch
from torch import nn

from fullconv.errors import RefusedError, listed


def start_afresh(network: nn.Module, seed: int) -> nn.Module:
    """Give every layer of a network new random weights, in place; the same ones for the same seed.

    Every module that has a method `reset_parameters`, as the layers of PyTorch do, is asked to use
    it, inner ones first: a network that is to start otherwise has such a method itself, which then
    has the last word. Returns the network.

    Raises RefusedError that names all parameters which no module would reset: they would keep what
    they learned.
    """
    kept = [
        name
        for name, _ in network.named_parameters()
        if not any(hasattr(network.get_submodule(path), RESET) for path in _around(name))
    ]
    if kept:
        raise RefusedError(
            f"{len(kept)} parameters cannot be given new random values:{listed(kept)}",
            why="The modules that hold them have no method reset_parameters, and they would keep "
            "what they learned.",
            hint="Give these modules, or the network, a method reset_parameters() that sets them.",
        )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in reversed(list(network.modules())):
            if hasattr(module, RESET):
                module.reset_parameters()  # type: ignore[operator]
    return network


RESET = "reset_parameters"


def _around(name: str) -> list[str]:
    """The modules that hold a parameter: the one whose it is, and those around it, "" last."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:count]) for count in range(len(parts), -1, -1)]
