"""A large step on NumPy, split over threads.

NumPy computes everything but matrix products on one core, and releases the interpreter's lock while
it does. So each thread takes a share of the batch through forward and backward, with BLAS held to
one thread, and then a share of the parameters through the optimizer (`update.py`), for which it
adds up its part of all gradients. The shares are the same every time, and so is every digit for a
number of threads.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from xpnet.backends.base import cores
from xpnet.backends.numpy.update import updates
from xpnet.backends.shared_setting import Setting, SharedSetting, mkl
from xpnet.compiler.ir import Recording, Untraceable
from xpnet.compiler.record import record
from xpnet.compiler.writers.numpy import NumPyProgram
from xpnet.types import Carry, Data, Metrics

WORTH = 1 << 26
"""From how many multiplications a step on, splitting it is faster than waiting for one another."""


BLOCK_BYTES = 1 << 19
"""How much of each array a block holds.

Smaller ones would stay in a core's cache, but every call takes Python's lock for a moment, and
threads that find it taken sleep for longer than the cache saves.
"""


def threads_for(carry: Carry, batch: int, wanted: int | None) -> int:
    """How many threads a step is split over; 1 for an ensemble, which has its own way."""
    theta = carry.get("theta")
    if theta is None:
        return 1
    small = wanted is None and batch * theta.size < WORTH
    if small or theta.ndim > 1 or not can_hold_blas():
        return 1
    return min(wanted or cores(), batch)


def shares(samples: int, threads: int) -> list[slice]:
    """Which samples each thread has."""
    edges = [samples * i // threads for i in range(threads + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _blas() -> list[Setting]:
    """How many threads NumPy's BLAS takes, by its own functions.

    `threadpoolctl`'s limits take ten times as long as these functions, and cannot be used from
    several threads: one at a time may set them, and what the others ask for is ignored, to hold as
    to let go.
    """
    try:
        library = ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError):
        return []
    for prefix, suffix in itertools.product(("scipy_", ""), ("64_", "_64", "")):
        with suppress(AttributeError):  # functions are looked for in all that NumPy is linked to
            get = library[f"{prefix}openblas_get_num_threads{suffix}"]
            put = library[f"{prefix}openblas_set_num_threads{suffix}"]
            if library[f"{prefix}openblas_get_parallel{suffix}"]() != OPENMP:
                return [Setting(get, put, shared=True)]
    with suppress(AttributeError):
        return [mkl(library.MKL_Set_Num_Threads_Local)]
    with suppress(AttributeError):  # OpenBLAS on OpenMP, where each thread has its own number
        return [Setting(library.omp_get_max_threads, library.omp_set_num_threads, shared=False)]
    return _found_by_threadpoolctl()


OPENMP = 2
"""What OpenBLAS answers when asked for its kind of threads."""


def _found_by_threadpoolctl() -> list[Setting]:
    """The same where the system does not look for functions as above."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return []
    found = []
    for library in importlib.import_module("threadpoolctl").ThreadpoolController().lib_controllers:
        if library.internal_api == "mkl":
            found.append(mkl(library.dynlib.MKL_Set_Num_Threads_Local))
        if library.internal_api == "openblas":
            put = getattr(library, "_real_set_num_threads", library.set_num_threads)
            own = getattr(library, "threading_layer", "") == "openmp"
            found.append(Setting(library.get_num_threads, put, shared=not own))
    return found


ONE_BLAS_THREAD = SharedSetting(_blas)
"""``with ONE_BLAS_THREAD():`` BLAS computes on the thread that calls it."""


@cache
def can_hold_blas() -> bool:
    """Whether BLAS's threads are out of the way of ours."""
    return bool(ONE_BLAS_THREAD.settings)


ALONE = 1 << 13
"""Up to how many multiplications OpenBLAS computes a product on the calling thread by itself; those
of a matrix and a vector, as sums are, that is. MKL splits any."""

LONE_PRODUCT = 1 << 22
"""Up to how many multiplications a matrix product is not worth threads of BLAS, which then
busy-wait, or are waited for where another program has the core."""


def worth_holding(product: int) -> bool:
    """Whether one thread of BLAS is best, by the multiplications of the largest matrix product."""
    if product > LONE_PRODUCT or not can_hold_blas():
        return False
    return product > ALONE or any(not setting.shared for setting in ONE_BLAS_THREAD.settings)


@dataclass(frozen=True)
class _Gradient:
    """The first half of a step as a step of its own, whose state is the gradient."""

    step: Any
    xp: Any
    samples: int
    """Those of the whole batch."""
    first: int
    """The first of its share."""

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, Metrics]:
        half = replace(self.step, xp=self.xp)
        grad, metrics, rest = half.gradient(carry, batch, self.samples, self.first)
        return {"theta": carry["theta"], "grad": grad, **rest}, metrics

    def select(self, data: Data, rows: Any) -> Data:
        chosen: Data = replace(self.step, xp=self.xp).select(data, rows)
        return chosen


def in_blocks(recording: Recording, given: Carry) -> NumPyProgram:
    """A program of NumPy's calls, in blocks as threads want them."""
    return NumPyProgram(recording, given, BLOCK_BYTES)


class ThreadedProgram:
    """A step on several threads, for one set of shapes.

    Args:
        step, carry, data, batch_rows: what is run.
        threads: over how many.
        given: buffers of the carry that are somebody else's, as for a `Program`.
        write: makes a program of a recording and buffers.

    Raises:
        Untraceable: if the step cannot be recorded, or split.
    """

    def __init__(
        self,
        step: Any,
        carry: Carry,
        data: Data,
        batch_rows: np.ndarray | None,
        threads: int,
        given: dict[str, np.ndarray] | None = None,
        write: Callable[[Recording, Carry], NumPyProgram] = in_blocks,
    ) -> None:
        theta = carry["theta"]
        if not getattr(step, "is_samplewise", False):
            raise Untraceable("a step that is more than a mean over independent samples")
        self.noise = step.noise_in(carry)
        own = {k: v for k, v in carry.items() if k == "theta" or k.startswith("optimizer.")}
        self.state = {k: v for k, v in carry.items() if k not in {*own, *self.noise}}
        carry = own
        if any(v.shape not in ((), theta.shape) for v in carry.values()):
            raise Untraceable("a state that does not go with the parameters")
        vectors = {k: v for k, v in carry.items() if v.ndim}
        self.carry = {k: (given or {}).get(k, np.empty_like(v)) for k, v in vectors.items()}
        samples = data[0].shape[-2] if batch_rows is None else batch_rows.shape[1]
        self.rows = shares(samples, threads)
        self.gradients = []
        for rows in self.rows:
            part = (
                data
                if batch_rows is not None
                else tuple(None if a is None else a[..., rows, :] for a in data)
            )
            first = None if batch_rows is None else batch_rows[0, rows]
            half = _Gradient(step, np, samples, rows.start)
            mine = {"theta": theta, "grad": theta, **self.noise, **self.state}
            recording = record(half, np, mine, part, first)
            if any(recording.results[name] is not recording.carry[name] for name in self.state):
                raise Untraceable("a state of layers that its samples change")
            buffers = {"theta": self.carry["theta"]}
            self.gradients.append(write(recording, buffers))
        grads = [program.carry["grad"] for program in self.gradients]
        self.updates = updates(step, carry, grads, self.carry, write)

    @property
    def threads(self) -> int:
        """Over how many threads a step is split."""
        return len(self.rows)

    @property
    def all(self) -> list[NumPyProgram]:
        """What all of its threads do."""
        return [*self.gradients, *itertools.chain.from_iterable(self.updates)]

    @property
    def programs(self) -> list[NumPyProgram]:
        """What one of its threads does in a step."""
        return [self.gradients[0], *self.updates[0]]

    @property
    def calls(self) -> int:
        """How many calls a step is, on one of its threads."""
        return sum(program.calls for program in self.programs)

    @property
    def largest(self) -> int:
        """How many elements the largest array has that one of its threads computes."""
        return max(program.largest for program in self.programs)

    @property
    def is_native(self) -> bool:
        """Whether there is machine code between its calls."""
        return self.gradients[0].is_native

    @property
    def nbytes(self) -> int:
        """How much memory it holds, at most."""
        return sum(program.nbytes for program in self.all)

    def __str__(self) -> str:
        return "\n\n".join([f"# each of {self.threads} threads", *map(str, self.programs)])

    def run(
        self, carry: Carry, n: int, batch_rows: np.ndarray | None, interrupted: Callable[[], bool]
    ) -> tuple[Carry, Metrics]:
        """Run ``n`` steps, as `Program.run` does."""
        for name, buffer in self.carry.items():
            if carry[name] is not buffer:
                np.copyto(buffer, carry[name])
        count = len(self.rows)
        meeting = LockBarrier(count)
        metrics: list[Metrics] = [{}] * count
        counters = [programs[-1].numbers(carry) for programs in self.updates]
        stop = threading.Event()

        def work(i: int) -> None:
            gradient, halves = self.gradients[i], self.updates[i]

            def then() -> bool:
                for program in halves:
                    meeting.wait()
                    counters[i] = program.advance(counters[i])
                if i == 0 and interrupted():
                    stop.set()
                meeting.wait()
                return stop.is_set()

            rows = None if batch_rows is None else batch_rows[:, self.rows[i]]
            mine = {name: gradient.carry[name] for name in ("theta", "grad")}
            mine |= {name: carry[name] for name in (*self.noise, *self.state)}
            try:
                with ONE_BLAS_THREAD(), np.errstate(all="ignore"):
                    _, metrics[i] = gradient.run(mine, n, rows, then)
            except threading.BrokenBarrierError:
                pass
            except BaseException:
                meeting.abort()  # nobody waits for a thread that has failed
                raise

        with ONE_BLAS_THREAD(), ThreadPoolExecutor(count - 1) as pool:
            try:
                others = [pool.submit(work, i) for i in range(1, count)]
                work(0)
                for other in others:
                    other.result()
            except BaseException:
                meeting.abort()  # nor for one that was never started
                raise
        after = dict(self.carry)
        for name, value in zip(self.updates[0][-1].counters, counters[0], strict=True):
            after[name] = np.full((), value, carry[name].dtype)
        mixed = {name: sum(part[name] for part in metrics) for name in metrics[0]}
        return {name: after.get(name, carry[name]) for name in carry}, mixed


class LockBarrier:
    """`threading.Barrier` out of plain locks: its own, of a `Condition`, takes twice as long."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.mutex = threading.Lock()
        self.gates: list[threading.Lock] = []
        self.broken = False

    def wait(self) -> None:
        """Wait until all are here; ``threading.BrokenBarrierError`` if one of them never comes."""
        gate = threading.Lock()
        gate.acquire()
        with self.mutex:
            self.gates.append(gate)
            if self.broken or len(self.gates) == self.count:
                self._open()
        gate.acquire()
        if self.broken:
            raise threading.BrokenBarrierError

    def abort(self) -> None:
        """Let all go who wait, or will."""
        with self.mutex:
            self.broken = True
            self._open()

    def _open(self) -> None:
        for gate in self.gates:
            if gate.locked():  # an interrupt may have ended this loop before, in its midst
                gate.release()
        self.gates = []
