"""What stands for a number of an optimizer or a schedule: a number, or an array of one a member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from xpnet import backends, checks


def is_per_member(value: Any) -> bool:
    """Whether this is an array of numbers, one a member."""
    return checks.is_array(value) and len(value.shape) > 0


def written(part: Any) -> str:
    """A dataclass as it is written, but for arrays; by name alone is told what it was given."""
    ordered = sorted(fields(part), key=lambda one: one.kw_only is True)
    found = [(one, getattr(part, one.name)) for one in ordered if one.repr]
    given = [f"{f.name}={_short(v)}" for f, v in found if not (f.kw_only and _same(v, f.default))]
    return f"{type(part).__name__}({', '.join(given)})"


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default: a text that came out of a file is another object."""
    return not is_per_member(value) and bool(value == default)


def _short(value: Any) -> str:
    if is_per_member(value):
        return f"<{type(value).__name__} of shape {tuple(value.shape)}>"
    if type(value) is tuple:
        return f"({', '.join(map(_short, value))}{',' * (len(value) == 1)})"
    return repr(value)


def check_plain(name: str, value: Any, **bounds: float) -> Any:
    """Return a number as a float, or an array of one number a member as it is, or raise.

    A float, since scalars and 0-d arrays of a library would not go with the arrays of another, and
    promote float32 to float64.
    """
    if not checks.is_array(value) or not checks.shape_of(value):
        return checks.number(name, value, **bounds)
    if len(value.shape) != 2 or value.shape[1] != 1:
        raise ValueError(
            f"{name} must be a number or an array of shape (members, 1), "
            f"not of shape {tuple(value.shape)}."
        )
    backend = backends.of(value, names=(name,))
    for member in backend.to_host(value).ravel().tolist():
        checks.number(name, member, **bounds)
    return value


def of_member(value: Any, i: int) -> Any:
    """A part of an optimizer, with the number of member ``i`` alone where it has one a member."""
    return _picked(value, lambda host: float(host[i, 0]))


def of_members(value: Any, rows: slice) -> Any:
    """A part of an optimizer, with the numbers of these members alone, in arrays of the host."""
    return _picked(value, lambda host: host[rows])


def _picked(value: Any, pick: Callable[[Any], Any]) -> Any:
    """A part of an optimizer, with what is picked of each array of one number a member."""
    if is_per_member(value) and tuple(value.shape[1:]) == (1,):
        return pick(backends.of(value).to_host(value))
    if isinstance(value, tuple):
        return tuple(_picked(part, pick) for part in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return replace(value, **{f.name: _picked(getattr(value, f.name), pick) for f in fields(value)})
