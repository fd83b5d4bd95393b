"""The pure step that training repeats, and what it carries from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from xpnet.layers.base import Array
from xpnet.layers.checked import named, note
from xpnet.losses import Loss
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer

Carry = tuple[Array, dict[str, Array]]
"""``theta`` and the optimizer's state."""
Data = tuple[Array, Array, Array | None]
"""``x``, the prepared targets, and the prepared weights or ``None``."""


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
        """The plain numbers within it that it reads from its state instead, if they are there."""
        return self.optimizer.operands()

    @property
    def template(self) -> TrainingStep:
        """This step without its `operands`: the same one for all their values."""
        return replace(self, optimizer=self.optimizer.template()) if self.operands else self

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
