"""What an object says now, as a value to compare later: by it, compiled programs are shared."""

from __future__ import annotations

import sys
from collections.abc import Collection, Hashable
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np


class ByIdentity(Exception):
    """Something within compares by identity, so that a change of it would not be seen."""


def snapshot(value: Any, carried: Collection[int] = (), within: tuple[int, ...] = ()) -> Hashable:
    """Return a copy in tuples of all that ``value`` holds, equal for equal ones.

    Its own ``__eq__`` and ``__hash__`` would not do: they follow the object when it is changed in
    place, also where it is a key already.

    Args:
        value: an object that compares by value, and all that it holds too.
        carried: the ids of arrays that may be any.
        within: the ids of the objects that ``value`` was found in.

    Raises:
        ByIdentity: for an array, a function without a name of its own in a module, and an object
            of a class without ``__eq__`` or ``__hash__``.
    """
    kind: Any = type(value)
    if value is None or kind in (bool, int, str, bytes):
        return kind, value
    if kind in (float, complex):
        return kind, repr(value)  # NaN is itself, and -0.0 is not 0.0
    if isinstance(value, (type, ModuleType, Enum)) or _is_named(value):
        return kind, value
    if isinstance(value, (np.number, np.bool)):
        return kind, value.tobytes()
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        if id(value) in carried:
            return "carried"
        raise ByIdentity(f"an array of shape {tuple(value.shape)}")
    if id(value) in within:
        raise ByIdentity(f"{kind.__name__} within itself")

    def inner(part: Any) -> Hashable:
        return snapshot(part, carried, (*within, id(value)))

    if kind in (list, tuple):
        return kind, tuple(map(inner, value))
    if kind in (set, frozenset):
        return kind, frozenset(map(inner, value))
    if kind is dict:
        return kind, tuple((inner(name), inner(part)) for name, part in value.items())
    if kind is slice:
        return kind, (inner(value.start), inner(value.stop), inner(value.step))
    if kind.__eq__ is object.__eq__ or kind.__hash__ is None:
        raise ByIdentity(kind.__name__)
    state = object.__getstate__(value)  # its __dict__ and __slots__
    if state and kind.__new__ is object.__new__:
        return kind, inner(state)
    try:  # what it is may be hidden from Python
        return kind, inner(state), value, hash(value)
    except TypeError as error:
        raise ByIdentity(str(error)) from error


def _is_named(value: Any) -> bool:
    """Whether this is a function that its module knows by its name, like a class."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    return callable(value) and (
        getattr(module, getattr(value, "__qualname__", None) or "", None) is value
    )
