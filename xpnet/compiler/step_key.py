"""What an object says now, as a value to compare later: by it, compiled programs are shared.

A program is the mathematics as it was when it was compiled. Of xpnet's own layers, losses and
optimizers it is known what that reads: their attributes. What anybody else's reads cannot be known
for certain (a class attribute, a global of its module, a schedule that goes on, a method that a
notebook has replaced), so that they have no snapshot, nor has anything while xpnet's own code is
other than it was imported.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Collection, Hashable, Iterable, Iterator
from itertools import chain
from operator import attrgetter, is_
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from xpnet.backends import LIBRARIES


class ByIdentity(Exception):
    """Something within compares by identity, so that a change of it would not be seen."""


def snapshot(value: Any, per_member: Collection[int] = ()) -> Hashable:
    """Return a copy in tuples of all that ``value`` holds, equal for equal ones.

    Its own ``__eq__`` and ``__hash__`` would not do: they follow the object when it is changed in
    place, also where it is a key already.

    Args:
        value: an object of xpnet's own, as are all that it holds, but for plain Python values,
            NumPy's numbers, and the namespace of an array library.
        per_member: the ids of arrays that may be any.

    Raises:
        ByIdentity: for whatever else is within, such as an array, a function, or an object of
            somebody's own class; for all if xpnet's own code was changed.
    """
    if _OWN.changed():
        raise ByIdentity("xpnet with other code than it was imported with")
    return _Saying(per_member).of(value)


def as_it_is(value: Any) -> Any:
    """A copy of what has a snapshot, that no change of it reaches; arrays and modules as they are.

    Arrays are carried, and never read.
    """
    keep = {id(part): part for part in _shared(value, set())}
    return copy.deepcopy(value, keep)


def _shared(value: Any, seen: set[int]) -> Iterator[Any]:
    """The modules and arrays within."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, ModuleType) or (hasattr(value, "shape") and hasattr(value, "dtype")):
        yield value
        return
    inside = vars(value) if hasattr(value, "__dict__") else value
    if isinstance(inside, (dict, list, tuple)):
        for part in inside.values() if isinstance(inside, dict) else inside:
            yield from _shared(part, seen)


class _Saying:
    """A snapshot under way: each object is asked once, and none is found within itself."""

    def __init__(self, per_member: Collection[int]) -> None:
        self.per_member = per_member
        self.said: dict[int, Hashable] = {}
        self.held: list[Any] = []  # what was made here, so that nothing else can get its id

    def of(self, value: Any) -> Hashable:
        kind: Any = type(value)
        if kind in _PLAIN:
            return value  # type: ignore[no-any-return]
        if kind is bool:
            return kind, value
        if kind in (float, complex):
            return kind, repr(value)  # NaN is itself, and -0.0 is not 0.0
        number = id(value)
        if number in self.per_member:
            return ("per member",)
        if number not in self.said:
            self.said[number] = None  # until it is known: what comes back to it holds itself
            self.said[number] = self._inside(kind, value)
        known = self.said[number]
        if known is None:
            raise ByIdentity(f"{kind.__name__} within itself")
        return known

    def _inside(self, kind: Any, value: Any) -> Hashable:
        if kind in _OWN.classes:
            state = object.__getstate__(value)  # its __dict__ and __slots__
            # The class itself, since two of a name may follow one another in a notebook.
            self.held.append(state)
            return kind, self.of(state)
        if kind in (list, tuple):
            return kind, self._each(value)
        if kind is dict:
            return kind, self._each(value), self._each(value.values())
        if kind in (set, frozenset):
            return kind, frozenset(self._each(value))
        if kind is slice:
            return kind, self._each((value.start, value.stop, value.step))
        if (
            kind is ModuleType and value.__name__.partition(".")[0] in LIBRARIES
        ):  # which stay as they are
            return kind, value
        if isinstance(value, (np.number, np.bool)) and kind.__module__ == "numpy":
            return kind, value.tobytes()
        raise ByIdentity(f"{kind.__module__}.{kind.__qualname__}")

    def _each(self, parts: Iterable[Any]) -> tuple[Hashable, ...]:
        return tuple([part if type(part) in _PLAIN else self.of(part) for part in parts])


_PLAIN = frozenset((type(None), int, str, bytes))
"""What says itself: none of these is equal to one of another kind."""


class _Own:
    """The code of xpnet itself: its classes, and whether it is still as it was imported.

    Somebody may replace a method, or a notebook's autoreload all of them. Only what was there when
    ``import xpnet`` ended can be told from that.
    """

    def __init__(self) -> None:
        self.classes: set[type] = set()
        self._bases: list[tuple[type, Any]] = []
        self._spaces: list[tuple[Any, dict[str, Any]]] = []
        self._views: list[Iterable[Any]] = []
        self._values: list[Any] = []
        self._functions: list[FunctionType] = []
        self._named: list[FunctionType] = []  # with defaults that are named
        self._code: list[Any] = []

    def remember(self, modules: Iterable[ModuleType]) -> None:
        """Take the code of these modules for what it should be."""
        for module in modules:
            found = [v for v in vars(module).values() if isinstance(v, type)]
            own = [kind for kind in found if kind.__module__ == module.__name__]
            self.classes.update(own)
            self._bases += [(kind, kind.__mro__) for kind in own]
            for space in (module, *own):
                self._spaces.append((space, {**vars(space)}))
                self._functions += [f for value in vars(space).values() for f in _functions(value)]
        self._functions = list(dict.fromkeys(self._functions))
        self._named = [f for f in self._functions if f.__kwdefaults__]
        self._views = [vars(space).values() for space, _ in self._spaces]
        self._values, self._code = [*self._values_now()], [*self._code_now()]
        for kind, order in self._bases:
            if any(k not in self.classes and k.__module__ not in _PYTHON for k in order):
                self.classes.discard(kind)

    def changed(self) -> bool:
        """Whether anything is other than it was; asked at every fit, and so by identity alone."""
        if not _same(self._values_now(), self._values):
            for space, before in self._spaces:
                now = vars(space)
                for name in {*now, *before} - _PYTHONS_OWN:
                    if now.get(name, _NOTHING) is not before.get(name, _NOTHING):
                        return True
            self._spaces = [(space, {**vars(space)}) for space, _ in self._spaces]
            self._values = [*self._values_now()]
        order = all(kind.__mro__ is order for kind, order in self._bases)
        return not (order and _same(self._code_now(), self._code))

    def _values_now(self) -> Iterator[Any]:
        """What modules and classes hold."""
        return chain.from_iterable(self._views)

    def _code_now(self) -> Iterator[Any]:
        """What says what the functions do."""
        return chain(
            map(attrgetter("__code__"), self._functions),
            map(attrgetter("__defaults__"), self._functions),
            chain.from_iterable((f.__kwdefaults__ or {}).values() for f in self._named),
        )


_PYTHON = ("builtins", "abc", "typing")
"""Modules whose classes do nothing by themselves in a base."""

_PYTHONS_OWN = {
    *("__annotations__", "__annotations_cache__", "__doc__", "__slotnames__"),
    "__warningregistry__",
}
"""What Python itself keeps in a class or module as it goes."""

_NOTHING = object()


def _same(some: Iterable[Any], others: Iterable[Any]) -> bool:
    """Whether both hold the same objects: behind the last, where one ends alone, is nothing."""
    return all(map(is_, chain(some, [_NOTHING]), chain(others, [_NOTHING])))


def _functions(value: Any) -> list[FunctionType]:
    """The functions behind an attribute of a class or module."""
    parts = [getattr(value, name, None) for name in ("fget", "__func__", "func", "__wrapped__")]
    return [part for part in (value, *parts) if isinstance(part, FunctionType)]


_OWN = _Own()


_STEP = (
    *("layers", "layout", "losses", "moments", "network", "noise", "optimizers", "initializers"),
    "checks",
    "training.step",
)
"""Where the code of a step is. Classes elsewhere are none of xpnet's own here."""


def remember() -> None:
    """Take xpnet's code for what it should be; called at the end of its import."""
    _OWN.remember(
        module
        for name, module in list(sys.modules.items())
        if name.startswith("xpnet.")
        and (name.split(".")[1] in _STEP or name.removeprefix("xpnet.") in _STEP)
        # A package has new names, but nothing of its own; that of checks is asked by its name.
        and (name == "xpnet.checks" or not hasattr(module, "__path__"))
    )
