"""What a training tells at its checks, and to whom."""

from __future__ import annotations

import numpy as np

from xpnet.history import History
from xpnet.model import Model
from xpnet.training.loop import TrainingLoop
from xpnet.types import Array


class Callback:
    """What is told of a run at its checks. Each method may do nothing."""

    def start(self, run: Run) -> None:
        """Before the first epoch; raise here what would make the run worthless."""

    def check(self, run: Run) -> None:
        """After each checking interval; ``run.stop()`` ends the run."""

    def finish(self, run: Run) -> None:
        """After the last epoch, also when the run was interrupted or failed; last started first."""


class Run:
    """A training run as its callbacks see it.

    Attributes:
        network, x, y, loss: what is trained, on what.
        epochs: how many epochs were asked for.
        epoch: how many are done.
        seen: how many were done at the check before.
        acc_goal: the goal, or ``None``.
        members: the number of members, or ``None`` for a single network.
        block: how many of them at most are computed together.
        history: the `History` up to now.
        model: the `Model` as it is now.
    """

    def __init__(self, loop: TrainingLoop, x: Array, y: Array, epochs: int) -> None:
        self._loop = loop
        self.network, self.loss = loop.step.network, loop.step.loss
        self.x, self.y = x, y
        self.acc_goal, self.members = loop.acc_goal, loop.members
        self.block = min(loop.population.blocks.size, loop.members or 1)
        self.epochs = epochs
        self.epoch = self.seen = 0
        self.stopping = False

    def stop(self) -> None:
        """End the run after this check."""
        self.stopping = True

    @property
    def history(self) -> History:
        return self._loop.history()

    @property
    def latest(self) -> dict[str, np.ndarray]:
        """``loss`` and ``accuracy`` of the epochs since the check before, as in the history."""
        return self._loop.recorder.latest

    @property
    def validation(self) -> dict[str, np.ndarray]:
        """``val_loss`` and ``val_accuracy`` of this check, ``(members,)`` or ``(1,)``; or empty."""
        watched = self._loop.validation
        there = watched is not None and watched.epochs[-1:] == [self.epoch]
        return watched.latest if watched is not None and there else {}

    @property
    def training(self) -> int:
        """How many members are still trained."""
        return int(self._loop.population.alive.sum())

    @property
    def model(self) -> Model:
        with self._loop.backend.context():
            return self._loop.model()
