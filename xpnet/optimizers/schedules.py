"""Numbers of an optimizer that follow from the count of its steps."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar

from xpnet import checks
from xpnet.optimizers.numbers import check_plain, is_per_member, written
from xpnet.types import Array

SCHEDULED = ("lr", "weight_decay")
"""Which numbers of an optimizer may be schedules: those that nothing is derived from."""

Plain = Any
"""A number, or an array ``(members, 1)`` of one a member."""


class Schedule(ABC):
    """What may stand for ``lr`` or ``weight_decay``: a pure function of the count of steps.

    It is computed within the step, from the count in the optimizer's state, so that a run that goes
    on from a state goes on with its schedule. Numbers of a dataclass may be arrays ``(members, 1)``
    of one a member.
    """

    derived: ClassVar[tuple[str, ...]] = ()
    """Of which of its numbers it takes the logarithm, by `log_of`."""

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

    def __repr__(self) -> str:
        return written(self) if is_dataclass(self) else super().__repr__()

    # ---- its numbers, as an optimizer finds them in its state

    def numbers(self) -> dict[str, Plain]:
        """Its floats and arrays by name, and those of schedules within it as ``then.start``."""
        found: dict[str, Plain] = {}
        for name, value in self._parts().items():
            if isinstance(value, Schedule):
                found |= {f"{name}.{inner}": number for inner, number in value.numbers().items()}
            elif isinstance(value, float) or (is_per_member(value) and value.shape[1:] == (1,)):
                found[name] = value
        return found

    def derivations(self) -> list[str]:
        """What it derives of them, as ``log then.gamma``."""
        inner = {n: v.derivations() for n, v in self._parts().items() if isinstance(v, Schedule)}
        theirs = [key.replace(" ", f" {name}.") for name, keys in inner.items() for key in keys]
        return [*(f"log {name}" for name in self.derived), *theirs]

    def bound(self, numbers: Mapping[str, Any]) -> Schedule:
        """This schedule with others in place of these `numbers` and `derivations`."""
        other, inner = copy.copy(self), dict[str, dict[str, Any]]()
        for key, value in numbers.items():
            operation, _, path = key.rpartition(" ")
            name, _, rest = path.partition(".")
            if rest:
                inner.setdefault(name, {})[f"{operation} {rest}".lstrip()] = value
            else:
                vars(other)[key] = value
        for name, theirs in inner.items():
            vars(other)[name] = getattr(self, name).bound(theirs)
        return other

    def log_of(self, name: str) -> Any:
        """The logarithm of a number that is ``derived``: of what was given, not of a float32."""
        found = vars(self).get(f"log {name}")
        return math.log(getattr(self, name)) if found is None else found

    def _parts(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else {}

    def _check(self, *names: str, **bounds: float) -> None:
        """Check these numbers, and keep plain ones as floats."""
        for name in names:
            object.__setattr__(self, name, check_plain(name, getattr(self, name), **bounds))

    def _check_whole(self, *names: str) -> None:
        for name in names:
            object.__setattr__(self, name, checks.whole(name, getattr(self, name)))


def _part(xp: Any, done: Array, steps: float) -> Array:
    """``t / steps``, at most 1."""
    return xp.minimum(done * (1 / steps), xp.ones_like(done))


def _cosine(xp: Any, start: Plain, end: Plain, part: Array) -> Array:
    """From ``start`` to ``end`` by half a wave of a cosine."""
    return end + (start - end) * 0.5 * (1 + xp.cos(math.pi * part))


@dataclass(frozen=True, repr=False)
class ExponentialDecay(Schedule):
    """``start · γᵗ`` after ``t`` steps, as ``torch.optim.lr_scheduler.ExponentialLR`` a step.

    Args:
        start: the number of the first step, at least 0.
        gamma: ``γ``, above 0 and up to 1.
    """

    derived = ("gamma",)

    start: Plain
    gamma: Plain

    def __post_init__(self) -> None:
        self._check("start", least=0)
        self._check("gamma", above=0, most=1)

    def __call__(self, xp: Any, done: Array) -> Array:
        # By the logarithm: a power of float32 would take γ as float32 has it, t times over.
        return self.start * xp.exp(done * self.log_of("gamma"))


@dataclass(frozen=True, repr=False)
class StepDecay(Schedule):
    """``start · γ^⌊t / every⌋`` after ``t`` steps, as ``torch.optim.lr_scheduler.StepLR``.

    Args:
        start: the number of the first step, at least 0.
        every: after how many steps it is multiplied by ``γ`` again, at least 1.
        gamma: ``γ``, above 0 and up to 1.
    """

    derived = ("gamma",)

    start: Plain
    every: int
    gamma: Plain = 0.1

    def __post_init__(self) -> None:
        self._check("start", least=0)
        self._check("gamma", above=0, most=1)
        self._check_whole("every")

    def __call__(self, xp: Any, done: Array) -> Array:
        times = (done - done % self.every) * (1 / self.every)
        return self.start * xp.exp(times * self.log_of("gamma"))


@dataclass(frozen=True, repr=False)
class PolynomialDecay(Schedule):
    """``end + (start − end) (1 − t / steps)^p`` after ``t`` steps, then ``end``.

    With ``end = 0`` as ``torch.optim.lr_scheduler.PolynomialLR``; with ``p = 1`` a straight line.

    Args:
        start: the number of the first step, at least 0.
        steps: after how many steps it has come to ``end``, at least 1.
        power: ``p``, above 0.
        end: the number from there on, at least 0.
    """

    start: Plain
    steps: int
    power: Plain = 1.0
    end: Plain = 0.0

    def __post_init__(self) -> None:
        self._check("start", "end", least=0)
        self._check("power", above=0)
        self._check_whole("steps")

    def __call__(self, xp: Any, done: Array) -> Array:
        left = 1 - _part(xp, done, self.steps)
        return self.end + (self.start - self.end) * left**self.power


@dataclass(frozen=True, repr=False)
class PiecewiseConstant(Schedule):
    """``values[i]`` from ``boundaries[i − 1]`` steps on, and ``values[0]`` before.

    As ``torch.optim.lr_scheduler.MultiStepLR`` with its milestones as boundaries.

    Args:
        boundaries: counts of steps, whole numbers that grow.
        values: one more of them, each at least 0.
    """

    boundaries: Sequence[int]
    values: Sequence[float]

    def __post_init__(self) -> None:
        for name in ("boundaries", "values"):
            if not isinstance(getattr(self, name), (list, tuple)):
                shown = checks.shown(getattr(self, name))
                raise TypeError(f"{name} must be a sequence of numbers, not {shown}.")
        counts = [checks.whole(f"boundaries[{i}]", n) for i, n in enumerate(self.boundaries)]
        if sorted(set(counts)) != counts:
            raise ValueError(f"boundaries must grow, not be {checks.shown(counts)}.")
        found = [checks.number(f"values[{i}]", v, least=0) for i, v in enumerate(self.values)]
        if len(found) != len(counts) + 1:
            raise ValueError(
                f"values must be {len(counts) + 1}, one more than the boundaries, not {len(found)}."
            )
        object.__setattr__(self, "boundaries", tuple(counts))
        object.__setattr__(self, "values", tuple(found))

    def __call__(self, xp: Any, done: Array) -> Array:
        ones = xp.ones_like(done)
        found = self.values[0] * ones
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            found = xp.where(done >= boundary, value * ones, found)
        return found


@dataclass(frozen=True, repr=False)
class CosineDecay(Schedule):
    """``end + (start − end) (1 + cos(π t / steps)) / 2`` after ``t`` steps, then ``end``.

    Loshchilov and Hutter 2017, "SGDR", without restarts; up to ``steps`` as
    ``torch.optim.lr_scheduler.CosineAnnealingLR``.

    Args:
        start: the number of the first step, at least 0.
        steps: after how many steps it has come to ``end``, at least 1.
        end: the number from there on, at least 0.
    """

    start: Plain
    steps: int
    end: Plain = 0.0

    def __post_init__(self) -> None:
        self._check("start", "end", least=0)
        self._check_whole("steps")

    def __call__(self, xp: Any, done: Array) -> Array:
        return _cosine(xp, self.start, self.end, _part(xp, done, self.steps))


@dataclass(frozen=True, repr=False)
class CosineRestarts(Schedule):
    """`CosineDecay` again and again, each ``factor`` times as long (Loshchilov and Hutter 2017).

    As ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``. In float32 a restart comes at its
    step for a million steps.

    Args:
        start: the number at the first step of each, at least 0.
        steps: how many steps the first takes, at least 1.
        factor: how many times longer the next is, a whole number of at least 1.
        end: what each comes near, at least 0.
    """

    start: Plain
    steps: int
    factor: int = 1
    end: Plain = 0.0

    def __post_init__(self) -> None:
        self._check("start", "end", least=0)
        self._check_whole("steps", "factor")

    def __call__(self, xp: Any, done: Array) -> Array:
        if self.factor == 1:
            part = done % self.steps * (1 / self.steps)
        else:
            times = self._times(xp, done)
            part = (done - self._before(xp, times)) / (times * self.steps)
        return _cosine(xp, self.start, self.end, part)

    def _times(self, xp: Any, done: Array) -> Array:
        """How many times as long as the first the round under way is: ``factorⁱ``."""
        i = xp.log1p(done * ((self.factor - 1) / self.steps)) * (1 / math.log(self.factor))
        times = xp.round((self.factor * xp.ones_like(i)) ** xp.floor(i))
        # Where a round begins or ends, a rounded logarithm may be that of the one beside it.
        times = xp.where(done < self._before(xp, times), times * (1 / self.factor), times)
        return xp.where(done < self._before(xp, times * self.factor), times, times * self.factor)

    def _before(self, xp: Any, times: Array) -> Array:
        """How many steps the rounds take before the one that is so many times as long."""
        return xp.round((times - 1) * (self.steps / (self.factor - 1)))


@dataclass(frozen=True, repr=False)
class WarmUp(Schedule):
    """Another schedule, or a number, after a straight way up to its first number.

    ``then(0) (f + (1 − f) t / steps)`` after ``t < steps`` steps, and ``then(t − steps)`` after
    more, as ``torch.optim.lr_scheduler.LinearLR`` and another behind it in a ``SequentialLR``.

    Args:
        steps: how many steps the way up takes, at least 1.
        then: what follows, such as ``CosineDecay(1e-2, 1000)``.
        factor: ``f``, where it begins, from 0 to 1.
    """

    steps: int
    then: Any
    factor: Plain = 0.0

    def __post_init__(self) -> None:
        self._check_whole("steps")
        self._check("factor", least=0, most=1)
        if callable(self.then) and not isinstance(self.then, Schedule):
            raise TypeError(
                "then must be a schedule such as CosineDecay(1e-2, steps=1000), or a number, "
                f"not {checks.shown(self.then)}."
            )
        if not isinstance(self.then, Schedule):
            self._check("then", least=0)

    def __call__(self, xp: Any, done: Array) -> Array:
        later = self.then
        if isinstance(later, Schedule):
            later = later(xp, xp.maximum(done - self.steps, xp.zeros_like(done)))
        return later * (self.factor + (1 - self.factor) * _part(xp, done, self.steps))


@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    """Up to ``most`` and down again, by cosines (Smith and Topin 2018).

    As ``torch.optim.lr_scheduler.OneCycleLR``: from ``most / first`` to ``most`` in the part
    ``rising`` of the steps, then down to ``most / (first · last)`` at the last of them, where it
    stays.

    Args:
        most: the greatest number, at least 0.
        steps: how many steps all take.
        rising: the part of the steps that go up, above 0 and below 1, and more than one of them.
        first, last: as above, at least 1.
    """

    most: Plain
    steps: int
    rising: float = 0.3
    first: Plain = 25.0
    last: Plain = 1e4

    def __post_init__(self) -> None:
        self._check("most", least=0)
        self._check("first", "last", least=1)
        self._check_whole("steps")
        part = checks.number("rising", self.rising, above=0, below=1)
        if part * self.steps <= 1:
            raise ValueError(
                f"steps must be enough to go up and down, above {1 / part:.3g} with "
                f"rising={part:g}, not {self.steps}."
            )
        object.__setattr__(self, "rising", part)

    def numbers(self) -> dict[str, Plain]:
        return {name: value for name, value in super().numbers().items() if name != "rising"}

    def __call__(self, xp: Any, done: Array) -> Array:
        up = self.rising * self.steps - 1
        down = self.steps - 1 - up
        begin = self.most / self.first
        rising = _cosine(xp, begin, self.most, _part(xp, done, up))
        falling = xp.maximum(done - up, xp.zeros_like(done))
        fallen = _cosine(xp, self.most, begin / self.last, _part(xp, falling, down))
        return xp.where(done > up, fallen, rising)
