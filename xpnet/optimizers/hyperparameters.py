"""The numbers of an optimizer: where they are checked, and where a step finds them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from xpnet import checks
from xpnet.optimizers.numbers import check_plain
from xpnet.optimizers.schedules import SCHEDULED, Schedule
from xpnet.types import Array

Number = Any
"""A number, an array of shape ``(members, 1)``, one a member, or a `Schedule`."""
State = dict[str, Array]

AVERAGE = "ema"
"""What a state calls the average of the parameters."""
DECAYED = "decayed"
"""What a state calls the 1 of each parameter that is decayed, and the 0 of each that is not."""


def check_number(name: str, value: Number, **bounds: float) -> Number:
    """Return a number as `check_plain` does, or a schedule where there may be one, or raise."""
    if isinstance(value, Schedule):
        if name not in SCHEDULED:
            raise TypeError(
                f"{name} must be a number, or one a member, not the schedule "
                f"{checks.shown(value)}, such as {' and '.join(SCHEDULED)} may be."
            )
        return value
    try:
        return check_plain(name, value, **bounds)
    except TypeError as error:
        also = ""
        if isinstance(value, (list, tuple)):
            also = ", or an array of shape (members, 1), not"  # what it was meant for
        elif name in SCHEDULED and callable(value):
            also = ", or a schedule such as CosineDecay(1e-2, steps=1000), not"
        if not also:
            raise
        raise TypeError(str(error).replace(", not", also, 1)) from None


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

    @property
    def weight_decay(self) -> Number:
        """``λ``; where not all parameters are decayed a vector of it, with 0 for the others."""
        number, mask = self.__getattr__("weight_decay"), self._state.get(DECAYED)
        return number if mask is None else number * mask

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


def scheduled(
    xp: Any, schedules: dict[str, Schedule], theta: Array, count: Array, state: State
) -> State:
    """What the schedules of an optimizer give for the step of this ``count``, from 1 on.

    Their own numbers come from the state if they are there, as those of the optimizer do.
    """
    if not schedules:
        return {}
    done = xp.astype(count - 1, theta.dtype)
    found = {
        name: schedule.bound(_theirs(name, schedule, state))(xp, done)
        for name, schedule in schedules.items()
    }
    for name, number in found.items():
        if not checks.has_form(number, done.shape, done.dtype):
            raise ValueError(
                f"{name}, {checks.shown(schedules[name])}, must give an array of the shape "
                f"{tuple(done.shape)} and the dtype {done.dtype} of done, "
                f"not {checks.formed(number)}."
            )
    return found


def _theirs(name: str, schedule: Schedule, state: State) -> State:
    """What a state holds of the schedule of a number, as the schedule names it."""
    keys = {inner: within(name, inner) for inner in (*schedule.numbers(), *schedule.derivations())}
    return {inner: state[key] for inner, key in keys.items() if key in state}


def within(name: str, inner: str) -> str:
    """How a number of a schedule is named among those of an optimizer: ``log gamma`` of ``lr`` is
    ``log lr.gamma``.
    """
    operation, _, path = inner.rpartition(" ")
    return f"{operation} {name}.{path}".lstrip()


def _log(number: float) -> float:
    return math.log(number) if number > 0 else -math.inf


@cache
def derivation(key: str) -> tuple[Callable[[float], float], str]:
    """What is done to a number to derive ``"1 - alpha"`` or ``"log beta1"``, and its name."""
    operation, _, name = key.rpartition(" ")
    return {"1 -": lambda number: 1 - number, "log": _log}[operation], name
