"""A setting of the process that is held for a while, by several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Held:
    """While anybody is inside, a setting is 1; when the last one leaves, it is what it was.

    Args:
        hold: sets it to 1 and returns a function that sets it back. Called by each thread that
            comes in if ``each`` (some settings are a thread's own), else by the first alone.
    """

    def __init__(self, hold: Callable[[], Callable[[], Any]], each: bool = False) -> None:
        self._hold, self._each = hold, each
        self._lock = threading.Lock()
        self._inside = 0
        self._let_go: Callable[[], Any] = lambda: None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._let_go = self._hold()
            elif self._each:
                self._hold()  # what to go back to is what the first one found
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 or self._each:
                self._let_go()
