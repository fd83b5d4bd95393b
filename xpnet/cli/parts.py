"""The parts of a run, as its flags name them: where it is trained, the network, the optimizer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import xpnet as xn
from xpnet import backends
from xpnet.cli.program import Mistake
from xpnet.cli.samples import Samples
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

_DECAYS = ("decay", "decay_every", "warmup")

SCHEDULES: dict[str, tuple[Callable[[float, int, int, float], Any], tuple[str, ...]]] = {
    "constant": (lambda lr, steps, every, decay: lr, ("warmup",)),
    "step": (lambda lr, steps, every, decay: xn.StepDecay(lr, every, decay), _DECAYS),
    "exponential": (
        lambda lr, steps, every, decay: xn.ExponentialDecay(lr, decay ** (1 / every)),
        _DECAYS,
    ),
    "linear": (lambda lr, steps, every, decay: xn.PolynomialDecay(lr, steps), ("warmup",)),
    "cosine": (lambda lr, steps, every, decay: xn.CosineDecay(lr, steps), ("warmup",)),
    "restarts": (
        lambda lr, steps, every, decay: xn.CosineRestarts(lr, every, factor=2),
        ("decay_every", "warmup"),
    ),
    "one_cycle": (lambda lr, steps, every, decay: xn.OneCycle(lr, steps), ()),
}
"""The schedules by name: what makes the learning rate of ``lr``, all steps, those of
``--decay_every`` and ``--decay``; and the flags that it takes."""


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
    hidden = _layers(in_features, [dim_hidden] * num_hidden, 1, activation)
    return xn.Sequential(*hidden, xn.Sigmoid())


def network_of(options: argparse.Namespace, samples: Samples) -> xn.Sequential:
    """The network that the flags want, for these samples."""
    layers = _layers(
        samples.x.shape[1], options.hidden, samples.outputs, options.activation, options.dropout
    )
    if options.standardize:
        layers.insert(0, xn.Standardize(samples.x.shape[1]))
    if isinstance(samples.loss, xn.BCE):
        layers.append(xn.Sigmoid())
    return xn.Sequential(*layers)


def _layers(
    in_features: int, hidden: Sequence[int], outputs: int, activation: str, dropout: float = 0.0
) -> list[xn.Layer]:
    layers: list[xn.Layer] = []
    width = in_features
    for units in hidden:
        layers += [xn.Linear(width, units), ACTIVATIONS[activation]()]
        layers += [xn.Dropout(dropout)] * bool(dropout)
        width = units
    return [*layers, xn.Linear(width, outputs)]


class Seeds(Sequence[np.random.RandomState]):
    """A generator a member: that of ``first``, ``first + 1`` …, made when it is asked for.

    The legacy generator: that of the report, whose numbers come out to the last digit.
    """

    def __init__(self, first: int, members: int) -> None:
        self._seeds = range(first, first + members)

    def __len__(self) -> int:
        return len(self._seeds)

    def __repr__(self) -> str:
        return f"{self._seeds[0]} to {self._seeds[-1]}"

    def __getitem__(self, i: Any) -> Any:
        return np.random.RandomState(self._seeds[i])


def optimizer_of(
    options: argparse.Namespace, spelled: dict[str, str], steps: int = 1
) -> xn.Optimizer:
    """What the flags want to train with, in so many steps an epoch; raises for what it is not."""
    make, takes = OPTIMIZERS[options.optim]
    _refuse_others("optim", OPTIMIZERS, options, spelled)
    if options.optim == "nesterov" and options.momentum == 0:
        raise Mistake(f"{spelled['momentum']} must be above 0 for --optim nesterov, not 0.")
    chosen = {name: getattr(options, name) for name in takes if name in spelled}
    return make(lr=_rate_of(options, spelled, steps), **chosen)


def _rate_of(options: argparse.Namespace, spelled: dict[str, str], steps: int) -> Any:
    """The learning rate: a number, or a schedule of the steps."""
    _refuse_others("schedule", SCHEDULES, options, spelled)
    epochs = options.num_epochs - options.warmup
    if epochs < 1:
        raise Mistake(
            f"{spelled['warmup']} must be below the {options.num_epochs} epochs, "
            f"not {options.warmup}."
        )
    every = options.decay_every or max(1, epochs // 3)
    make, _ = SCHEDULES[options.schedule]
    try:
        rate = make(options.lr, epochs * steps, every * steps, options.decay or 0.1)
    except ValueError as error:  # too few steps to go up and down
        raise Mistake(
            f"--schedule must be another for {options.num_epochs} epochs: {error}"
        ) from None
    return xn.WarmUp(options.warmup * steps, rate) if options.warmup else rate


def _refuse_others(
    choice: str,
    table: dict[str, tuple[Any, tuple[str, ...]]],
    options: argparse.Namespace,
    spelled: dict[str, str],
) -> None:
    """Raise for a flag that is for others of the table than what was chosen."""
    chosen = getattr(options, choice)
    for name, flag in spelled.items():
        takers = [one for one, (_, flags) in table.items() if name in flags]
        if takers and chosen not in takers:
            raise Mistake(f"{flag} is for --{choice} {'|'.join(takers)}, not {chosen}.")
