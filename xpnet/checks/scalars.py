"""Numbers, switches, names and objects: what is asked of them, and the sentence of a mistake."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def is_array(value: Any) -> bool:
    """True for an array of any library: something with a shape that is no plain Python number."""
    kind = type(value)  # not of the value, whose answer may be an error: a deleted or nested one
    return hasattr(kind, "shape") and hasattr(kind, "dtype")


def shape_of(value: Any) -> tuple[Any, ...]:
    """The shape of an array, or of what else has one; ``()`` for all that has none."""
    try:
        return tuple(value.shape)
    except Exception:
        return ()


def several(value: Any) -> Any:
    """The values of a sequence, or of an array of NumPy, in a list; ``None`` for all else."""
    if is_array(value):  # of NumPy alone: what JAX calls a key is an array, and no seeds
        many = len(shape_of(value)) == 1 and type(value).__module__.partition(".")[0] == "numpy"
        return value.tolist() if many else None
    many = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return list(value) if many else None


def _length(value: Any) -> int:
    """How much a collection holds; -1 for what is none."""
    if isinstance(value, (str, bytes, type)):
        return -1
    try:
        return len(value)
    except Exception:  # none, or one that does not say, as a 0-d array
        return -1


SHOWN = 60
"""How many characters of a value an error shows."""


def shown(value: Any) -> str:
    """A value in an error: as it is where that is short, else what it is and how large."""
    kind = type(value).__name__
    a = f"an {kind}" if kind[0].lower() in "aeiou" else f"a {kind}"
    shape, length = shape_of(value), _length(value)
    if shape:
        return f"{'an array' if is_array(value) else a} of shape {shape}"
    if length > SHOWN:
        return f"{a} of {length}"
    try:
        text = repr(value)
    except Exception:  # a number of thousands of digits, say
        return a
    return f"{a} of {length}" if length >= 0 and len(text) > SHOWN else cut(text)


def formed(value: Any) -> str:
    """The shape and dtype of an array, in an error; of what is none, the value."""
    if not is_array(value):
        return shown(value)
    return f"{shape_of(value)} and {value.dtype}"


def has_form(value: Any, shape: Any, dtype: Any) -> bool:
    """Whether a value is an array of this shape and dtype."""
    return bool(getattr(value, "shape", None) == shape and getattr(value, "dtype", None) == dtype)


def cut(text: str) -> str:
    """A text on one line, and not all of it where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def instance(name: str, value: Any, kind: type, wanted: str) -> None:
    """Raise unless ``value`` is a ``kind``, which is ``wanted``; a class lacks its brackets."""
    if not isinstance(value, kind):
        call = isinstance(value, type) and issubclass(value, kind)
        hint = f"; write {value.__name__}({_asks(value)})" if call else ""
        raise TypeError(f"{name} must be {wanted}, not {shown(value)}{hint}.")


def _asks(kind: type) -> str:
    """The names of what a class must be given; ``None`` where it is no such value is no default."""
    return ", ".join(
        name
        for name, p in inspect.signature(kind).parameters.items()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and (p.default is p.empty or _unlike(p))
    )


def _unlike(parameter: inspect.Parameter) -> bool:
    if parameter.default is not None or parameter.annotation is parameter.empty:
        return False
    return "None" not in str(parameter.annotation)


def index(i: Any, count: int, what: str = "layer") -> int:
    """Return ``i`` as a number from 0, of one of ``count`` layers, or raise."""
    last = f"from 0 to {count - 1}, or from -{count} to -1"
    try:
        number = i.__index__()
    except (AttributeError, TypeError):
        raise TypeError(
            f"a {what} must be asked for by its number, {last}, not {shown(i)}."
        ) from None
    if not -count <= number < count:
        raise IndexError(f"the number of a {what} must be {last}, not {shown(i)}.")
    return int(number) % count


def _plain(value: Any) -> bool:
    """Whether this may be a number: none of text, of truth values, or an array of several."""
    if isinstance(value, (bool, str, bytes)) or shape_of(value):
        return False
    dtype = str(getattr(value, "dtype", "int"))
    return "int" in dtype or "float" in dtype


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
        result = float(value) if _plain(value) else None
    except (TypeError, ValueError, RuntimeError):  # the last: an array without values to read
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
        result = value.__index__() if _plain(value) else None
    except (AttributeError, TypeError, RuntimeError):
        result = None
    if result is None:
        raise TypeError(f"{name} must be a whole number of at least {least}, not {shown(value)}.")
    if result < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {shown(value)}.")
    return int(result)


def switch(name: str, value: Any) -> bool:
    """Return ``value`` if it is True or False, or raise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {shown(value)}.")
    return value


def one_of(name: str, value: Any, choices: Iterable[str], alike: bool = True) -> str:
    """Return ``value`` if it is among ``choices``; else raise, naming them and the nearest.

    Where names that look ``alike`` mean other things, as float16 and float64, none is the nearest.
    """
    choices = list(choices)
    text = value if isinstance(value, str) else ""
    if text in choices:
        return text
    begun = [choice for choice in choices if text and choice.startswith(text.lower())]
    near = begun or difflib.get_close_matches(text.lower(), choices, n=1, cutoff=0.5)
    near = near if alike else []
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"{name} must be one of {', '.join(choices)}, not {shown(value)}{hint}")


def as_path(name: str, path: str | Path) -> Path:
    """Return ``path`` as one, or raise."""
    try:
        return Path(path)
    except TypeError:
        raise TypeError(f"{name} must be a path, not {shown(path)}.") from None
