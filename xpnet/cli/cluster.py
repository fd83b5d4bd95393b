"""The Dask cluster that a program deals its work out to: one that is there, or one made here."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from xpnet._optional import optional
from xpnet.cli.program import Mistake

SECONDS = 10
"""How long a scheduler is given to answer."""


@contextmanager
def cluster(
    scheduler: str | None,
    workers: int | None,
    names: tuple[str, str] = ("--scheduler", "--workers"),
) -> Iterator[Any]:
    """A ``dask.distributed.Client``, or ``None`` where neither is given.

    Args:
        scheduler: the address of a scheduler.
        workers: or how many processes to make here, each of one thread.
        names: how the flags for these were spelled.

    Raises:
        Mistake: if both are given, Dask is not installed, or the scheduler does not answer.
    """
    if scheduler is None and workers is None:
        yield None
        return
    if scheduler is not None and workers is not None:
        raise Mistake(
            f"{names[1]} must be left out where {names[0]} is given, whose workers are there."
        )
    try:
        distributed = optional("distributed", names[scheduler is None])
    except ImportError as error:
        raise Mistake(str(error)) from None
    with ExitStack() as stack:
        if scheduler is None:
            with _ctrl_c_ignored():
                made = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, dashboard_address=":0"
                )
            stack.enter_context(made)
            client = distributed.Client(made)
        else:
            try:
                client = distributed.Client(scheduler, timeout=SECONDS)
            except (OSError, ValueError, TypeError, KeyError) as error:
                said = str(error).splitlines() or [type(error).__name__]
                raise Mistake(
                    f"{names[0]} must be the address of a Dask scheduler that answers, such as "
                    f"tcp://127.0.0.1:8786, not {scheduler!r} ({said[0].rstrip('.')})."
                ) from error
        yield stack.enter_context(client)


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """What is spawned inherits it: Ctrl-C is for this process alone, which tells the others."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)
