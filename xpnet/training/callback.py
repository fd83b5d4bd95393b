"""What a training tells at its checks, and to whom."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.files.describe import describe
from xpnet.history import History
from xpnet.model import Model
from xpnet.training.asked import Asked
from xpnet.training.fingerprint import Told, fingerprints
from xpnet.training.loop import TrainingLoop
from xpnet.training.progress import Progress
from xpnet.types import Array

if TYPE_CHECKING:
    from xpnet.distributed.dealt import Dealt


class Callback:
    """What is told of a run at its checks. Each method may do nothing."""

    def start(self, run: Run) -> None:
        """Before the first epoch; raise here what would make the run worthless."""

    def check(self, run: Run) -> None:
        """After each checking interval; ``run.stop()`` ends the run."""

    def dealt(self, run: Dealt) -> None:
        """With a ``client``, after each block of members that has come back.

        There are no checks then, as members are not trained side by side; `start` and `finish`
        are given the same `xpnet.distributed.Dealt`. Who has a `check` and no `dealt` is refused.
        """

    def finish(self, run: Run) -> None:
        """After the last epoch, also when the run was interrupted or failed; last started first."""


class Run:
    """A training run as its callbacks see it.

    Attributes:
        network, x, y, loss: what is trained, on what, as it was given.
        epochs: how many epochs were asked for.
        epoch: how many are done.
        check_every: how many lie between two checks.
        resumed: the file of the checkpoint that it goes on from, or ``None``.
        seen: how many were done at the check before.
        dealt: whether it is a `xpnet.distributed.Dealt`, of members over a cluster: false.
        keep: what is kept in the end: all that there is.
        acc_goal: the goal, or ``None``.
        members: the number of members, or ``None`` for a single network.
        block: how many of them at most are computed together.
        history: the `History` up to now.
        model: the `Model` as it is now.
    """

    dealt, keep = False, "all"

    def __init__(
        self,
        loop: TrainingLoop,
        asked: Asked,
        epochs: int,
        check_every: int,
        resumed: Path | None = None,
        told: Told | None = None,
    ) -> None:
        self._loop, self._asked, self.check_every = loop, asked, check_every
        self.network, self.loss = loop.step.network, loop.step.loss
        self.x, self.y = asked.x, asked.y
        self.acc_goal, self.members = loop.acc_goal, loop.members
        self.block = min(loop.population.blocks.size, loop.members or 1)
        self.epochs, self.resumed = epochs, resumed
        self.epoch = self.seen = loop.epochs
        self.stopping = False
        if told is not None:  # of the samples of all ranks, which this one does not know
            self.__dict__["_told"] = told

    def stop(self) -> None:
        """End the run after this check."""
        self.stopping = True

    @property
    def history(self) -> History:
        return self._loop.history()

    @property
    def latest(self) -> dict[str, np.ndarray]:
        """``loss`` and ``accuracy`` of the epochs since the check before, as in the history."""
        return _copies(self._loop.recorder.latest)

    @property
    def validation(self) -> dict[str, np.ndarray]:
        """``val_loss`` and ``val_accuracy`` of this check, ``(members,)`` or ``(1,)``; or empty."""
        watched = self._loop.validation
        there = watched is not None and watched.epochs[-1:] == [self.epoch]
        return _copies(watched.latest) if watched is not None and there else {}

    @property
    def training(self) -> int:
        """How many members are still trained."""
        return int(self._loop.population.alive.sum())

    @property
    def progress(self) -> Progress | None:
        """Where it stands at this check, for ``run.progress.write(path)``.

        ``None`` where Ctrl-C has cut the epochs since the last check short, where the run ends at
        no multiple of ``check_every``, at which a longer one has no check, and behind the last
        check: from there nobody could go on as if the run had never stopped.
        """
        backend = self._loop.backend

        def to_host(array: Array) -> np.ndarray:
            with backend.context():
                return backend.to_host(array)

        if not self._loop.whole or self.epoch % self.check_every:
            return None
        with backend.context():
            part = self._loop.progress()
        return Progress(self.epoch, part, self._told, self._described, to_host)

    @cached_property
    def _told(self) -> Told:
        """What was asked for, as a checkpoint tells it."""
        return fingerprints(self._asked, self.check_every)

    @cached_property
    def _described(self) -> dict[str, Any]:
        """Network, loss and optimizer as a file has them; nothing where they cannot be described.

        As of somebody's own class that does not keep what its constructor takes.
        """
        step = self._loop.step
        parts = {"network": step.network, "loss": step.loss, "optimizer": step.optimizer}
        try:
            described = {name: describe(part, name) for name, part in parts.items()}
        except (TypeError, ValueError):
            return {}
        return {**described, "members": self.members}

    @property
    def model(self) -> Model:
        with self._loop.backend.context():
            return self._loop.model()


def _copies(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays that somebody may write into: the run goes on with its own."""
    return {name: values.copy() for name, values in found.items()}
