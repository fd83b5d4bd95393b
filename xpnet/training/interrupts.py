"""Ctrl-C while a network is trained."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
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
        if signal.getsignal(signal.SIGINT) is press:  # and not what a callback has put there
            signal.signal(signal.SIGINT, signal.default_int_handler)
