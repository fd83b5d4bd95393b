"""How a step is done by several ranks: each its own samples' gradient, one sum, the same update."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.compiler.plain import Runner, never
from xpnet.compiler.replay import Buffers, Replay
from xpnet.distributed.ranks import Ranks
from xpnet.training.step import (
    COUNT,
    KEY,
    PLACES,
    REAL,
    SUMS,
    GradientStep,
    TrainingStep,
    UpdateStep,
)
from xpnet.types import Array, Carry, Data, Metrics


class RankRunner:
    """Runs a step with the samples of all ranks, of which each knows its own.

    Both halves are steps, run as the library runs steps; between them gradient and metrics, in one
    vector, are summed up on the host, in place where that is where they lie.

    Args:
        backend: where it is computed.
        step: the step.
        ranks: with whom.
    """

    def __init__(self, backend: backends.Backend, step: TrainingStep, ranks: Ranks) -> None:
        self.backend, self.step, self.ranks = backend, step, ranks
        self._write = backend.writer()
        self._buffers: dict[Any, Array] = {}
        self._parts = {one.name: getattr(step, one.name) for one in fields(TrainingStep)}
        self._update = self._runner(UpdateStep(**self._parts))
        self._gradients: dict[int, Runner] = {}
        self._room = _Room(ranks)
        self._sums: dict[tuple[int, ...], Array] = {}
        self._varies = 0

    @property
    def varies(self) -> int:
        """As of a `Replay`."""
        return self._varies

    @varies.setter
    def varies(self, value: int) -> None:
        self._varies = value
        for runner in self._gradients.values():
            if isinstance(runner, Replay):
                runner.varies = value

    def __call__(
        self,
        carry: Carry,
        data: Data,
        n: int,
        batch_rows: np.ndarray | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        self.ranks.exchange()  # from here on each next thing is the sum of a step
        if batch_rows is not None:
            self._room.make_room(batch_rows)
        found: list[np.ndarray] = []
        for k in range(n):
            rows = None if batch_rows is None else batch_rows[k]
            sums = self._summed(carry, data, rows)
            try:
                size = self.step.network.size
                found.append(np.array(self.backend.to_host(sums)[..., size:-1]))
                carry = self._updated(carry, sums)
            except BaseException as error:
                if k + 1 < n and not self.ranks.interrupted:  # what the others do next
                    self.ranks.sum_of_step(np.zeros(*self._form(carry)), error)
                raise
            if self.ranks.interrupted:
                break
        samples = self.ranks.samples if batch_rows is None else batch_rows.shape[1]
        return carry, self._metrics(np.stack(found), samples, weighted=data[2] is not None)

    # ---- a step

    def _summed(self, carry: Carry, data: Data, rows: np.ndarray | None) -> Array:
        """Gradient, metrics and how all are, of all ranks."""
        shape, dtype = self._form(carry)
        error: BaseException | None = None
        try:
            sums = self._own_sums(carry, data, rows)
            host = self.backend.to_host(sums)
        except BaseException as failed:
            error, host = failed, np.zeros(shape, dtype)
        # Where steps are recorded, the host has the array itself: what is done to it is done there.
        there = self._write is not None and error is None
        if not there:
            host = np.array(host)
        self.ranks.sum_of_step(host, error)
        return sums if there else self.backend.asarray(host, dtype)

    def _own_sums(self, carry: Carry, data: Data, rows: np.ndarray | None) -> Array:
        """What this rank adds."""
        ranks, asarray = self.ranks, self.backend.asarray
        shape, dtype = self._form(carry)
        if shape not in self._sums:
            self._sums[shape] = asarray(np.zeros(shape), dtype)
        kept = [k for k in carry if k == "theta" or k.startswith("layers.")]
        if KEY in carry:
            kept += [KEY, COUNT]
        own = {SUMS: self._sums[shape], **{name: carry[name] for name in kept}}
        index = None
        if rows is not None:
            index, filled = self._room.rows(rows, noise=KEY in carry)
            own |= {
                name: asarray(values, dtype if name == REAL else "int64")
                for name, values in filled.items()
            }
            index = asarray(index, "int64")
        runner = self._gradient(ranks.samples if rows is None else len(rows), rows is None)
        after, _ = runner(own, data, 1, index)
        self._sums[shape] = after[SUMS]
        return after[SUMS]

    def _updated(self, carry: Carry, sums: Array) -> Carry:
        """What goes on to the next step."""
        own = {k: v for k, v in carry.items() if k == "theta" or k.startswith("optimizer.")}
        after, _ = self._update({**own, SUMS: sums}, (), 1)
        return {name: after.get(name, array) for name, array in carry.items()}

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

    # ---- programs

    def _gradient(self, samples: int, whole: bool) -> Runner:
        """What runs the first half, of so many samples in a step."""
        if samples not in self._gradients:
            first = self.ranks.first if whole else 0
            leads = self.ranks.rank == 0
            half = GradientStep(**self._parts, samples=samples, first=first, leads=leads)
            self._gradients[samples] = self._runner(half)
            self.varies = self._varies
        return self._gradients[samples]

    def _runner(self, half: TrainingStep) -> Runner:
        if self._write is None:
            return self.backend.runner(half, 1)
        return _Sharing(self.backend.xp, half, self._write, self._buffers)


class _Room:
    """Which samples of a batch are a rank's, and how many its programs have room for.

    Args:
        ranks: the ranks, of which this is one.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self._sizes: dict[int, int] = {}

    def make_room(self, batch_rows: np.ndarray) -> None:
        """See to it that programs take as many samples as this rank has in any of these steps.

        All batches are filled up to one size, which all but a few need not grow.
        """
        ranks, size = self.ranks, batch_rows.shape[1]
        part = ranks.count / ranks.samples
        spread = math.sqrt(size * part * (1 - part))
        least = self._sizes.get(size, round(size * part + 3 * spread))
        first = ranks.first
        own = (batch_rows >= first) & (batch_rows < first + ranks.count)
        most = max(least, int(np.count_nonzero(own, axis=1).max()))
        self._sizes[size] = min(-(-most // 8) * 8, size, ranks.count)

    def rows(self, rows: np.ndarray, noise: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The numbers of this rank's samples in a batch, ``(1, room)``, and what fills them up."""
        ranks, room = self.ranks, self._sizes[len(rows)]
        if ranks.size == 1:
            return rows[None], {}
        places = np.flatnonzero((rows >= ranks.first) & (rows < ranks.first + ranks.count))
        here, index = len(places), np.zeros(room, np.int64)
        index[:here] = rows[places] - ranks.first
        index[here:] = index[0]  # of the batch, if any is
        filled = {REAL: np.arange(room) < here}
        if noise:
            filled[PLACES] = np.pad(places, (0, room - here))
        return index[None], filled


class _Sharing(Replay):
    """Its programs have the buffers of what they carry in common with those of others.

    Args:
        xp, step, write: as of a `Replay`.
        buffers: those buffers, by name and form.
    """

    KEPT = 8

    def __init__(
        self, xp: Any, step: TrainingStep, write: Callable[..., Any], buffers: dict[Any, Array]
    ) -> None:
        super().__init__(xp, step, write)
        self.buffers = buffers

    def _shared(self, carry: Carry, data: Data) -> Buffers:
        found = {name: self.buffers.get(_form(name, array)) for name, array in carry.items()}
        return {name: buffer for name, buffer in found.items() if buffer is not None}

    def make(self, carry: Carry, data: Data, batch_rows: Array | None, given: Buffers) -> Any:
        program = super().make(carry, data, batch_rows, given)
        for name, buffer in program.carry.items():
            self.buffers.setdefault(_form(name, buffer), buffer)
        return program


def _form(name: str, array: Array) -> Any:
    return name, tuple(array.shape), array.dtype


def counted(accuracy: np.ndarray, count: int) -> np.ndarray:
    """What the accuracy is of a whole number of so many: that of parts may be rounded otherwise."""
    if count * 8 * np.finfo(accuracy.dtype).eps > 1:
        return accuracy
    with np.errstate(all="ignore"):
        hits: np.ndarray = np.rint(accuracy.astype(np.float64) * count).astype(accuracy.dtype)
        return np.asarray(hits / accuracy.dtype.type(count))
