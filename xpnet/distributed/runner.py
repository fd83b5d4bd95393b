"""How a step is done by several ranks: each its own samples' gradient, one sum, the same update."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.compiler.native.choice import Native
from xpnet.compiler.plain import Runner, never
from xpnet.compiler.program import Runs
from xpnet.compiler.replay import Replay, tell
from xpnet.distributed.halves import Called, Feed, Hand, Replayed, Slots, Turns
from xpnet.distributed.ranks import Ranks
from xpnet.distributed.room import Room, Shares
from xpnet.training.step import COUNT, KEY, SUMS, GradientStep, TrainingStep, UpdateStep
from xpnet.types import Array, Carry, Metrics


class RankRunner:
    """Runs a step with the samples of all ranks, of which each knows its own.

    Both halves are steps, run as the library runs steps; between them gradient and metrics, in one
    vector, are summed up, in place where that is where they lie.

    Args:
        backend: where it is computed.
        step: the step.
        ranks: with whom.
        native: whether machine code is asked for.
        threads: over how many threads the samples of this rank are spread.

    Attributes:
        reads: True: samples that are `Streamed` are read here.
    """

    reads = True

    def __init__(
        self,
        backend: backends.Backend,
        step: TrainingStep,
        ranks: Ranks,
        native: Native | None = None,
        threads: int = 1,
    ) -> None:
        self.backend, self.step, self.ranks = backend, step, ranks
        self.native, self.threads = native, threads
        self._parts = {one.name: getattr(step, one.name) for one in fields(TrainingStep)}
        self._buffers: dict[Any, Array] = {}
        self._threads: list[dict[Any, Array]] = [{} for _ in range(threads)]
        self._update = self._runner(UpdateStep(**self._parts), self._buffers)
        self._known: dict[Any, list[Hand]] = {}
        self._sums: dict[Any, Array] = {}
        self._room = Room(ranks)
        self._agreed = False
        self._varies = 0

    # ---- what is asked of a runner

    @property
    def varies(self) -> int:
        """As of a `Replay`."""
        return self._varies

    @varies.setter
    def varies(self, value: int) -> None:
        self._varies = value
        for runner in self._firsts():
            if isinstance(runner, Replay):
                runner.varies = value

    @property
    def is_native(self) -> bool:
        """Whether a half is machine code."""
        return any(getattr(one, "is_native", False) for one in (self._update, *self._firsts()))

    def go_on(self, native: bool) -> None:
        """Make machine code where another runner did, whose steps these go on from."""
        self.native = Native(always=True) if native else None
        for runner in (self._update, *self._firsts()):
            if hasattr(runner, "go_on"):
                runner.go_on(native)

    def _firsts(self) -> list[Runner]:
        """What runs the first half, of all forms."""
        return [hand.runner for hands in self._known.values() for hand in hands]

    def __call__(
        self,
        carry: Carry,
        data: Any,
        n: int,
        batch_rows: np.ndarray | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        if not self._agreed:
            self._agree(carry)
        shares = None if batch_rows is None else self._room.shares(batch_rows)
        samples = self.ranks.samples if batch_rows is None else batch_rows.shape[1]
        shape, dtype = self._form(carry)
        found = np.zeros((n, *shape[:-1], shape[-1] - self.step.network.size - 1), dtype)
        with ExitStack() as within:
            turns = self._turns(carry, Feed(data, shares, within), samples, within)
            self.ranks.exchange()  # from here on each next thing is the sum of a step
            for k in range(n):
                sums = self._summed(turns, k, shape, dtype, found)
                try:
                    turns.update(sums)
                except BaseException as error:
                    if k + 1 < n and not self.ranks.interrupted:  # what the others do next
                        self.ranks.sum_of_step(np.zeros(shape, dtype), error)
                    raise
                if self.ranks.interrupted:
                    break
            weighted = tuple(data)[2] is not None
            return {**carry, **turns.carry()}, self._metrics(found[: k + 1], samples, weighted)

    # ---- a step

    def _summed(
        self, turns: Turns, k: int, shape: tuple[int, ...], dtype: str, found: np.ndarray
    ) -> Array:
        """Gradient, metrics and how all are, of all ranks; the metrics are ``found``."""
        try:
            sums, size = turns.gradient(k), self.step.network.size
            # What programs have written the host has itself, and what is done to it is done there.
            there = isinstance(turns, Replayed)
            direct = not there and self.backend.in_place and self.ranks.comm.takes(sums)
            if direct:
                self.backend.mark(sums)()  # MPI knows of no queue
            else:
                host = self.backend.to_host(sums)
        except BaseException as failed:
            self.ranks.sum_of_step(np.zeros(shape, dtype), failed)
            raise
        if direct:
            tail = self.ranks.sum_there(sums, lambda all_: self.backend.to_host(all_[..., size:]))
            found[k] = tail[..., :-1]
            return sums
        if not there:
            host = np.array(host)
        self.ranks.sum_of_step(host)
        found[k] = host[..., size:-1]
        return sums if there else self.backend.asarray(host, dtype)

    def _form(self, carry: Carry) -> tuple[tuple[int, ...], str]:
        """Shape and dtype of what is summed up."""
        *lead, size = carry["theta"].shape
        metrics = 1 + bool(self.step.loss.classifies)
        return (*lead, size + metrics + 1), self.backend.dtype_name(carry["theta"])

    def _metrics(self, found: np.ndarray, samples: int, weighted: bool) -> Metrics:
        """The metrics of the steps, ``(steps, …)``, the accuracy that of counts."""
        dtype = str(found.dtype)
        metrics = {"loss": found[..., 0]}
        if self.step.loss.classifies:
            outputs = self.step.network.out_features or 1
            accuracy = found[..., 1]
            metrics["accuracy"] = accuracy if weighted else counted(accuracy, samples * outputs)
        return {name: self.backend.asarray(v, dtype) for name, v in metrics.items()}

    # ---- an interval

    def _turns(self, carry: Carry, feed: Feed, samples: int, within: ExitStack) -> Turns:
        """How its steps are done, of so many samples of all ranks."""
        own, rest = self._carries(carry)
        update = _program(self._update, {**rest, SUMS: own[SUMS]}, ())
        hands = self._hands(own, feed, samples, self.threads)
        found = [self._recorded(hand, own, feed, i) for i, hand in enumerate(hands)]
        programs = [one for one in found if one is not None]
        if update is None or len(programs) < len(hands):
            (hand,) = self._hands(own, feed, samples, 1)
            return Called(self.backend, hand, self._update, own, rest, feed)
        return Replayed(self.backend, hands, programs, update, own, rest, feed, within)

    def _carries(self, carry: Carry) -> tuple[Carry, Carry]:
        """What the first half carries, and what the second does."""
        form = shape, dtype = self._form(carry)
        if form not in self._sums:
            self._sums[form] = self.backend.asarray(np.zeros(shape), dtype)
        own = {k: v for k, v in carry.items() if k == "theta" or k.startswith("layers.")}
        if KEY in carry:
            own |= {KEY: carry[KEY], COUNT: carry[COUNT]}
        rest = {k: v for k, v in carry.items() if k == "theta" or k.startswith("optimizer.")}
        return {**own, SUMS: self._sums[form]}, rest

    def _hands(self, own: Carry, feed: Feed, samples: int, threads: int) -> list[Hand]:
        """Who does the first half, a thread each."""
        whole = feed.shares is None
        room = self.ranks.count if feed.shares is None else feed.shares.room
        key = samples, whole, room, threads
        if key not in self._known:
            others = (k for k in self._known if k[:2] == key[:2] and k[2] != room)
            for smaller in list(others):  # which is not asked for again
                del self._known[smaller]
            self._known[key] = found = []
            dtype = self.backend.dtype_name(own["theta"])
            for i, rows in enumerate(self.backend.spread(room, threads)):
                half = GradientStep(
                    **self._parts,
                    samples=samples,
                    first=self.ranks.first * whole + rows.start,
                    leads=self.ranks.rank == 0 and i == 0,
                )
                runner = self._runner(half, self._threads[i])
                if isinstance(runner, Replay):
                    runner.varies = self._varies
                count = rows.stop - rows.start
                found.append(Hand(runner, rows, room, self._slots(feed.shares, count, dtype)))
        return self._known[key]

    def _slots(self, shares: Shares | None, count: int, dtype: str) -> Slots | None:
        """Where programs that are recorded read which samples a step has."""
        if shares is None or self.backend.writer() is None:
            return None
        asarray, filled = self.backend.asarray, list[Array]()
        if shares.filled:
            filled = [asarray(np.ones(count), dtype), asarray(np.zeros(count), "int64")]
        return Slots(self.backend, asarray(np.zeros((1, count)), "int64"), tuple(filled))

    def _recorded(self, hand: Hand, own: Carry, feed: Feed, i: int) -> Runs | None:
        """The program of a thread."""
        # Parameters are those of the update, and so are the sums of one; all else, as a count of
        # steps that is an array, either half has for itself.
        names = ("theta", SUMS)[: 1 + (i == 0)]
        self._threads[i] |= {k: v for k, v in self._buffers.items() if k[0] in names}
        at = hand.slots
        data = *hand.data(feed.first()), *(at.filled if at else ())
        return _program(hand.runner, own, data, at and at.rows)

    def _runner(self, half: TrainingStep, buffers: dict[Any, Array]) -> Runner:
        runner = self.backend.runner(half, 1, self.native)
        if isinstance(runner, Replay):
            runner.buffers = buffers
        return runner

    def _agree(self, carry: Carry) -> None:
        """Have the second half as machine code on all ranks, or on none: its digits must be one."""
        own, rest = self._carries(carry)
        _program(self._update, {**rest, SUMS: own[SUMS]}, ())
        here = bool(getattr(self._update, "is_native", False))
        if self.ranks.exchange(here).all() or not here:
            self._agreed = True
            return
        self._update.go_on(False)  # type: ignore[attr-defined]
        self._update.programs.clear()  # type: ignore[attr-defined]
        if self.native is not None and self.native.always:
            why = "on another rank its second half cannot be"
            tell(self.step, f"A step is recorded, and not machine code, since {why}.")
        self._agreed = True


def _program(runner: Runner, carry: Carry, data: Any, rows: Any = None) -> Runs | None:
    """The program that runs these, if they are recorded."""
    if not isinstance(runner, Replay):
        return None
    program = runner.prepared(carry, data, rows)
    return program if isinstance(program, Runs) else None


def counted(accuracy: np.ndarray, count: int) -> np.ndarray:
    """What the accuracy is of a whole number of so many: that of parts may be rounded otherwise."""
    if count * 8 * np.finfo(accuracy.dtype).eps > 1:
        return accuracy
    with np.errstate(all="ignore"):
        hits: np.ndarray = np.rint(accuracy.astype(np.float64) * count).astype(accuracy.dtype)
        return np.asarray(hits / accuracy.dtype.type(count))
