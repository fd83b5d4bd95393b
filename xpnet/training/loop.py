"""A run of `fit` under way: what is trained, what has been recorded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.history import History, Recorder
from xpnet.layers.base import Array
from xpnet.model import Model
from xpnet.training.batches import Batches
from xpnet.training.ensemble import Moment, Population
from xpnet.training.step import TrainingStep, state_in


@dataclass
class Interval:
    """A checking interval, kept until it is certain that nobody goes back into it.

    Attributes:
        start: the members at its beginning.
        drawn: how far the orders of the batches had been drawn.
        epochs: how many it was to have.
        steps: how many steps were done.
    """

    start: Moment
    drawn: Any
    epochs: int
    steps: int = 0


class TrainingLoop:
    """Trains a `Population` interval by interval and keeps the record.

    Args:
        backend: where it is trained.
        step: the step.
        population: who is trained.
        batches: on which samples.
        acc_goal: the accuracy at which a member is done, or ``None``.
        every_epoch: whether all epochs are recorded, or those of the checks alone.
    """

    def __init__(
        self,
        backend: backends.Backend,
        step: TrainingStep,
        population: Population,
        batches: Batches,
        acc_goal: float | None,
        every_epoch: bool,
    ) -> None:
        self.backend, self.step, self.population = backend, step, population
        self.batches, self.acc_goal = batches, acc_goal
        self.members = population.members
        self.recorder = Recorder(self.members, every_epoch)
        self.epochs = 0
        self.stop = np.zeros(self.members or 1, dtype=np.int64)
        self.diverged = np.zeros(self.members or 1, dtype=np.int64)
        self.interrupted = self.stopped = False
        self.recent: list[Interval] = []  # the last, and the one before it

    @property
    def training(self) -> bool:
        """Whether anybody is still trained."""
        return bool(self.population.alive.any())

    def computing(self) -> AbstractContextManager[Any]:
        """What to enter while an interval is trained."""
        members = None if self.members is None else self.population.block
        rows = self.batches.size or self.batches.samples
        return self.backend.context(self.step.network.extent(members, rows))

    def interval(self, n: int, epoch: int, interrupted: Callable[[], bool]) -> int:
        """Train ``n`` epochs behind ``epoch`` and record them; return how many count."""
        interval = Interval(self.population.snapshot(), self.batches.drawn(), n)
        metrics = self._train(interval, interrupted)
        if metrics is None:
            self.population.restore(interval.start)
            return 0
        self.recent = [*self.recent[-1:], interval]
        return self._record(metrics, epoch, complete=len(metrics["loss"]) == n)

    def finish(self) -> None:
        """Look once at the losses that the last update of all has left behind."""
        if self.recent and self.training:
            spoilt = self._spoilt(self.population.alive)
            self.diverged[self.population.columns[spoilt]] = self.epochs + 1
            self._go_back(spoilt)

    def _train(
        self, interval: Interval, interrupted: Callable[[], bool]
    ) -> dict[str, np.ndarray] | None:
        """Return the metrics of its epochs on the host, or ``None`` if none of them counts."""
        host = self.backend.to_host

        def run(
            n: int, order: Array | None, interrupted: Callable[[], bool]
        ) -> dict[str, Array] | None:
            metrics = self.population.run(n, order, interrupted)
            interval.steps += 0 if metrics is None else metrics["loss"].shape[0]
            return metrics

        if self.batches.size is None:
            metrics = run(interval.epochs, None, interrupted)
            # By names, not as they come: JAX sorts a dict.
            return metrics and {name: host(metrics[name]) for name in self._names(metrics)}
        parts: list[dict[str, Array]] = []
        for epochs, batch_rows in self.batches.batch_rows(interval.epochs):
            rows = []
            for order in batch_rows:
                metrics = run(order.shape[0], order, interrupted)
                if metrics is None:
                    break
                done, steps = metrics["loss"].shape[0], order.shape[0]
                if done < steps:
                    # Cut short: where batches run on through the epochs, whole ones are kept.
                    epochs, each = done * epochs // steps, steps // epochs
                    if len(batch_rows) > 1 or not epochs:
                        break
                    metrics = {name: v[: epochs * each, ...] for name, v in metrics.items()}
                rows.append(metrics)
            if len(rows) < len(batch_rows):
                break
            sizes = [order.shape[1] for order in batch_rows]
            parts.append(
                {name: self._mean(epochs, [r[name] for r in rows], sizes) for name in rows[0]}
            )
            if interrupted():
                break
        if not parts:
            return None
        return {
            name: host(self.backend.xp.concat([part[name] for part in parts], axis=0))
            for name in self._names(parts[0])
        }

    @staticmethod
    def _names(metrics: dict[str, Array]) -> list[str]:
        return sorted(metrics, key=lambda name: (name != "loss", name))

    def _mean(self, epochs: int, parts: list[Array], sizes: list[int]) -> Array:
        """The mean over the batches of each epoch, on the device."""
        xp, total = self.backend.xp, None
        for values, size in zip(parts, sizes, strict=True):
            steps = xp.reshape(values, (epochs, -1, *values.shape[1:]))
            share = xp.sum(steps, axis=1) * (size / self.batches.samples)
            total = share if total is None else total + share
        return total

    # ---- the check

    def _record(self, metrics: dict[str, np.ndarray], epoch: int, complete: bool) -> int:
        """Record an interval that began after ``epoch``; return how many of its epochs count."""
        loss = metrics["loss"].reshape(len(metrics["loss"]), -1)
        alive, count = self.population.alive, len(loss)
        reached, finite = self._reached(metrics, complete), np.isfinite(loss)
        # A parameter may be infinite where no loss is: behind a tanh, beside a feature of zeros.
        if reached is None and finite.all() and self.population.all_finite():
            self._keep(metrics, count)  # as nearly always
            self.epochs += count
            return count
        reached = np.zeros_like(alive) if reached is None else reached
        columns, bad = self.population.columns, ~finite & alive
        failed, first_bad = bad.any(axis=0), bad.argmax(axis=0)
        if failed.any():
            count = int(first_bad[0]) + 1 if self.members is None else count
            self._keep(metrics, count, failed, first_bad)
            self.diverged[columns[failed]] = epoch + first_bad[failed] + 1
            self._go_back(failed, (first_bad + 1) * self.batches.steps)
        else:
            self._keep(metrics, count)
        spoilt = ~self.population.finite() & alive & ~failed
        reached &= ~failed
        if (reached & ~spoilt).any():
            spoilt |= self._spoilt(reached & ~spoilt)
        self.diverged[columns[spoilt]] = epoch + count + 1
        self._go_back(spoilt)
        self.stop[columns[reached]] = epoch + count
        self.population.leave(reached & ~spoilt)
        self.population.compact()
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

    def _spoilt(self, which: np.ndarray) -> np.ndarray:
        """Those among ``which`` whose loss is not finite after the last update."""
        rows = np.flatnonzero(which)
        spoilt = ~self.population.finite() & which
        samples = self.batches.size or self.batches.samples
        spoilt[rows] |= ~np.isfinite(self.population.losses(rows, samples))
        return np.asarray(spoilt)

    def _go_back(self, which: np.ndarray, limits: np.ndarray | None = None) -> None:
        """Set members aside as they were when their loss was last finite.

        Args:
            which: those of the last interval that this is not true of at its end.
            limits: after how many steps of it at the latest that was so; all of them, if ``None``.
        """
        if not which.any():
            return
        population, missing = self.population, self.population.columns[which]
        known = None if limits is None else limits[which]
        for interval in reversed(self.recent):
            most = np.full(len(missing), interval.steps) if known is None else known
            with self.batches.again(interval.drawn, interval.epochs) as batch_rows:
                found = population.last_good(interval.start, missing, most, batch_rows)
            missing, known = missing[~found], None
            if not len(missing):
                break
        for block, rows, among in self.recent[0].start.holding(missing):  # as they were given
            population.put_aside(missing[among], [block.carry], rows)
        population.alive &= ~which

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
        stop, diverged = self.stop.copy(), self.diverged.copy()
        shape = (0,) if self.members is None else (0, self.members)
        return History(
            loss=np.empty(shape) if loss is None else loss,
            accuracy=self.recorder.get("accuracy"),
            stop=int(stop[0]) if self.members is None else stop,
            diverged=int(diverged[0]) if self.members is None else diverged,
            interrupted=self.interrupted,
            epochs=self.epochs,
            stopped=self.stopped,
            acc_goal=self.acc_goal,
        )

    def model(self) -> Model:
        """The model as it is now: of members that left, as they left."""
        carry, step = self.population.gather(), self.step
        return Model(step.network, carry["theta"], step.loss, self.history(), state_in(carry))
