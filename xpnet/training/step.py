"""The pure step that training repeats, and what it carries from one to the next."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

from xpnet.layers.base import Array
from xpnet.layers.checked import is_own, named, note
from xpnet.losses import Loss, Share
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer

Carry = dict[str, Array]
"""What goes from a step to the next, by name: ``theta``, the optimizer's state as ``optimizer.m`` …

Of an ensemble, every entry has the members first, or no axes at all: then they share it.
"""
Data = tuple[Array, Array, Array | None]
"""``x``, the prepared targets, and the prepared weights or ``None``."""


def carry_of(theta: Array, state: dict[str, Array]) -> Carry:
    """What a training begins with, of parameters and the optimizer's state."""
    return {"theta": theta, **{f"optimizer.{name}": array for name, array in state.items()}}


def state_in(carry: Carry) -> dict[str, Array]:
    """The optimizer's state in a carry."""
    return _of("optimizer", carry)


def _of(part: str, named: dict[str, Any]) -> dict[str, Any]:
    """What is named as of a part, without its name."""
    start = f"{part}."
    return {k[len(start) :]: value for k, value in named.items() if k.startswith(start)}


def _with(part: Any, attributes: dict[str, Any]) -> Any:
    """A copy of a layer or loss with these attributes; itself, if there are none."""
    if attributes:
        part = copy.copy(part)
        for name, value in attributes.items():
            object.__setattr__(part, name, value)
    return part


@dataclass(frozen=True)
class TrainingStep:
    """The pure step: forward, loss and accuracy, backward, update, in this order.

    It compares by value where its network, loss and optimizer do, so that a runner which compiles
    it does so once for equal ones.
    """

    xp: Any
    network: Sequential
    loss: Loss
    optimizer: Optimizer

    @property
    def is_samplewise(self) -> bool:
        """Whether the step on a batch is the mean of the steps on its parts."""
        return self.network.is_samplewise and self.loss.is_samplewise

    @property
    def per_member(self) -> list[Array]:
        """The arrays within it that a step reads from the carry instead."""
        return self.optimizer.per_member()

    @property
    def operands(self) -> tuple[dict[str, float], dict[str, float]]:
        """The plain numbers within it that may be operands of a program instead of part of it.

        Those of the optimizer, and those of loss and layers. They are found in the carry, under
        these names, if they are there. None that are 0: a step may leave out what they are in.
        """
        parts: list[tuple[str, Any]] = [
            ("loss", self.loss),
            *((f"layers.{i}", x) for i, x in enumerate(self.network.leaves)),
        ]
        found = {
            f"{of}.{name}": getattr(part, name)
            for of, part in parts
            if part.hyperparameters and is_own(part)
            for name in part.hyperparameters
        }
        own = {f"optimizer.{name}": value for name, value in self.optimizer.operands().items()}
        return own, {name: value for name, value in found.items() if value != 0}

    def template(self, operands: dict[str, float]) -> TrainingStep:
        """This step without these `operands`: the same one for all their values.

        What is taken out is NaN, so that a number read from the wrong place could not pass for
        right.
        """
        blank = dict.fromkeys(operands, math.nan)
        network, loss = self._given(blank)
        optimizer = self.optimizer.template() if _of("optimizer", blank) else self.optimizer
        return replace(self, network=network, loss=loss, optimizer=optimizer)

    def _given(self, named: dict[str, Any]) -> tuple[Sequential, Loss]:
        """The network and the loss, with the numbers that are named in place of their own."""
        network, loss = self.network, _with(self.loss, _of("loss", named))
        if layers := _of("layers", named):
            own = [_of(str(i), layers) for i in range(len(network.leaves))]
            network = network.with_leaves(list(map(_with, network.leaves, own)))
        return network, loss

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, dict[str, Array]]:
        grad, metrics = self.gradient(carry, batch)
        return self.update(carry, grad), metrics

    def gradient(
        self, carry: Carry, batch: Data, samples: int | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The first half: forward, loss and accuracy, backward.

        Args:
            carry: what came from the step before.
            batch: the samples at hand.
            samples: over how many the means are taken, where these are a part of them; what the
                parts give adds up to what all of them would.
        """
        x, target, weight = batch
        share = Share(samples or x.shape[-2], weight)
        network, loss = self._given(carry)
        value, grad, output, _ = network.gradient(self.xp, carry["theta"], x, target, loss, share)
        metrics = {"loss": value}
        if loss.classifies:
            metrics["accuracy"] = loss.accuracy(self.xp, output, target, share)
        return grad, metrics

    def update(self, carry: Carry, grad: Array) -> Carry:
        """The second half: the optimizer's step."""
        try:
            theta, state = self.optimizer.advance(self.xp, carry["theta"], grad, state_in(carry))
            return carry_of(theta, state)
        except Exception as error:
            note(error, f"in the optimizer, {named(self.optimizer)}")
            raise

    def select(self, data: Data, rows: Array) -> Data:
        x, target, weight = data
        take = self.xp.take
        return (
            take(x, rows, axis=-2),
            take(target, rows, axis=-2),
            None if weight is None else take(weight, rows, axis=-2),
        )
