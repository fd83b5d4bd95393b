"""Numbers of an optimizer that follow from the count of its steps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from xpnet import checks
from xpnet.types import Array

SCHEDULED = ("lr", "weight_decay")
"""Which numbers of an optimizer may be schedules: those that nothing is derived from."""


class Schedule(ABC):
    """What may stand for ``lr`` or ``weight_decay``: a pure function of the count of steps.

    It is computed within the step, from the count in the optimizer's state, so that a run that goes
    on from a state goes on with its schedule.
    """

    @abstractmethod
    def __call__(self, xp: Any, done: Array) -> Array:
        """The number for a step.

        Args:
            xp: the array namespace.
            done: how many steps were done before, 0 for the first: a float of the dtype of the
                parameters, without axes or ``(members, 1)``.

        Returns:
            An array of the shape and dtype of ``done``.
        """


def _at_least_0(schedule: Any, *names: str) -> None:
    for name in names:
        number = checks.number(name, getattr(schedule, name), least=0)
        object.__setattr__(schedule, name, number)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """``start · γᵗ`` after ``t`` steps, as ``torch.optim.lr_scheduler.ExponentialLR`` a step.

    Args:
        start: the number of the first step, at least 0.
        gamma: ``γ``, above 0 and up to 1.
    """

    start: float
    gamma: float

    def __post_init__(self) -> None:
        _at_least_0(self, "start")
        gamma = checks.number("gamma", self.gamma, above=0, most=1)
        object.__setattr__(self, "gamma", gamma)

    def __call__(self, xp: Any, done: Array) -> Array:
        # By the logarithm: a power of float32 would take γ as float32 has it, t times over.
        return self.start * xp.exp(done * math.log(self.gamma))


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """``end + (start − end) (1 + cos(π t / steps)) / 2`` after ``t`` steps, then ``end``.

    Loshchilov and Hutter 2017, "SGDR", without restarts; up to ``steps`` as
    ``torch.optim.lr_scheduler.CosineAnnealingLR``.

    Args:
        start: the number of the first step, at least 0.
        steps: after how many steps it has come to ``end``, at least 1.
        end: the number from there on, at least 0.
    """

    start: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        _at_least_0(self, "start", "end")
        object.__setattr__(self, "steps", checks.whole("steps", self.steps))

    def __call__(self, xp: Any, done: Array) -> Array:
        part = xp.minimum(done * (1 / self.steps), xp.ones_like(done))
        return self.end + (self.start - self.end) * 0.5 * (1 + xp.cos(math.pi * part))
