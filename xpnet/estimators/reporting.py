"""A training of an estimator as the callbacks of xpnet see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.callbacks import Checkpoint
from xpnet.compiler.plain import never
from xpnet.estimators.training import Trainer
from xpnet.history import History
from xpnet.model import Model
from xpnet.training.callback import Callback, Run
from xpnet.training.step import layer_state_in

SCORE = "val_score"
"""What callbacks are told of the samples that are held out."""


class EstimatorRun(Run):
    """A run of epochs, each with a check behind it; what is asked is what `Run` says.

    Args:
        estimator: who is trained.
        trainer: by whom.
        epochs: how many epochs at most.
        held: whether samples are held out.
    """

    def __init__(self, estimator: Any, trainer: Trainer, epochs: int, held: bool) -> None:
        self.held = held
        self.estimator, self.trainer, self.epochs = estimator, trainer, epochs
        self.network, self.loss = trainer.step.network, estimator._of_all(estimator._loss_of())
        self.x, self.y = trainer.samples.x, trainer.samples.target
        self.members, self.block = trainer.members, trainer.blocks.size
        self.acc_goal, self.resumed, self.check_every = None, None, 1
        self.epoch = self.seen = 0
        self.stopping = False
        self.losses: list[np.ndarray] = []
        self.scores: list[float] = []

    def add(self, losses: np.ndarray, score: float | None) -> None:
        """Note an epoch: the loss of each member, and the score of those held out."""
        self.seen, self.epoch = self.epoch, self.epoch + 1
        self.losses.append(losses if self.members else losses[0])
        self.scores += [] if score is None else [score]

    @property
    def history(self) -> History:
        zero: Any = 0 if self.members is None else np.zeros(self.members, dtype=np.int64)
        scores = np.array(self.scores)
        if self.members is not None:
            scores = np.tile(scores[:, None], self.members)
        found = {SCORE: scores} if self.scores else {}
        return History(
            np.array(self.losses), None, zero, zero, epochs=self.epoch, stopped=self.stopping,
            val_metrics=found, greater={"loss": False, **({SCORE: True} if self.held else {})},
            monitor=SCORE if self.held else None,
            val_epochs=np.arange(1, len(scores) + 1) if found else None,
        )  # fmt: skip

    @property
    def latest(self) -> dict[str, np.ndarray]:
        return {"loss": np.array(self.losses[-1:])}

    @property
    def validation(self) -> dict[str, np.ndarray]:
        return {SCORE: np.full(self.members or 1, self.scores[-1])} if self.scores else {}

    @property
    def training(self) -> int:
        return self.members or 1

    @property
    def progress(self) -> None:
        return None

    @property
    def model(self) -> Model:
        carry = self.trainer.judged
        state = layer_state_in(self.network, carry) or None
        return Model(self.network, carry["theta"], self.loss, self.history, layer_state=state)


@contextmanager
def told(callbacks: Sequence[Any], run: Run | None) -> Iterator[Callable[[], bool]]:
    """Tell callbacks of a run, if there is one: of its beginning, its end, and when it is called.

    What is called says whether one of them has ended it.

    Raises:
        TypeError: if one is none, or writes checkpoints.
    """
    if run is None:
        yield never
        return
    for i, callback in enumerate(callbacks):
        checks.instance(f"callbacks[{i}]", callback, Callback, "a Callback of xpnet")
        if isinstance(callback, Checkpoint):
            raise TypeError(
                f"callbacks[{i}] must be no Checkpoint, which xpnet.fit alone can go on from; "
                "pickle the estimator, and go on with warm_start=True."
            )

    def check() -> bool:
        for callback in callbacks:
            callback.check(run)
        return run.stopping

    with ExitStack() as finishing:
        for callback in callbacks:
            callback.start(run)
            finishing.callback(callback.finish, run)
        yield check
