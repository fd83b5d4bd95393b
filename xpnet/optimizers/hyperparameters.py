"""The numbers of an optimizer: where they are checked, and where a step finds them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from xpnet import backends, checks
from xpnet.optimizers.schedules import SCHEDULED, Schedule
from xpnet.types import Array

Number = Any
"""A number, an array of shape ``(members, 1)``, one a member, or a `Schedule`."""
State = dict[str, Array]


def check_number(name: str, value: Number, **bounds: float) -> Number:
    """Return a number as a float, or an array of one number a member as it is, or raise.

    A float, since scalars and 0-d arrays of a library would not go with the arrays of another, and
    promote float32 to float64.
    """
    if isinstance(value, Schedule):
        if name not in SCHEDULED:
            raise TypeError(
                f"{name} must be a number, or one a member, not the schedule "
                f"{checks.shown(value)}, such as {' and '.join(SCHEDULED)} may be."
            )
        return value
    if checks.is_array(value) and checks.shape_of(value):
        if len(value.shape) != 2 or value.shape[1] != 1:
            raise ValueError(
                f"{name} must be a number or an array of shape (members, 1), "
                f"not of shape {tuple(value.shape)}."
            )
        backend = backends.of(value, names=(name,))
        for member in backend.to_host(value).ravel().tolist():
            checks.number(name, member, **bounds)
        return value
    try:
        return checks.number(name, value, **bounds)
    except TypeError as error:
        also = ""
        if isinstance(value, (list, tuple)):
            also = ", or an array of shape (members, 1), not"  # what it was meant for
        elif name in SCHEDULED and callable(value):
            also = ", or a schedule such as CosineDecay(1e-2, steps=1000), not"
        if not also:
            raise
        raise TypeError(str(error).replace(", not", also, 1)) from None


def is_per_member(value: Any) -> bool:
    """Whether this is an array of numbers, one a member."""
    return checks.is_array(value) and len(value.shape) > 0


class Hyperparameters:
    """The numbers of an optimizer in a step, by their names: ``h.lr``.

    Each comes from the state if it is there, as arrays of one number a member are, what a schedule
    gives for the step, and what a compiled program is given anew for each training; else from the
    optimizer itself.

    ``1 − β`` and ``log β`` are taken of the numbers as they are given, never of what float32 makes
    of them: it has no number between 1 − 6e-8 and 1.
    """

    def __init__(self, optimizer: Any, state: State) -> None:
        self._optimizer, self._state = optimizer, state

    def __getattr__(self, name: str) -> Number:
        found = self._state.get(name)
        return getattr(self._optimizer, name) if found is None else found

    def one_minus(self, name: str) -> Number:
        """``1 − β`` for the number ``β`` of this name; the optimizer lists it as ``derived``."""
        return self._derived(f"1 - {name}")

    def log_of(self, name: str) -> Number:
        """``log β``, as `one_minus`."""
        return self._derived(f"log {name}")

    def _derived(self, key: str) -> Number:
        if key in self._state:
            return self._state[key]
        derive, name = derivation(key)
        return derive(getattr(self._optimizer, name))


def scheduled(xp: Any, numbers: dict[str, Number], theta: Array, count: Array) -> State:
    """What the schedules among the numbers give for the step of this ``count``, from 1 on."""
    schedules = {name: v for name, v in numbers.items() if isinstance(v, Schedule)}
    if not schedules:
        return {}
    done = xp.astype(count - 1, theta.dtype)
    found = {name: schedule(xp, done) for name, schedule in schedules.items()}
    for name, number in found.items():
        if not checks.has_form(number, done.shape, done.dtype):
            raise ValueError(
                f"{name}, {checks.shown(schedules[name])}, must give an array of the shape "
                f"{tuple(done.shape)} and the dtype {done.dtype} of done, "
                f"not {checks.formed(number)}."
            )
    return found


def _log(number: float) -> float:
    return math.log(number) if number > 0 else -math.inf


@cache
def derivation(key: str) -> tuple[Callable[[float], float], str]:
    """What is done to a number to derive ``"1 - alpha"`` or ``"log beta1"``, and its name."""
    operation, _, name = key.rpartition(" ")
    return {"1 -": lambda number: 1 - number, "log": _log}[operation], name
