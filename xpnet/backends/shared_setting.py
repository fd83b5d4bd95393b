"""Settings of a library's threads that are 1 for a while, and then what they were."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """How many threads a library takes.

    Args:
        get, put: read and set it.
        shared: whether all threads of the process share it; else each has its own.
    """

    get: Callable[[], int]
    put: Callable[[int], object]
    shared: bool


def mkl(put: Callable[..., int]) -> Setting:
    """A thread's own number of MKL, 0 where it has none and follows that of the process.

    Args:
        put: ``MKL_Set_Num_Threads_Local``, which returns what was there before.
    """

    def get() -> int:
        # There is no other way to ask than to put 0 and take it back: both in one call of C, with
        # a second number that is not looked at, since Ctrl-C would fall between two.
        _, before, _ = itertools.accumulate((0, 0, 0), put)
        return int(before)

    return Setting(get, put, shared=False)


class SharedSetting:
    """``with held():`` holds settings to 1, for any number of threads at once.

    A thread's own setting is held and let go by each thread. A shared one is held by the first that
    comes in, whichever it is, and let go by the last; if it is no longer 1 by then, somebody else
    has set it meanwhile, and it is left as they want it.

    Ctrl-C may come between any two steps of the way in or out. So a place inside is a ticket, to
    give it back twice does no harm, and whoever is torn out of ``with`` gives it back when the
    generator is collected.

    Args:
        find: the settings; called once, on first use.
    """

    def __init__(self, find: Callable[[], list[Setting]]) -> None:
        self._find = find
        self._found: list[Setting] | None = None
        # The same thread comes in again if a signal or the collector calls it from within.
        self._lock = threading.RLock()
        self._inside: set[object] = set()
        self._before: list[tuple[Setting, int]] = []

    @property
    def settings(self) -> list[Setting]:
        """What is held."""
        if self._found is None:
            self._found = self._find()
        return self._found

    @contextmanager
    def __call__(self) -> Iterator[None]:
        own: list[tuple[Setting, int]] = []
        ticket = object()
        try:
            own = _read(self.settings, shared=False)
            for setting, _ in own:
                setting.put(1)
            self._come(ticket)
            yield
        finally:
            try:
                self._go(ticket, own)
            except BaseException:
                self._go(ticket, own)
                raise

    def _come(self, ticket: object) -> None:
        with self._lock:
            first = not self._inside
            self._inside.add(ticket)
            if first:
                self._before += _read(self.settings, shared=True)
                for setting, _ in self._before:
                    setting.put(1)

    def _go(self, ticket: object, own: list[tuple[Setting, int]]) -> None:
        for setting, before in own:
            setting.put(before)
        with self._lock:
            self._inside.discard(ticket)
            while self._before and not self._inside:
                setting, before = self._before[-1]
                if setting.get() == 1:
                    setting.put(before)
                self._before.pop()


def _read(settings: list[Setting], shared: bool) -> list[tuple[Setting, int]]:
    """What they are, all before one is changed: a library may take another's number for its own."""
    return [(setting, setting.get()) for setting in settings if setting.shared == shared]
