"""Members of an ensemble dealt out to the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import math
import os
import queue
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from xpnet import checks
from xpnet._optional import optional
from xpnet.distributed.before import Before, before_in, telling
from xpnet.distributed.dealt import Dealt
from xpnet.distributed.kept import BlockFailed, Kept, Piece, check_keep
from xpnet.distributed.parts import Parts, cut, place
from xpnet.distributed.saved import BlockProgress, snapshot
from xpnet.distributed.worker import Work, end, here, said_unlike, train, unlike, versions_of
from xpnet.explanation import explained
from xpnet.model import Model
from xpnet.training.asked import Asked
from xpnet.training.callback import Callback
from xpnet.training.fingerprint import Told
from xpnet.training.fit import doubts, ended_without, members_diverged
from xpnet.training.interrupts import interrupts
from xpnet.training.prepare import prepared

TURNS = 4
"""How many blocks each thread of the cluster is to have at the least, so that all end together."""
FEW = 8
"""How few members a block has at the least, for that: each step costs something besides them."""
CACHED = 4
"""How many times as many as suit the cache it has at the most: a worker may be lost with all."""
AHEAD = 2
"""How many blocks a thread are under way: as one ends the next is there."""
PATIENCE = 5
"""How many seconds are waited at once for a worker, where there is none."""
LOST = 4
"""How often a block may be lost with the workers that hold it."""


def fit_over(
    client: Any,
    asked: Asked,
    epochs: int,
    check_every: int,
    callbacks: list[Callback],
    keep: str,
    resume: Any,
) -> Model:
    """`fit` with a ``client``, whose arguments these are.

    Raises:
        ImportError: if dask.distributed is not installed.
        TypeError, ValueError: if they are not as described; before anything is sent.
        BlockFailed: if a block failed twice.
    """
    _check_client(client)
    for i, one in enumerate(callbacks):
        if type(one).check is not Callback.check and type(one).dealt is Callback.dealt:
            raise TypeError(
                f"callbacks[{i}] must be one that can watch a cluster with client, as those of "
                f"xpnet.callbacks, not {checks.shown(one)}, whose check is of epochs that all "
                "members go through together; its method dealt would be told of blocks of members."
            )
    parts = Parts(asked)
    check_keep(keep, parts.members)
    with prepared(parts.first()) as loop:  # looks at everything
        for said in doubts(loop, asked):
            warnings.warn(said, RuntimeWarning, stacklevel=3)
        if loop.validation is not None and keep == "best":
            loop.history().scores()  # by which it would be told
        begun = loop.history()
    told = telling(asked, epochs, check_every, keep)  # before anything is drawn
    before = None if resume is None else before_in(resume, told, parts.members)
    native = _native(parts) if before is None else before.native
    name = f"xpnet-fit-{uuid.uuid4().hex[:8]}"
    backend = parts.backend
    work = Work(
        name, *_packed(*parts.shared()), backend.name, place(backend),
        backend.dtype_name(parts.like), epochs, check_every, keep, native, versions_of(backend),
    )  # fmt: skip
    left = before is None or before.count < parts.members
    heard = greet(client, work, asked.native) if left else set()
    kept = Kept(keep, asked.network, asked.loss, asked.optimizer, backend)
    deal = Deal(client, parts, work, kept, told, before)
    resumed = None if before is None else next(iter(before.blocks))
    run = Dealt(asked, parts.members, epochs, check_every, keep, begun, resumed)
    model = deal.run(callbacks, run)
    for said in [said for said in deal.said if said not in heard]:
        warnings.warn(f"On a worker: {said}", RuntimeWarning, stacklevel=3)
    history = model.history
    if history is not None and (stuck := ended_without(history)):
        warnings.warn(stuck, RuntimeWarning, stacklevel=3)
    if kept.diverged:
        warnings.warn(members_diverged(kept.diverged, parts.members), RuntimeWarning, stacklevel=3)
    return model


def _native(parts: Parts) -> bool:
    """Whether steps become machine code: as one machine has it, and on all workers the same."""
    asked = parts.asked
    if asked.native != "auto" or not parts.backend.native:
        return asked.native is True
    first = min(parts.size, parts.members)
    alone = replace(parts.first(first), epochs=asked.epochs * -(-parts.members // first))
    with prepared(alone) as loop, loop.computing():
        return explained(loop).way == "native"


def greet(client: Any, work: Work, asked: bool | str) -> set[str]:
    """Wait for a worker, and have all say whether they can do what is done here.

    Where machine code was not ``asked`` for, but would pay, and one cannot make it, there is none.
    Returns what was warned of their versions.
    """
    if not client.nthreads():
        _warn("The cluster of client has no workers yet, and fit waits for the first.")
        client.submit(os.getpid, pure=False).result()  # for which an adaptive one starts some
    # First what any Python has: a worker that cannot unpack what it is sent ends without a word.
    found = client.run(importlib.import_module, here.__module__, on_error="return")
    failed = {who: error for who, error in found.items() if isinstance(error, BaseException)}
    if not failed:
        found = client.run(here, work.library, work.device, work.dtype, on_error="return")
        failed = {who: error for who, error in found.items() if isinstance(error, BaseException)}
    for who, error in failed.items():
        raise ValueError(
            f"client must be of workers that have xpnet and compute on {work.library}, as this "
            f"process, not such as {who}, which answers: {_said(error)}."
        ) from error
    others: set[str] = set()
    for who, (versions, compiles) in found.items():
        for name, version in unlike(work.versions, versions):
            if name == "xpnet":
                raise ValueError(
                    f"client must be of workers that have xpnet {work.versions[name]}, as this "
                    f"process, not {version}, as {who}."
                )
            others.add(said_unlike(name, work.versions[name], version))
        if work.native and not compiles:
            if asked is True:
                raise ValueError(
                    f"native must be 'auto' or False with client, whose worker {who} has no "
                    "llvmlite, not True; install it there with: pip install 'xpnet[native]'."
                )
            _warn(
                f"Steps are not machine code, as they would be here, since the worker {who} of "
                "client has no llvmlite; pip install 'xpnet[native]' there, or say native=False."
            )
            work.native = False
    for said in sorted(others):
        _warn(said)
    return others


def _warn(said: str) -> None:
    warnings.warn(said, RuntimeWarning, stacklevel=5)  # where fit was called


_CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)


class Deal:
    """The blocks of a training: which wait, which are under way, what has come back.

    Args:
        client: of the cluster.
        parts: what members are asked for.
        work: what they share.
        kept: is given what comes back.
        told: what was asked for, as files tell it.
        before: what is done, where it is gone on with.
    """

    def __init__(
        self,
        client: Any,
        parts: Parts,
        work: Work,
        kept: Kept,
        told: Callable[[], Told],
        before: Before | None,
    ) -> None:
        self.client, self.parts, self.work, self.kept = client, parts, work, kept
        self.told, self.before, self.size = told, before, 0
        self._there = {block.members.start for block in before.blocks.values()} if before else set()
        self.said: dict[str, None] = {}
        self._dask = optional("dask", "client")
        self._distributed = optional("distributed", "client")
        self._waiting: deque[tuple[int, int]] = deque()
        self._flying: dict[Any, tuple[int, int]] = {}  # by their futures
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._parts: dict[int, Any] = {}
        self._lost: dict[int, int] = {}
        self._shared: Any = None
        self._room, self._sent, self._told = 1, 0, -math.inf

    def run(self, callbacks: list[Callback], run: Dealt) -> Model:
        """Have all blocks trained; the callbacks are told of each."""
        for block in self.before.blocks.values() if self.before else ():
            run.came(block.members, block.piece)
            self.kept.add(block.members.start, block.piece)
        with ExitStack() as finishing:
            for one in callbacks:
                one.start(run)  # type: ignore[arg-type]
                finishing.callback(one.finish, run)  # type: ignore[arg-type]
            finishing.callback(self._leave)
            self.size = self.before.size if self.before else self._size()
            self._waiting.extend(cut(self.parts.members, self.size))
            ending = False
            with interrupts() as interrupted:
                while self._flying or (self._waiting and not ending):
                    ending = ending or interrupted() or run.stopping
                    if came := self._turn(ending):
                        self._came(run, *came)
                        for one in callbacks:
                            one.dealt(run)
                model = self.model(interrupted(), run.stopping)
            run.end(model)
        return model

    def _came(self, run: Dealt, members: range, piece: Piece) -> None:
        same = snapshot(piece)

        def progress() -> BlockProgress:
            return BlockProgress(members, same, self.size, self.work.native, self.told())

        run.came(members, piece, progress)
        self.kept.add(members.start, piece)

    def model(self, interrupted: bool = False, stopped: bool = True) -> Model:
        """What has come back, with all others as they were when the training was ended."""
        left = [*self._flying.values(), *self._waiting]
        for start, stop in sorted(left) if self.kept.keep != "best" else ():
            if start in self._there:
                self.parts.skip(start, stop)
                continue
            part = self._part(start, stop)
            self.kept.add(start, train(self.work, start, part, ended=lambda: True))
        self._flying, self._waiting = {}, deque()
        _go_on(self.parts.asked.shuffle_seed, self.kept.longest[1])
        return self.kept.model(interrupted, stopped)

    # ---- before

    def _size(self) -> int:
        """How many members a block has at most."""
        given, parts = self.parts.asked.block, self.parts
        if given is not None:
            return int(given)
        each = -(-parts.members // (TURNS * self._threads()))
        most = min(max(each, FEW), CACHED * int(parts.size))
        return -(-parts.members // -(-parts.members // most))  # as even as may be

    def _threads(self) -> int:
        return max(1, int(sum(self.client.nthreads().values())))

    # ---- while blocks are under way

    def _turn(self, ending: bool) -> tuple[range, Piece] | None:
        """Send what there is room for, or tell that it ends; return who came back, if anybody."""
        try:
            if ending:
                self._end()
            else:
                self._refill()
            return self._receive()
        except BlockFailed:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if self.client.status == "running" and not isinstance(error, (OSError, *_CANCELLED)):
                raise
            said = "The connection of client to its scheduler is lost, which ended the training"
            raise self._failed(said, 0, self.parts.members) from error

    def _refill(self) -> None:
        """Have enough blocks under way for all threads that there are now."""
        self._pass_over()
        if len(self._flying) >= self._room or not self._waiting:
            return
        if self._shared is None:
            try:
                self._shared = self.client.scatter(
                    self.work, broadcast=True, hash=False, timeout=PATIENCE
                )
            except TimeoutError:  # there are no workers now: as long as it takes, unless ended
                return
        self._room = AHEAD * self._threads()
        # What members have of their own goes along with their block, and is known to be large.
        with self._dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PiB"}):
            while self._waiting and len(self._flying) < self._room:
                start, stop = self._waiting.popleft()
                self._sent += 1
                future = self.client.submit(
                    train, self._shared, start, self._part(start, stop), pure=False, retries=1,
                    key=(self.work.name, start, self._sent),
                )  # fmt: skip
                self._flying[future] = start, stop
                future.add_done_callback(self._done.put)
                self._pass_over()

    def _pass_over(self) -> None:
        """Leave out the next blocks that are done."""
        while self._waiting and self._waiting[0][0] in self._there:
            self.parts.skip(*self._waiting.popleft())

    def _part(self, start: int, stop: int) -> Any:
        if start not in self._parts:
            self._parts[start] = self.parts.part(start, stop)
        return self._parts[start]

    def _receive(self) -> tuple[range, Piece] | None:
        """Take the next block that is done, if one is soon."""
        try:
            future = self._done.get(timeout=0.2)
        except queue.Empty:
            if self.client.status != "running":
                raise ConnectionError(self.client.status) from None
            return None
        start, stop = self._flying.pop(future)
        self._waiting.appendleft((start, stop))  # unless it is there
        try:
            piece = future.result()
        except _CANCELLED as error:  # with the last worker that held what all share
            self._lost[start] = self._lost.get(start, 0) + 1
            self._shared = None
            if self.client.status != "running":
                raise ConnectionError(self.client.status) from error
            if self._lost[start] > LOST:
                raise self._failed(
                    f"{_members(start, stop)} were lost: {error}", start, stop
                ) from error
            return None
        except self._distributed.KilledWorker as error:
            said = (
                f"{_members(start, stop)} ended every worker that trained them, as too little "
                "memory does; fewer at once, by a smaller block, need less"
            )
            raise self._failed(said, start, stop) from error
        except Exception as error:
            said = f"{_members(start, stop)} failed twice: {_said(error)}"
            raise self._failed(said, start, stop) from error
        self._waiting.popleft()
        del self._parts[start]
        self.said |= dict.fromkeys(piece.said)
        return range(start, stop), piece

    def _failed(self, said: str, start: int, stop: int) -> BlockFailed:
        more = "; model of this error is what was done." if self.kept.pieces else "."
        return BlockFailed(f"{said}{more}", range(start, stop), self.model)

    # ---- the end

    def _end(self) -> None:
        """Tell all workers that there are to end, time and again, as new ones may come."""
        if self.client.status == "running" and time.monotonic() > self._told + 2:
            self._told = time.monotonic()
            self.client.run(end, self.work.name, on_error="ignore")

    def _leave(self) -> None:
        """Leave nothing behind on the workers."""
        self._shared = None
        if self._flying and self.client.status == "running":
            self._told = -math.inf
            self._end()
            self.client.cancel(list(self._flying))


def _go_on(ours: Any, theirs: Any) -> None:
    """Have a generator of somebody's own go on behind what was drawn of its copies."""
    if isinstance(ours, np.random.RandomState) and theirs is not None:
        ours.set_state(theirs)
    elif isinstance(ours, np.random.Generator) and theirs is not None:
        ours.bit_generator.state = theirs


def _members(start: int, stop: int) -> str:
    return f"Members {start} to {stop - 1}"


def _said(error: BaseException) -> str:
    """An error in the sentence of another."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _packed(asked: Asked, samples: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """What all share as it is sent; raises, and says for what, where something cannot be."""
    cloudpickle = optional("cloudpickle", "client")
    for name, value in (*vars(asked).items(), *samples.items()):
        try:
            cloudpickle.dumps(value, protocol=5, buffer_callback=lambda buffer: None)  # no copies
        except Exception as error:
            raise TypeError(
                f"{name} must be what can be sent to workers with client, not "
                f"{checks.shown(value)} ({_said(error)})."
            ) from error
    return cloudpickle.dumps(asked), samples


def _check_client(client: Any) -> None:
    distributed = optional("distributed", "client")
    kind = "a dask.distributed.Client, as Client(address) and Client(cluster) make one"
    checks.instance("client", client, distributed.Client, kind)
    if client.asynchronous:
        raise ValueError(
            "client must be one that waits for its answers, not Client(asynchronous=True)."
        )
    if client.status != "running":
        raise ValueError(
            f"client must be connected to a scheduler, not {client.status}; Client(address) makes "
            "one that is."
        )
