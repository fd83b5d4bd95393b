"""`fit`: epochs, batches, checking intervals, stopping. The mathematics is elsewhere.

Training runs in checking intervals. Within one, nothing waits for the device; at its end the losses
and accuracies of its epochs come to the host in one go, and are looked at: has the goal been
reached, has a loss become NaN, did somebody press Ctrl-C?
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import _checks, backends
from xpnet.history import History, Recorder
from xpnet.initializers import RNG, generator
from xpnet.layers.base import Array
from xpnet.losses import Loss, prepare_weight
from xpnet.model import Model
from xpnet.network import Sequential, check_loss, check_samples
from xpnet.optimizers import Optimizer

Carry = tuple[Array, dict[str, Array]]
Data = tuple[Array, Array, Array | None]


@dataclass(frozen=True)
class TrainingStep:
    """The pure step: forward, loss and accuracy, backward, update, in this order.

    It compares by value, so that a runner which compiles it does so once for equal networks.
    """

    xp: Any
    network: Sequential
    loss: Loss
    optimizer: Optimizer

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, dict[str, Array]]:
        theta, state = carry
        x, target, weight = batch
        value, grad, output, _ = self.network.gradient(self.xp, theta, x, target, self.loss, weight)
        metrics = {"loss": value}
        if self.loss.classifies:
            metrics["accuracy"] = self.loss.accuracy(self.xp, output, target)
        return self.optimizer.step(self.xp, theta, grad, state), metrics

    def select(self, data: Data, rows: Array) -> Data:
        x, target, weight = data
        take = self.xp.take
        return (
            take(x, rows, axis=-2),
            take(target, rows, axis=-2),
            None if weight is None else take(weight, rows, axis=-2),
        )


class Callback:
    """What is told of a run at its checks. Each method may do nothing."""

    def start(self, run: Run) -> None:
        """Before the first epoch; raise here what would make the run worthless."""

    def check(self, run: Run) -> None:
        """After each checking interval; ``run.stop()`` ends the run."""

    def finish(self, run: Run) -> None:
        """After the last epoch, also when the run was interrupted or failed."""


class Run:
    """A training run as its callbacks see it.

    Attributes:
        network, x, y, loss: what is trained, on what.
        epochs: how many epochs were asked for.
        epoch: how many are done.
        seen: how many were done at the check before.
        acc_goal: the goal, or ``None``.
        members: the number of members, or ``None`` for a single network.
        history: the `History` up to now.
        model: the `Model` as it is now.
    """

    def __init__(self, fit: _Fit, epochs: int) -> None:
        self._fit = fit
        self.network, self.loss = fit.step.network, fit.step.loss
        self.x, self.y = fit.x, fit.y
        self.acc_goal, self.members = fit.acc_goal, fit.members
        self.epochs = epochs
        self.epoch = self.seen = 0
        self.stopping = False

    def stop(self) -> None:
        """End the run after this check."""
        self.stopping = True

    @property
    def history(self) -> History:
        return self._fit.history()

    @property
    def model(self) -> Model:
        return self._fit.model()


def fit(
    network: Sequential,
    x: Array,
    y: Array,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    seed: Any = None,
    theta: Array | None = None,
    state: dict[str, Array] | None = None,
    members: int | None = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    shuffle_seed: int | RNG = 0,
    sample_weight: Array | None = None,
    acc_goal: float | None = None,
    epoch_checking: int = 100,
    callbacks: Iterable[Callback] = (),
) -> Model:
    """Train a network, or an ensemble of networks, where the data lies.

    Every epoch: forward, loss and accuracy, backward, update. The loss and accuracy of an epoch
    are those before its update; with batches, the mean of its batches. Ctrl-C ends the run at the
    end of the step in hand and keeps everything so far; a second one aborts.

    Args:
        network: the `Sequential` to train.
        x: ``(samples, features)`` of float32 or float64, or ``(members, samples, features)``.
        y: the targets, as the loss wants them, ``(samples, outputs)`` for most; may have members.
        loss: the loss.
        optimizer: the optimizer; arrays ``(members, 1)`` of hyperparameters go to the members.
        epochs: how many epochs at most.
        seed: seeds the initial parameters, as `Sequential.init` says.
        theta: initial parameters instead of ``seed``; not changed.
        state: the optimizer's state to go on from (``model.state``); not changed.
        members: how many networks to train at once; ``None`` for a single one.
        batch_size: how many samples a step takes; ``None`` for all.
        shuffle: whether batches are drawn in a new order every epoch.
        shuffle_seed: seeds that order; the members of an ensemble share it.
        sample_weight: ``(samples,)`` or ``(members, samples)``, at least 0.
        acc_goal: stop at this accuracy, above 0 and up to 1; each member by itself.
        epoch_checking: how many epochs lie between two looks at the goal.
        callbacks: told of the run at every check.

    Returns:
        The `Model`, with its `History`. If the loss became NaN or infinite, training stopped there
        (``history.diverged``) and ``theta`` is that of the check before.

    Raises:
        TypeError, ValueError: if an argument is not as described; before anything is trained.
    """
    if not isinstance(network, Sequential):
        raise TypeError(f"network must be a Sequential, not {network!r}.")
    check_loss(loss)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an optimizer such as Adam(), not {optimizer!r}.")
    epochs = _checks.whole("epochs", epochs)
    epoch_checking = _checks.whole("epoch_checking", epoch_checking)
    if acc_goal is not None:
        acc_goal = _checks.number("acc_goal", acc_goal, above=0, most=1)
        if not loss.classifies:
            raise ValueError(
                f"acc_goal must be None for {loss!r}, which has no accuracy, not {acc_goal!r}."
            )
    if members is not None:
        members = _checks.whole("members", members)
    elif theta is not None and len(getattr(theta, "shape", ())) == 2:
        members = int(theta.shape[0])
    backend = backends.of(x, y, sample_weight, names=("x", "y", "sample_weight"))
    check_samples(backend, x, network.in_features)
    if seed is not None and theta is not None:
        raise ValueError("seed must be None where theta is given, since nothing is drawn then.")

    with backend.context():
        fresh = network.init(seed, like=x, members=members) if theta is None else theta
        network._check(fresh, x, None, None)
        if members is not None and tuple(fresh.shape[:-1]) != (members,):
            raise ValueError(
                f"members must be as in theta of shape {tuple(fresh.shape)}, not {members}."
            )
        data = _prepare(backend, network, loss, fresh, x, y, sample_weight)
        moments = optimizer.init(fresh) if state is None else optimizer.resume(fresh, state)
        first: Carry = (fresh, moments)
        batches = _Batches(backend, int(x.shape[-2]), batch_size, shuffle, shuffle_seed)
        step = TrainingStep(backend.xp, network, loss, optimizer)
        job = _Fit(backend, step, x, y, data, batches, _copy(backend.xp, first), acc_goal, members)
        run = Run(job, epochs)
        told = list(callbacks)
        started: list[Callback] = []
        try:
            for callback in told:
                callback.start(run)
                started.append(callback)
            job.train(run, epoch_checking, told)
        finally:
            for callback in started:
                callback.finish(run)
        return job.model()


def _prepare(
    backend: backends.Backend,
    network: Sequential,
    loss: Loss,
    theta: Array,
    x: Array,
    y: Array,
    sample_weight: Array | None,
) -> Data:
    """The data as a step wants it; looks at all values once."""
    xp = backend.xp
    shape = (*theta.shape[:-1], x.shape[-2], network.out_features or x.shape[-1])
    target = loss.prepare(backend, shape, y, theta.dtype)
    weight = prepare_weight(backend, sample_weight, shape, theta.dtype)
    for name, array in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        floating = array is not None and xp.isdtype(array.dtype, "real floating")
        if floating and not bool(xp.all(xp.isfinite(array))):
            raise ValueError(f"{name} must hold finite numbers, but has NaN or infinity.")
    loss.check_values(backend, shape, y)
    if weight is not None:
        if bool(xp.any(weight < 0)):
            raise ValueError("sample_weight must be at least 0 everywhere.")
        if not bool(xp.all(xp.sum(weight, axis=-2) > 0)):
            raise ValueError("sample_weight must be above 0 for at least one sample.")
    return x, target, weight


def _copy(xp: Any, carry: Carry) -> Carry:
    theta, state = carry
    return xp.asarray(theta, copy=True), {k: xp.asarray(v, copy=True) for k, v in state.items()}


class _Batches:
    """The samples of each step: all of them, or shuffled rows drawn on the host and moved."""

    LIMIT = 1 << 20
    """How many row numbers go to the device at once."""

    def __init__(
        self,
        backend: backends.Backend,
        samples: int,
        batch_size: int | None,
        shuffle: bool,
        seed: int | RNG,
    ) -> None:
        if batch_size is not None and _checks.whole("batch_size", batch_size) > samples:
            raise ValueError(
                f"batch_size must be at most the {samples} samples of x, not {batch_size}."
            )
        self.backend, self.samples, self.size = backend, samples, batch_size
        self.shuffle, self.rng = shuffle, generator(seed, "shuffle_seed")

    def orders(self, epochs: int) -> Iterator[tuple[int, list[Array]]]:
        """Yield ``(epochs, rows)``: arrays of ``(steps, batch)`` that these epochs run through."""
        assert self.size is not None
        whole, rest = divmod(self.samples, self.size)
        # Batches of one size run on through the epochs; an odd one at the end breaks the run.
        together = 1 if rest else max(1, self.LIMIT // self.samples)
        while epochs > 0:
            n = min(together, epochs)
            order = np.tile(np.arange(self.samples), (n, 1))
            if self.shuffle:
                for row in order:
                    self.rng.shuffle(row)
            full = order[:, : whole * self.size].reshape(n * whole, self.size)
            rows = [full] if not rest else [full, order[:, whole * self.size :]]
            yield n, [self.backend.asarray(part, "int64") for part in rows]
            epochs -= n


class _Fit:
    """A run of `fit`: what is still trained, what has been recorded."""

    def __init__(
        self,
        backend: backends.Backend,
        step: TrainingStep,
        x: Array,
        y: Array,
        data: Data,
        batches: _Batches,
        carry: Carry,
        acc_goal: float | None,
        members: int | None,
    ) -> None:
        self.backend, self.step, self.batches = backend, step, batches
        self.x, self.y, self.data, self.carry = x, y, data, carry
        self.run = backend.runner(step)
        self.acc_goal, self.members = acc_goal, members
        self.recorder = Recorder(members)
        count = members or 1
        self.columns = np.arange(count)  # the members in the batch
        self.alive = np.ones(count, dtype=bool)  # those of them that are still trained
        self.stop = np.zeros(count, dtype=np.int64)
        self.diverged = np.zeros(count, dtype=np.int64)
        self.left: list[tuple[np.ndarray, Carry]] = []
        self.interrupted = False

    # ---- the run

    def train(self, run: Run, epoch_checking: int, callbacks: list[Callback]) -> None:
        with _interrupts() as interrupted:
            while run.epoch < run.epochs and self.alive.any() and not run.stopping:
                before = _copy(self.backend.xp, self.carry)
                n = min(epoch_checking, run.epochs - run.epoch)
                metrics = self._epochs(n, interrupted)
                run.seen, done = run.epoch, len(metrics["loss"])
                self.interrupted = interrupted()
                if done:
                    run.epoch += self._record(metrics, run.epoch, before, complete=done == n)
                    for callback in callbacks:
                        callback.check(run)
                self.interrupted |= run.stopping
                if self.interrupted:
                    break
                self._compact()

    def _epochs(self, n: int, interrupted: Callable[[], bool]) -> dict[str, np.ndarray]:
        """Train ``n`` epochs; return their metrics on the host, ``(epochs, …)``."""
        run, host = self.run, self.backend.to_host
        if self.batches.size is None:
            self.carry, metrics = run(self.carry, self.data, n, None, interrupted)
            return {name: host(values) for name, values in metrics.items()}
        parts: list[dict[str, Array]] = []
        for epochs, orders in self.batches.orders(n):
            rows, sizes = [], []
            for order in orders:
                self.carry, metrics = run(
                    self.carry, self.data, order.shape[0], order, interrupted
                )
                rows.append(metrics)
                sizes.append(order.shape[1])
                if interrupted():
                    break
            complete = len(rows) == len(orders) and all(
                row["loss"].shape[0] == order.shape[0]
                for row, order in zip(rows, orders, strict=True)
            )
            if complete:
                parts.append(
                    {name: self._mean(epochs, [r[name] for r in rows], sizes) for name in rows[0]}
                )
            if interrupted():
                break
        if not parts:
            return {"loss": np.empty(0)}
        return {
            name: host(self.backend.xp.concat([part[name] for part in parts], axis=0))
            for name in parts[0]
        }

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
        self, metrics: dict[str, np.ndarray], epoch: int, before: Carry, complete: bool
    ) -> int:
        """Record an interval that began after ``epoch``; return how many of its epochs count."""
        loss = metrics["loss"].reshape(len(metrics["loss"]), -1)
        bad = ~np.isfinite(loss)
        failed = bad.any(axis=0) & self.alive
        reached = np.zeros_like(failed)
        if self.acc_goal is not None and complete:
            last = metrics["accuracy"].reshape(len(loss), -1)[-1]
            # A mean over batches may be rounded to just below the goal that it equals.
            slack = 16 * np.finfo(last.dtype).eps
            reached = (last >= self.acc_goal - slack) & self.alive & ~failed
        first_bad = bad.argmax(axis=0)
        count = int(first_bad[0]) + 1 if self.members is None and failed[0] else len(loss)
        if self.members is None:
            self.recorder.add({k: v[:count] for k, v in metrics.items()}, None)
        else:
            values = {k: v.copy() for k, v in metrics.items()}
            for column in np.flatnonzero(failed):
                for value in values.values():
                    value[first_bad[column] + 1 :, column] = np.nan
            kept = {k: v[:, self.alive] for k, v in values.items()}
            self.recorder.add(kept, self.columns[self.alive])
        self.stop[self.columns[reached]] = epoch + count
        self.diverged[self.columns[failed]] = epoch + first_bad[failed] + 1
        self._leave(reached, self.carry)
        self._leave(failed, before)
        self.alive &= ~(reached | failed)
        return count

    def _leave(self, which: np.ndarray, carry: Carry) -> None:
        """Set aside the parameters and state with which members leave."""
        if which.any():
            rows = np.flatnonzero(which)
            self.left.append((self.columns[rows], self._rows(carry, rows)))

    def _compact(self) -> None:
        """Go on with those members alone that are still trained, once that is worth it."""
        gone = 1 - self.alive.mean()
        # A new shape is a new program where steps are compiled, and nothing elsewhere.
        if self.members is None or gone == 1 or gone < (0.05 if self.backend.eager else 0.5):
            return
        rows = np.flatnonzero(self.alive)
        self.carry = self._rows(self.carry, rows)
        index = self.backend.asarray(rows, "int64")
        take = self.backend.xp.take
        x, target, weight = self.data
        self.data = (
            take(x, index, axis=0) if len(x.shape) == 3 else x,
            take(target, index, axis=0) if len(target.shape) == 3 else target,
            weight if weight is None or len(weight.shape) < 3 else take(weight, index, axis=0),
        )
        self.columns = self.columns[rows]
        self.alive = np.ones(len(rows), dtype=bool)

    def _rows(self, carry: Carry, rows: np.ndarray) -> Carry:
        if self.members is None:
            return _copy(self.backend.xp, carry)
        theta, state = carry
        index = self.backend.asarray(rows, "int64")
        take = self.backend.xp.take
        return take(theta, index, axis=0), {
            name: take(array, index, axis=0) if len(array.shape) == 2 else array
            for name, array in state.items()
        }

    # ---- the result

    def history(self) -> History:
        loss = self.recorder.get("loss")
        stop, diverged = self.stop.copy(), self.diverged.copy()
        shape = (0,) if self.members is None else (0, self.members)
        return History(
            loss=np.empty(shape) if loss is None else loss,
            accuracy=self.recorder.get("accuracy"),
            stop=int(stop[0]) if self.members is None else stop,
            diverged=int(diverged[0]) if self.members is None else diverged,
            interrupted=self.interrupted,
        )

    def model(self) -> Model:
        theta, state = self._members()
        step = self.step
        return Model(step.network, theta, step.loss, self.history(), state)

    def _members(self) -> Carry:
        """The parameters and state of all members, in their order."""
        if self.members is None:
            return _copy(self.backend.xp, self.left[0][1] if self.left else self.carry)
        rows = np.flatnonzero(self.alive)
        parts = [*self.left, (self.columns[rows], self._rows(self.carry, rows))]
        parts = [(columns, carry) for columns, carry in parts if len(columns)]
        xp = self.backend.xp
        order = np.argsort(np.concatenate([columns for columns, _ in parts]))
        index = self.backend.asarray(order, "int64")

        def join(arrays: list[Array]) -> Array:
            # A counter is shared by the members: the latest is that of the last to leave.
            if len(arrays[0].shape) != 2:
                return arrays[-1]
            return xp.take(xp.concat(arrays, axis=0), index, axis=0)

        states = [carry[1] for _, carry in parts]
        return join([carry[0] for _, carry in parts]), {
            name: join([state[name] for state in states]) for name in states[0]
        }


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into an answer that is asked for between steps.

    The second one aborts as ever. Only the main thread hears signals; elsewhere nothing changes.
    """
    pressed = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    old = signal.getsignal(signal.SIGINT) if main else None
    if old is not signal.default_int_handler:
        # Not ours to take: another thread, or a program that handles Ctrl-C in its own way.
        yield pressed.is_set
        return

    def press(number: int, frame: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
