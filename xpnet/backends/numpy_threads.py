"""A large step on NumPy, split over threads.

NumPy computes everything but matrix products on one core, and releases the interpreter's lock while
it does. So each thread takes a share of the batch through forward and backward, with BLAS held to
one thread, and then a share of the parameters through the optimizer, for which it adds up its part
of all gradients. The shares are the same every time, and so is every digit for a number of threads.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet.backends.base import Carry, Data, Metrics, cores
from xpnet.backends.held import Held
from xpnet.backends.numpy_program import NumPyProgram
from xpnet.backends.program import elementwise
from xpnet.backends.tape import Untraceable, record

WORTH = 1 << 26
"""From how many multiplications a step on, splitting it is faster than waiting for one another."""


BLOCK_BYTES = 1 << 20
"""How much of each array a block of the update holds.

Smaller ones would stay in a core's cache, but every call takes Python's lock for a moment, and
threads that find it taken sleep for longer than the cache saves.
"""


def threads_for(carry: Carry, batch: int, wanted: int | None) -> int:
    """How many threads a step is split over; 1 for an ensemble, which has its own way."""
    theta = carry[0]
    missing = importlib.util.find_spec("threadpoolctl") is None
    if theta.ndim > 1 or missing or (wanted is None and batch * theta.size < WORTH):
        return 1
    return min(wanted or cores(), batch)


def _hold_blas() -> Callable[[], None]:
    limits = importlib.import_module("threadpoolctl").threadpool_limits(1, user_api="blas")
    return lambda: limits.restore_original_limits()


ONE_BLAS_THREAD = Held(_hold_blas)
"""While it is entered, BLAS computes on the thread that calls it."""


@dataclass(frozen=True)
class _Share:
    """A loss on a part of the batch, as what it adds to the mean over all of it."""

    loss: Any
    share: float

    def forward(self, xp: Any, output: Any, target: Any, weight: Any) -> Any:
        value, backprop = self.loss.forward(xp, output, target, weight)
        return value * self.share, lambda: backprop() * self.share

    def accuracy(self, xp: Any, output: Any, target: Any) -> Any:
        return self.loss.accuracy(xp, output, target) * self.share

    @property
    def classifies(self) -> bool:
        return bool(self.loss.classifies)


@dataclass(frozen=True)
class _Gradient:
    """The first half of a step as a step of its own, whose state is the gradient."""

    step: Any
    xp: Any
    share: float

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, Metrics]:
        theta, _ = carry
        inner = replace(self.step, xp=self.xp, loss=_Share(self.step.loss, self.share))
        grad, metrics = inner.gradient(theta, batch)
        return (theta, {"grad": grad}), metrics

    def select(self, data: Data, rows: Any) -> Data:
        chosen: Data = replace(self.step, xp=self.xp).select(data, rows)
        return chosen


@dataclass(frozen=True)
class _Update:
    """The second half, from the gradients of all shares of the batch."""

    step: Any
    xp: Any

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, Metrics]:
        grad = batch[0]
        for part in batch[1:]:
            grad = grad + part
        return replace(self.step, xp=self.xp).update(carry, grad), {}


class ThreadedProgram:
    """A step on several threads, for one set of shapes.

    Raises:
        Untraceable: if the step cannot be recorded, or its update looks beyond single parameters.
    """

    def __init__(
        self, step: Any, carry: Carry, data: Data, orders: np.ndarray | None, threads: int
    ) -> None:
        theta, state = carry
        if not getattr(step, "splits", False):
            raise Untraceable("a step that is more than a mean over independent samples")
        if data[2] is not None:
            raise Untraceable("the shares of a weighted mean depend on the weights")
        if any(v.shape not in ((), theta.shape) for v in state.values()):
            raise Untraceable("a state that does not go with the parameters")
        self.theta = np.array(theta)
        samples = data[0].shape[-2] if orders is None else orders.shape[1]
        edges = [samples * i // threads for i in range(threads + 1)]
        self.rows = [slice(a, b) for a, b in itertools.pairwise(edges)]
        self.gradients = []
        for rows in self.rows:
            part = (
                data
                if orders is not None
                else tuple(None if a is None else a[..., rows, :] for a in data)
            )
            first = None if orders is None else orders[0, rows]
            half = _Gradient(step, np, (rows.stop - rows.start) / samples)
            recording = record(half, np, (theta, {"grad": theta}), part, first)
            self.gradients.append(NumPyProgram(recording, {"theta": self.theta}))
        # Edges at whole cache lines, so that no two threads write into one.
        cuts = [theta.size * i // threads // 64 * 64 for i in range(threads)] + [theta.size]
        self.updates = []
        for a, b in itertools.pairwise(cuts):
            piece = theta[a:b], {k: v[a:b] if v.ndim else v for k, v in state.items()}
            parts = tuple(p.carry["grad"][a:b] for p in self.gradients)
            recording = record(_Update(step, np), np, piece, parts, constant=False)
            if not all(n.host or elementwise(n) for n in recording.nodes):
                raise Untraceable("an update that looks beyond single parameters")
            program = NumPyProgram(recording, {"theta": self.theta[a:b]}, BLOCK_BYTES)
            self.updates.append(program)
        self.cuts = [slice(a, b) for a, b in itertools.pairwise(cuts)]

    def run(
        self, carry: Carry, n: int, orders: np.ndarray | None, interrupted: Callable[[], bool]
    ) -> tuple[Carry, Metrics]:
        """Run ``n`` steps, as `Program.run` does."""
        theta, state = carry
        if theta is not self.theta:
            np.copyto(self.theta, theta)
        count = len(self.rows)
        barrier = threading.Barrier(count)
        metrics: list[list[Metrics]] = [[] for _ in range(count)]
        states: list[Any] = [
            {k: v[cut] if v.ndim else v for k, v in state.items()} for cut in self.cuts
        ]
        stop = threading.Event()

        def work(i: int) -> None:
            try:
                with np.errstate(all="ignore"):
                    for k in range(n):
                        gradient, update = self.gradients[i], self.updates[i]
                        rows = None if orders is None else orders[k : k + 1, self.rows[i]]
                        mine = self.theta, {"grad": gradient.carry["grad"]}
                        metrics[i].append(gradient.run(mine, 1, rows, _never)[1])
                        barrier.wait()
                        piece = update.carry["theta"], states[i]
                        (_, states[i]), _ = update.run(piece, 1, None, _never)
                        if i == 0 and interrupted():
                            stop.set()
                        barrier.wait()
                        if stop.is_set():
                            break
            except threading.BrokenBarrierError:
                pass
            except BaseException:
                barrier.abort()  # nobody waits for a thread that has failed
                raise

        with ONE_BLAS_THREAD, ThreadPoolExecutor(count - 1) as pool:
            others = [pool.submit(work, i) for i in range(1, count)]
            work(0)
            for other in others:
                other.result()
        after = {
            k: np.concatenate([part[k] for part in states]) if v.ndim else states[0][k]
            for k, v in state.items()
        }
        mixed = {
            name: sum(np.concatenate([row[name] for row in rows]) for rows in metrics)
            for name in metrics[0][0]
        }
        return (self.theta, after), mixed


def _never() -> bool:
    return False
