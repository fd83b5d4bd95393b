"""Epochs of a network as estimators want them: one after the other, on data that come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.backends import Backend
from xpnet.estimators.samples import Samples, is_sparse
from xpnet.training.blocks import Blocks
from xpnet.training.prepare import block_size
from xpnet.training.rows import rows_of
from xpnet.training.step import PenalizedStep, trained
from xpnet.types import Array, Carry

RATE = "optimizer.lr"
"""The learning rate in a carry, where it is not the optimizer's own."""

OWN_BYTES = 1 << 25
"""How large data may be to be copied into buffers of their own, whose programs outlive them."""


class Trainer:
    """Trains a network, or members, and keeps its programs from one call to the next.

    Args:
        backend: where.
        step: what is done.
        members: how many networks, or ``None``.
        like: an array of its library and dtype.
        batch: how many samples a step has.
    """

    def __init__(
        self, backend: Backend, step: PenalizedStep, members: int | None, like: Array, batch: int
    ) -> None:
        self.backend, self.step, self.members = backend, step, members
        self.dtype = backend.dtype_name(like)
        size = 1 if members is None else block_size(backend, step.network, like, batch)
        self.blocks = Blocks(backend, step, min(size, members or 1))
        self.samples: Samples
        self.asked: list[Any] = []
        """What it was asked for: of the very same nothing has changed."""
        self.holds: Any = None
        """The weights that it stands at, or ``None``."""
        self.large = False

    def serves(self, other: Trainer) -> bool:
        """Whether this one can do what another would."""
        return (
            self.step,
            self.backend.name,
            str(self.backend.device),
            self.members,
            self.dtype,
        ) == (other.step, other.backend.name, str(other.backend.device), other.members, other.dtype)

    def lies_with(self, like: Array) -> bool:
        """Whether it trains where this lies, in floats as these."""
        backend = backends.of(like)
        here, there = self.backend, backend
        same = (here.name, here.device) == (there.name, there.device)
        return same and backend.dtype_name(like) == self.dtype

    def take(self, samples: Samples) -> None:
        """Take other samples, to go on from what is carried."""
        self.samples = samples
        if not is_sparse(samples.x):
            data = (samples.x, samples.target, samples.weight)
            for block in self.blocks:
                block.data = data

    def load(self, carry: Carry, samples: Samples) -> None:
        """Take parameters, and what else is carried, and the samples of the epochs to come."""
        self.samples = samples
        data: Any = (samples.x, samples.target, samples.weight)
        if is_sparse(samples.x):
            data = samples.dense(np.arange(1), self.dtype)  # of which each step has its own
        self.blocks.deal(carry, data, self.members or 1)
        sparse = is_sparse(samples.x)
        self.large = not sparse and len(samples) * samples.x.shape[1] * 8 > OWN_BYTES
        for runner in self.blocks.runners:
            if hasattr(runner, "varies"):
                runner.varies = 0 if self.large else 2

    @property
    def carry(self) -> Carry:
        """What is carried now, of all members; a copy."""
        with self.backend.context():
            rows = np.arange(self.members or 1)
            return rows_of(self.backend, self.blocks.carries, rows)

    @property
    def judged(self) -> Carry:
        """What of it the outputs follow from."""
        with self.backend.context():
            found = [trained(carry) for carry in self.blocks.carries]
            return rows_of(self.backend, found, np.arange(self.members or 1))

    def change(self, change: Callable[[Carry], Carry]) -> None:
        """Have something else carried from here on."""
        with self.backend.context():
            for block in self.blocks:
                block.carry = {**block.carry, **change(block.carry)}

    def epoch(
        self, order: np.ndarray, batch: int, interrupted: Callable[[], bool]
    ) -> np.ndarray | None:
        """Train on all samples once, in this order.

        Returns:
            The mean loss of each member, ``(members,)``; ``None`` if it was interrupted before.
        """
        whole = len(order) // batch
        parts = [order[: whole * batch].reshape(whole, batch), order[None, whole * batch :]]
        losses = []
        members = None if self.members is None else self.blocks.size
        with self.backend.context(self.step.network.layout.extent(members, batch)):
            for rows in parts:
                if rows.size:
                    found = self._run(rows, interrupted)
                    losses += [(loss, rows.shape[1]) for loss in found]
                    if sum(int(loss.shape[0]) for loss in found) < len(rows):
                        return None
            host = self.backend.to_host
            told = [(host(loss), size) for loss, size in losses]
        total = [loss.reshape(len(loss), -1).sum(axis=0) * size for loss, size in told]
        return np.asarray(np.sum(total, axis=0)) / len(order)

    def _run(self, rows: np.ndarray, interrupted: Callable[[], bool]) -> list[Array]:
        """The losses of the steps of these batches, in pieces."""
        if is_sparse(self.samples.x):
            return self._made_dense(rows, interrupted)
        if rows.size == len(self.samples) == rows.shape[1]:  # all of them: in whatever order
            metrics = self.blocks.run(1, None, interrupted)
        else:
            metrics = self.blocks.run(len(rows), self.backend.asarray(rows, "int64"), interrupted)
        return [] if metrics is None else [metrics["loss"]]

    def _made_dense(self, rows: np.ndarray, interrupted: Callable[[], bool]) -> list[Array]:
        found = []
        for batch in rows:
            data = self.samples.dense(batch, self.dtype)
            for block in self.blocks:
                block.data = data
            metrics = self.blocks.run(1, None, interrupted)
            found += [] if metrics is None else [metrics["loss"]]
            if interrupted():
                break
        return found
