"""What a training over a cluster tells its callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet.history import History
from xpnet.model import Model

if TYPE_CHECKING:  # whose modules are imported behind this one
    from xpnet.training.asked import Asked


class Dealt:
    """A training whose members are dealt out to a cluster, as its callbacks see it.

    Attributes:
        network, x, y, loss: what is trained, on what, as it was given.
        epochs: how many epochs were asked for.
        epoch: how many are done: 0 until the end.
        acc_goal: the goal, or ``None``.
        members: the number of members; at the end ``None`` where the best alone was kept.
        done: how many of them have come back.
        keep: what is kept.
        model: at the end what `fit` returns; before that, and where it failed, ``None``.
    """

    dealt = True

    def __init__(self, asked: Asked, members: int, epochs: int, keep: str) -> None:
        self.network, self.loss = asked.network, asked.loss
        self.x, self.y, self.acc_goal = asked.x, asked.y, asked.acc_goal
        self.epochs, self.keep = epochs, keep
        self.members: int | None = members
        self.epoch = self.done = 0
        self.model: Model | None = None
        self.stopping = False

    def stop(self) -> None:
        """End the training, as Ctrl-C does."""
        self.stopping = True

    @property
    def history(self) -> History | None:
        return None if self.model is None else self.model.history

    def end(self, model: Model) -> None:
        """Know what comes back."""
        self.model, self.members = model, model.members
        self.epoch = 0 if model.history is None else model.history.epochs
