"""What every boundary asks of its arguments, and the one sentence it answers with."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sized
from typing import Any


def is_array(value: Any) -> bool:
    """True for an array of any library: something with a shape that is no plain Python number."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


SHOWN = 60
"""How many characters of a value an error shows."""


def shown(value: Any) -> str:
    """A value in an error: as it is where that is short, else what it is and how large."""
    kind = type(value).__name__
    a = f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and len(shape):
        thing = "an array" if is_array(value) else a
        return f"{thing} of shape {tuple(shape)}"
    many = isinstance(value, Sized) and not isinstance(value, (str, bytes, type))
    if many and len(value) > SHOWN:
        return f"{a} of {len(value)}"
    try:
        text = repr(value)
    except Exception:  # a number of thousands of digits, say
        return a
    return f"{a} of {len(value)}" if many and len(text) > SHOWN else cut(text)


def cut(text: str) -> str:
    """A text on one line, and not all of it where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> float:
    """Return ``value`` as a float, or raise: it must be a finite real number within the bounds.

    ``above`` and ``below`` are excluded bounds, ``least`` and ``most`` included ones.
    """
    wanted = "a finite number" + _bounds(above, least, below, most)
    try:
        plain = not isinstance(value, (bool, str, bytes)) and not getattr(value, "shape", ())
        result = float(value) if plain else None
    except (TypeError, ValueError):
        result = None
    except OverflowError:  # a whole number beyond every float
        result = math.inf
    if result is None:
        raise TypeError(f"{name} must be {wanted}, not {shown(value)}.")
    outside = (
        not math.isfinite(result)
        or (above is not None and result <= above)
        or (least is not None and result < least)
        or (below is not None and result >= below)
        or (most is not None and result > most)
    )
    if outside:
        raise ValueError(f"{name} must be {wanted}, not {shown(value)}.")
    return result


def _bounds(
    above: float | None, least: float | None, below: float | None, most: float | None
) -> str:
    parts = [
        text
        for bound, text in (
            (above, f"above {above}"),
            (least, f"of at least {least}"),
            (below, f"below {below}"),
            (most, f"of at most {most}"),
        )
        if bound is not None
    ]
    return " " + " and ".join(parts) if parts else ""


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """Return ``value`` as an int of at least ``least``, or raise."""
    try:
        plain = not isinstance(value, bool) and not getattr(value, "shape", ())
        result = value.__index__() if plain else None
    except (AttributeError, TypeError):
        result = None
    if result is None:
        raise TypeError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    if result < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return int(result)


def switch(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False, or raise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {shown(value)}.")
    return value


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return ``value`` if it is among ``choices``; else raise, naming them and the nearest."""
    choices = list(choices)
    if value in choices:
        return str(value)
    near = difflib.get_close_matches(str(value).lower(), choices, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}{hint}")
