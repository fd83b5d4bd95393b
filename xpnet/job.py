"""A run of `fit` under way: what is trained, what has been recorded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.batches import Batches
from xpnet.history import History, Recorder
from xpnet.layers.base import Array
from xpnet.model import Model
from xpnet.population import Population
from xpnet.step import Carry, TrainingStep


class Job:
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
        self.interrupted = False

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
        before = self.population.snapshot()
        metrics = self._train(n, interrupted)
        if metrics is None:
            self.population.restore(before)
            return 0
        return self._record(metrics, epoch, before, complete=len(metrics["loss"]) == n)

    def _train(self, n: int, interrupted: Callable[[], bool]) -> dict[str, np.ndarray] | None:
        """Return the metrics of ``n`` epochs on the host, or ``None`` if none of them counts."""
        run, host = self.population.run, self.backend.to_host
        if self.batches.size is None:
            metrics = run(n, None, interrupted)
            # By names, not as they come: JAX sorts a dict.
            return metrics and {name: host(metrics[name]) for name in self._names(metrics)}
        parts: list[dict[str, Array]] = []
        for epochs, orders in self.batches.orders(n):
            rows = []
            for order in orders:
                metrics = run(order.shape[0], order, interrupted)
                if metrics is None:
                    break
                done, steps = metrics["loss"].shape[0], order.shape[0]
                if done < steps:
                    # Cut short: where batches run on through the epochs, whole ones are kept.
                    epochs, each = done * epochs // steps, steps // epochs
                    if len(orders) > 1 or not epochs:
                        break
                    metrics = {name: v[: epochs * each, ...] for name, v in metrics.items()}
                rows.append(metrics)
            if len(rows) < len(orders):
                break
            sizes = [order.shape[1] for order in orders]
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

    def _record(
        self, metrics: dict[str, np.ndarray], epoch: int, before: list[Carry], complete: bool
    ) -> int:
        """Record an interval that began after ``epoch``; return how many of its epochs count."""
        loss = metrics["loss"].reshape(len(metrics["loss"]), -1)
        alive, columns = self.population.alive, self.population.columns
        reached = np.zeros_like(alive)
        if self.acc_goal is not None and complete:
            last = metrics["accuracy"][-1].reshape(-1)
            # A mean over batches may be rounded to just below the goal that it equals.
            reached = (last >= self.acc_goal - 16 * np.finfo(last.dtype).eps) & alive
        bad = None if np.isfinite(loss).all() else ~np.isfinite(loss) & alive
        count = len(loss)
        if bad is not None and bad.any():
            failed, first_bad = bad.any(axis=0), bad.argmax(axis=0)
            count = int(first_bad[0]) + 1 if self.members is None else count
            self._keep(metrics, count, failed, first_bad)
            self.diverged[columns[failed]] = epoch + first_bad[failed] + 1
            self.population.leave(failed, before)
            reached &= ~failed
        else:
            self._keep(metrics, count)
        if reached.any():
            self.stop[columns[reached]] = epoch + count
            self.population.leave(reached)
        self.population.close_ranks()
        self.epochs += count
        return count

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
        )

    def model(self) -> Model:
        """The model as it is now: of members that left, as they left."""
        theta, state = self.population.everyone()
        step = self.step
        return Model(step.network, theta, step.loss, self.history(), state)
