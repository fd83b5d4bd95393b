"""Whether a step that is recorded is pure: what it is made of must be as it was before."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from xpnet.layers.checked import is_own

LOOKED_AT = 4096
"""Up to how many elements an array of the host is compared by."""


def is_ours(step: Any) -> bool:
    """Whether all that a step is made of is xpnet's own, and known to be pure."""
    step = getattr(step, "step", step)  # of half a step
    try:
        parts = [step.network, step.loss, *step.optimizer.parts]
    except AttributeError:
        return False
    return all(map(is_own, parts))


def look(step: Any) -> dict[str, Any]:
    """What a step is made of, by the names of classes and attributes: numbers, arrays, generators.

    A number is kept as it is, a generator as its state, an array of the host with its values. Of
    steps that are all xpnet's own nothing is: they are pure.
    """
    found: dict[str, Any] = {}
    if is_ours(step):
        return found
    for name, part in vars(step).items():
        if name != "xp":
            _walk(part, type(part).__name__, found, set())
    return found


def _walk(value: Any, place: str, found: dict[str, Any], seen: set[int]) -> None:
    if isinstance(value, (bool, int, float, str)):
        found[place] = repr(value)
    elif isinstance(value, np.random.Generator):
        found[place] = pickle.dumps(value.bit_generator.state)
    elif isinstance(value, (np.random.RandomState, random.Random)):
        found[place] = pickle.dumps(value)
    elif isinstance(value, np.ndarray):
        found[place] = value.tobytes() if value.size <= LOOKED_AT else value
    elif id(value) in seen or hasattr(value, "_tape"):  # the namespace of a recording
        return
    elif isinstance(value, (tuple, list)):
        seen.add(id(value))
        found[f"{place}'s length"] = repr(len(value))
        for item in value:
            # Layers of one class are told apart by their place, which nobody needs to read.
            _walk(item, _named(item, place), found, seen)
    elif isinstance(value, dict):
        seen.add(id(value))
        for key, item in value.items():
            _walk(item, f"{place}[{key!r}]", found, seen)
    elif isinstance(value, partial):
        _walk((value.func, value.args, value.keywords), place, found, seen)
    elif isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with suppress(ValueError):  # of one that is not yet filled
                _walk(cell.cell_contents, f"{place}'s {name}", found, seen)
    elif not isinstance(value, ModuleType) and hasattr(value, "shape"):
        found[place] = value
    elif hasattr(value, "__dict__") and not isinstance(value, (type, ModuleType)):
        seen.add(id(value))
        for name, item in vars(value).items():
            _walk(item, f"{place}.{name}", found, seen)


def _named(item: Any, place: str) -> str:
    own = hasattr(item, "__dict__") and not isinstance(item, FunctionType)
    return f"{type(item).__name__}#{id(item)}" if own else f"{place}#{id(item)}"


class KeptArray(TypeError):
    """A step uses an array that it has kept from the one before."""


def _recorded(value: Any) -> bool:
    return hasattr(value, "tape")


def an_array(value: Any) -> bool:
    """Whether this is any array."""
    return hasattr(value, "shape")


def require_unchanged(
    step: Any, before: dict[str, Any], passing: Callable[[Any], bool] = _recorded
) -> bool:
    """Return whether a step has kept an array of its own where there was another.

    That may be for its backprop; used in the next step it is `KeptArray`.

    Args:
        step: the step, after it was called.
        before: how it looked before.
        passing: tells the arrays that a step may keep for its backprop: stand-ins, or, where steps
            run as they are written, all.

    Raises:
        TypeError: if a number or a generator is another than ``before``.
    """
    after, kept = look(step), False
    for place, value in before.items() if before else ():
        now = after.get(place)
        if passing(value) or (passing(now) and not isinstance(value, str)):
            kept |= now is not value
        elif not (now is value or (type(now) is type(value) in (bytes, str) and now == value)):
            name = "".join(part.lstrip("0123456789") for part in place.split("#"))
            raise TypeError(
                f"{name} is changed by a training step, which most libraries record or compile "
                "once, and which would never change it again there: a step must be pure. A layer "
                "declares counters and running values by state(), and draws from the noise that it "
                "is handed with draws = True; an optimizer has init_state; a loss its data."
            )
    return kept


CHANGES = (
    "A layer, loss or optimizer does something else each time it is called ({}), such as to count "
    "or to draw random numbers, which most libraries record or compile once, and which would never "
    "change again there: a step must be pure. A layer declares what it counts by state(), and "
    "draws from the noise that it is handed with draws = True; an optimizer has init_state; a loss "
    "its data."
)
"""What is said of a step that does not do twice the same."""
