"""What stands for a number of an optimizer or a schedule: a number, or an array of one a member."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from xpnet import backends, checks


def is_per_member(value: Any) -> bool:
    """Whether this is an array of numbers, one a member."""
    return checks.is_array(value) and len(value.shape) > 0


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
    if is_per_member(value) and tuple(value.shape[1:]) == (1,):
        return float(backends.of(value).to_host(value)[i, 0])
    if isinstance(value, tuple):
        return tuple(of_member(part, i) for part in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    return replace(value, **{f.name: of_member(getattr(value, f.name), i) for f in fields(value)})
