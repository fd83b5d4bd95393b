"""The parts of a run, as its flags name them: where it is trained, the network, the optimizer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import xpnet as xn
from xpnet import backends
from xpnet.cli.program import Mistake
from xpnet.layers import ACTIVATIONS

SEEDS = 2**32
"""How many seeds the legacy generator knows."""


def _adam(make: Callable[..., xn.Optimizer]) -> Callable[..., xn.Optimizer]:
    def made(beta1: float = 0.9, beta2: float = 0.999, **numbers: Any) -> xn.Optimizer:
        return make(betas=(beta1, beta2), **numbers)

    return made


def _nesterov(momentum: float = 0.9, **numbers: Any) -> xn.Optimizer:
    return xn.Momentum(momentum=momentum, nesterov=True, **numbers)


OPTIMIZERS: dict[str, tuple[Callable[..., xn.Optimizer], tuple[str, ...]]] = {
    "vanilla": (xn.SGD, ("weight_decay",)),
    "momentum": (xn.Momentum, ("momentum", "weight_decay")),
    "nesterov": (_nesterov, ("momentum", "weight_decay")),
    "adagrad": (xn.AdaGrad, ("eps", "weight_decay")),
    "rmsprop": (xn.RMSprop, ("alpha", "eps", "momentum", "weight_decay")),
    "adam": (_adam(xn.Adam), ("beta1", "beta2", "eps", "weight_decay", "amsgrad")),
    "adamw": (_adam(xn.AdamW), ("beta1", "beta2", "eps", "weight_decay", "amsgrad")),
}
"""The optimizers by name: what makes one, and the flags besides ``--lr`` that it takes."""


def backend_of(options: argparse.Namespace, spelled: dict[str, str]) -> backends.Backend:
    """Where the flags want it trained, tried out."""
    try:
        backend = backends.get(options.backend, options.device)
        backend.prepare(options.dtype)
        backend.probe()
    except ValueError as error:
        # The library says "device must be …"; the user typed --device.
        name, _, rest = str(error).partition(" ")
        raise Mistake(f"{spelled.get(name, f'--{name}')} {rest}") from error
    return backend


def network(
    in_features: int, num_hidden: int = 2, dim_hidden: int = 4, activation: str = "relu"
) -> xn.Sequential:
    """The report's network: hidden layers with their activation, one output, a sigmoid on it."""
    layers: list[xn.Layer] = []
    width = in_features
    for _ in range(num_hidden):
        layers += [xn.Linear(width, dim_hidden), ACTIVATIONS[activation]()]
        width = dim_hidden
    return xn.Sequential(*layers, xn.Linear(width, 1), xn.Sigmoid())


class Seeds(Sequence[np.random.RandomState]):
    """A generator a member: that of ``first``, ``first + 1`` …, made when it is asked for.

    The legacy generator: that of the report, whose numbers come out to the last digit.
    """

    def __init__(self, first: int, members: int) -> None:
        self._seeds = range(first, first + members)

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, i: Any) -> Any:
        return np.random.RandomState(self._seeds[i])


def optimizer_of(options: argparse.Namespace, spelled: dict[str, str]) -> xn.Optimizer:
    """What the flags want to train with; raises for a flag that it does not take."""
    make, takes = OPTIMIZERS[options.optim]
    for name, flag in spelled.items():
        takers = [optim for optim, (_, flags) in OPTIMIZERS.items() if name in flags]
        if takers and name not in takes:
            raise Mistake(f"{flag} is for --optim {'|'.join(takers)}, not {options.optim}.")
    if options.optim == "nesterov" and options.momentum == 0:
        raise Mistake(f"{spelled['momentum']} must be above 0 for --optim nesterov, not 0.")
    chosen = {name: getattr(options, name) for name in takes if name in spelled}
    return make(lr=options.lr, **chosen)
