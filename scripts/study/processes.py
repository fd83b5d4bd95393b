"""All pieces of the study, trained by as many processes as there are cores to spare."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any

from report.facts import Facts
from report.target import Target
from study.plan import Piece
from study.training import Result, train

ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What holds a BLAS to one thread, for a library that is loaded thereafter."""


def train_all(
    pieces: Sequence[Piece],
    facts: Facts,
    target: Target,
    jobs: int,
    tell: Callable[[int, float], None],
    done: Callable[[Result], None],
) -> bool:
    """Train every piece; return whether Ctrl-C kept it from that.

    Args:
        pieces: which networks.
        facts: the report's.
        target: where.
        jobs: how many processes; 1 for this one alone.
        tell: is told, of a piece by its number, which share of its epochs is done.
        done: is given every result.
    """
    if jobs == 1:
        return _here(pieces, facts, target, tell, done)
    for name in ONE_THREAD:
        os.environ[name] = "1"  # what is spawned inherits it
    context = multiprocessing.get_context("spawn")
    messages, unwanted = context.Queue(), context.Event()
    with ProcessPoolExecutor(jobs, context, _start, (messages, unwanted)) as pool:
        waiting: dict[Future[Result | None], int] = {}
        pressed: list[int] = []
        # Ctrl-C is for this process alone; what is spawned inherits that it is ignored.
        old = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for i, piece in enumerate(pieces):
                waiting[pool.submit(_work, i, piece, facts, target)] = i
            # Raised wherever it falls, it may fall where `wait` has locked half of the futures,
            # which then nobody unlocks.
            signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
            while waiting and not pressed:
                finished, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                _hear(messages, tell)
                for future in finished:
                    tell(waiting.pop(future), 1.0)
                    if (result := future.result()) is not None:
                        done(result)
        finally:
            signal.signal(signal.SIGINT, old)
            if waiting:
                unwanted.set()
                pool.shutdown(cancel_futures=True)
    return bool(pressed)


def _here(
    pieces: Sequence[Piece],
    facts: Facts,
    target: Target,
    tell: Callable[[int, float], None],
    done: Callable[[Result], None],
) -> bool:
    for i, piece in enumerate(pieces):
        try:
            result = train(piece, facts, target, lambda share, i=i: tell(i, share))
        except KeyboardInterrupt:
            return True
        if result is None:
            return True
        tell(i, 1.0)
        done(result)
    return False


def _hear(messages: Any, tell: Callable[[int, float], None]) -> None:
    while True:
        try:
            tell(*messages.get_nowait())
        except queue.Empty:
            return


# ---- in the processes

_messages: Any = None
_unwanted: Any = None


def _start(messages: Any, unwanted: Any) -> None:
    global _messages, _unwanted
    _messages, _unwanted = messages, unwanted


def _work(number: int, piece: Piece, facts: Facts, target: Target) -> Result | None:
    return train(
        piece, facts, target, lambda share: _messages.put((number, share)), _unwanted.is_set
    )
