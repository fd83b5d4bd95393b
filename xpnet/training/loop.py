"""A run of `fit` under way: what is trained, what has been recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np

from xpnet.history import History, Recorder
from xpnet.model import Model
from xpnet.training.ensemble import Population
from xpnet.training.epochs import train_epochs
from xpnet.training.finite import all_finite_in, finite_in
from xpnet.training.step import layer_state_in, state_in
from xpnet.training.validation import Validation

_OF_EACH = ("stop", "diverged", "trained", "exhausted")
"""What is known of each member."""


class TrainingLoop:
    """Trains a `Population` interval by interval and keeps the record.

    Long by what there is to record of a check.

    Args:
        population: who is trained.
        acc_goal: the accuracy at which a member is done, or ``None``.
        every_epoch: whether all epochs are recorded, or those of the checks alone.
        validation: looks at samples of its own at every check, or ``None``.

    Attributes:
        whole: whether it stands at a check, from which another training could go on.
    """

    def __init__(
        self,
        population: Population,
        acc_goal: float | None,
        every_epoch: bool,
        validation: Validation | None = None,
    ) -> None:
        self.population, self.acc_goal = population, acc_goal
        self.backend, self.step = population.backend, population.blocks.step
        self.recent, self.batches = population.recent, population.recent.batches
        self.members, self.ranks = population.members, population.blocks.ranks
        self.recorder = Recorder(self.members, every_epoch)
        self.epochs = 0
        self.stop = np.zeros(self.members or 1, dtype=np.int64)
        self.diverged = np.zeros(self.members or 1, dtype=np.int64)
        self.trained = np.zeros(self.members or 1, dtype=np.int64)
        self.exhausted = np.zeros(self.members or 1, dtype=np.int64)
        self.interrupted = self.stopped = self.restored = False
        self.whole = True
        self.validation = validation

    @property
    def training(self) -> bool:
        """Whether anybody is still trained."""
        return bool(self.population.alive.any())

    def computing(self) -> AbstractContextManager[Any]:
        """What to enter while an interval is trained."""
        members = None if self.members is None else self.population.blocks.size
        size = self.step.network.layout.extent(members, self.batches.part)
        return self._alone(size) if self.ranks else self.backend.context(size)

    @contextmanager
    def _alone(self, size: Any) -> Iterator[None]:
        with self.backend.alone(), self.backend.context(size):
            yield

    def interval(self, n: int, epoch: int, interrupted: Callable[[], bool], ahead: int = 0) -> int:
        """Train ``n`` epochs behind ``epoch`` and record them; return how many count.

        There will be ``ahead`` more in the next one, if nobody ends it.
        """
        interval = self.population.begin(n)
        advance = partial(self.population.advance, interval)
        self.whole = False
        looked = False

        def queued() -> None:
            nonlocal looked
            # What validation will look at, while the steps before it are under way.
            watched = self.validation
            looked = watched is None or watched.ask(self.population, interrupted)
            if not self.backend.eager:  # elsewhere the host has nothing to wait for
                self.batches.draw_ahead(ahead)

        metrics = train_epochs(self.batches, n, advance, interrupted, queued)
        self.whole = looked
        if metrics is None:
            self.population.blocks.come_back(interval.blocks)
            return 0
        self.recent.keep(interval)
        return self._record(metrics, epoch, complete=self.whole)

    def finish(self) -> None:
        """Look once at the losses that the last update of all has left behind; take the best."""
        self.whole = False
        if self.recent.intervals and self.training:
            spoilt = self.population.finish()
            self.diverged[self.population.columns[spoilt]] = self.epochs + 1
        self.restored = self.validation is not None and self.validation.kept is not None

    # ---- from one training to another

    def progress(self) -> dict[str, Any]:
        """Where it stands at a check, for `resume`; nothing that is trained later changes it."""
        watched = self.validation
        return {
            "epochs": self.epochs,
            **{name: getattr(self, name).copy() for name in _OF_EACH},
            "record": self.recorder.progress(),
            "drawn": self.batches.drawn(),
            "population": self.population.progress(),
            "native": self.population.blocks.is_native,
            "validation": None if watched is None else watched.progress(),
        }

    def resume(self, part: dict[str, Any]) -> None:
        """Go on from where another stood, before anything is trained."""
        self.epochs = part["epochs"]
        for name in _OF_EACH:
            setattr(self, name, part[name])
        self.recorder.resume(part["record"])
        self.batches.resume(part["drawn"])
        self.population.resume(part["population"])
        self.population.blocks.go_on(part.get("native", False))
        if self.validation is not None:
            self.validation.resume(part["validation"], self.population)

    # ---- the check

    def _record(self, metrics: dict[str, np.ndarray], epoch: int, complete: bool) -> int:
        """Record an interval that began after ``epoch``; return how many of its epochs count."""
        loss = metrics["loss"].reshape(len(metrics["loss"]), -1)
        alive, count = self.population.alive, len(loss)
        reached, finite = self._reached(metrics, complete), np.isfinite(loss)
        exhausted = np.zeros_like(alive)
        # A parameter may be infinite where no loss is: behind a tanh, beside a feature of zeros.
        sound = bool(finite.all()) and all_finite_in(self.population.blocks)
        fine = alive & finite.all(axis=0)
        if self.validation is not None and not sound:
            fine &= finite_in(self.population.blocks)
        if self.validation is not None and complete and fine.any():
            exhausted = self.validation.check(self.population, fine, epoch + count)
            if reached is None and exhausted.any():
                reached = np.zeros_like(alive)
        self.trained[self.population.columns[alive]] = epoch + count
        if reached is None and sound:
            self._keep(metrics, count)  # as nearly always
            self.epochs += count
            return count
        columns, bad = self.population.columns, ~finite & alive
        failed, first_bad = bad.any(axis=0), bad.argmax(axis=0)
        reached = np.zeros_like(alive) if reached is None else reached & ~failed
        if failed.any():
            count = int(first_bad[0]) + 1 if self.members is None else count
            self._keep(metrics, count, failed, first_bad)
        else:
            self._keep(metrics, count)
        exhausted &= ~reached
        limits = (first_bad + 1) * self.batches.steps
        spoilt = self.population.settle(reached | exhausted, failed, limits)
        self.diverged[columns[failed]] = epoch + first_bad[failed] + 1
        self.trained[columns[failed]] = self.diverged[columns[failed]]
        self.diverged[columns[spoilt]] = epoch + count + 1
        self.stop[columns[reached]] = epoch + count
        self.exhausted[columns[exhausted & ~spoilt]] = epoch + count
        self.epochs += count
        return count

    def _reached(self, metrics: dict[str, np.ndarray], complete: bool) -> np.ndarray | None:
        """Who has come to the goal at the end of a complete interval; ``None`` for nobody."""
        if self.acc_goal is None or not complete:
            return None
        last = metrics["accuracy"][-1].reshape(-1)
        # A mean over batches may be rounded to just below the goal that it equals.
        reached = (last >= self.acc_goal - 16 * np.finfo(last.dtype).eps) & self.population.alive
        return reached if reached.any() else None

    def _keep(
        self,
        metrics: dict[str, np.ndarray],
        count: int,
        failed: np.ndarray | None = None,
        first_bad: np.ndarray | None = None,
    ) -> None:
        """Put the epochs of an interval on record; of members that failed, up to where they did."""
        if self.members is None:
            self.recorder.add({name: v[:count] for name, v in metrics.items()}, None)
            return
        alive, columns = self.population.alive, self.population.columns
        values = {name: v[:, alive] for name, v in metrics.items()}
        if failed is not None and first_bad is not None:
            behind = np.arange(count)[:, None] > first_bad[alive]
            for value in values.values():
                value[behind & failed[alive]] = np.nan
        self.recorder.add(values, columns[alive])

    # ---- the result

    def history(self) -> History:
        """The record up to now."""
        loss = self.recorder.get("loss")
        shape = (0,) if self.members is None else (0, self.members)

        def each(values: np.ndarray) -> Any:
            return int(values[0]) if self.members is None else values.copy()

        return History(
            loss=np.empty(shape) if loss is None else loss,
            accuracy=self.recorder.get("accuracy"),
            stop=each(self.stop),
            diverged=each(self.diverged),
            interrupted=self.interrupted,
            epochs=self.epochs,
            stopped=self.stopped,
            acc_goal=self.acc_goal,
            trained=each(self.trained),
            exhausted=each(self.exhausted),
            restored=self.restored,
            **({} if self.validation is None else self.validation.history()),
        )

    def model(self) -> Model:
        """The model as it is now: of members that left, as they left; at last, the best."""
        carry, step = self.population.gather(), self.step
        if self.restored and self.validation is not None:
            carry = self.validation.restored(carry)
        own = layer_state_in(step.network, carry) or None
        return Model(
            step.network,
            carry["theta"],
            step.loss,
            self.history(),
            state_in(carry),
            own,
            step.optimizer,
        )
