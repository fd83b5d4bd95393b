"""The pure step that training repeats, and what it carries from one to the next."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

from xpnet.layers.base import Array
from xpnet.layers.checked import is_own, named, note
from xpnet.losses import Loss
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer

Carry = tuple[Array, dict[str, Array]]
"""``theta`` and the optimizer's state."""
Data = tuple[Array, Array, Array | None]
"""``x``, the prepared targets, and the prepared weights or ``None``."""


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
    def splits(self) -> bool:
        """Whether the step on a batch is the mean of the steps on its parts."""
        return self.network.splits and self.loss.splits

    @property
    def carried(self) -> list[Array]:
        """The arrays within it that a step reads from the carry instead."""
        return self.optimizer.carried()

    @property
    def operands(self) -> dict[str, float]:
        """The plain numbers within it that may be operands of a program instead of part of it.

        None that are 0: a step may leave out what they are in.
        """
        parts: list[Any] = [self.loss, *self.network.leaves]
        found = {
            f"{i}.{name}": getattr(part, name)
            for i, part in enumerate(parts)
            if is_own(part)
            for name in part.hyperparameters
        }
        return {**{k: v for k, v in found.items() if v != 0}, **self.optimizer.operands()}

    @property
    def template(self) -> TrainingStep:
        """This step without its `operands`: the same one for all their values.

        What is taken out is NaN, so that a number read from the wrong place could not pass for
        right.
        """
        operands = self.operands
        if not operands:
            return self
        blank = self.given(dict.fromkeys(operands, math.nan))
        return replace(blank, optimizer=self.optimizer.template())

    def given(self, operands: dict[str, Any]) -> TrainingStep:
        """This step with the `operands` of its network and loss in place of their numbers.

        Those of the optimizer it reads from its state, if they are there.
        """
        parts: list[dict[str, Any]] = [{} for _ in range(1 + len(self.network.leaves))]
        for key, value in operands.items():
            i, dot, name = key.partition(".")
            if dot:
                parts[int(i)][name] = value
        if not any(parts):
            return self
        network = self.network.with_leaves(
            [_with(leaf, own) for leaf, own in zip(self.network.leaves, parts[1:], strict=True)]
        )
        return replace(self, loss=_with(self.loss, parts[0]), network=network)

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, dict[str, Array]]:
        grad, metrics = self.gradient(carry[0], batch)
        return self.update(carry, grad), metrics

    def gradient(self, theta: Array, batch: Data) -> tuple[Array, dict[str, Array]]:
        """The first half: forward, loss and accuracy, backward."""
        x, target, weight = batch
        value, grad, output, _ = self.network.gradient(self.xp, theta, x, target, self.loss, weight)
        metrics = {"loss": value}
        if self.loss.classifies:
            weights = () if weight is None else (weight,)
            metrics["accuracy"] = self.loss.accuracy(self.xp, output, target, *weights)
        return grad, metrics

    def update(self, carry: Carry, grad: Array) -> Carry:
        """The second half: the optimizer's step."""
        theta, state = carry
        try:
            return self.optimizer.step(self.xp, theta, grad, state)
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
