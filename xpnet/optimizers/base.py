"""What an optimizer is: its boundary, and the step that each of them fills in.

Inside a step, go on with the name that an augmented assignment has bound. After ``m = state["m"]``
and ``m *= beta``, ``m`` is the new value everywhere, and ``state["m"]`` the old one on JAX and the
new one elsewhere, as are a view of ``m`` and another name for it; a step that uses them is not
recorded, and slower.

Steps are counted in integers of 64 bits; in JAX's 32-bit mode of 32, which stand still at 2³¹ − 1.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from xpnet import backends, checks
from xpnet.checks import shown
from xpnet.layers.checked import is_own
from xpnet.optimizers.hyperparameters import (
    AVERAGE,
    Hyperparameters,
    Number,
    State,
    check_number,
    derivation,
    scheduled,
    within,
)
from xpnet.optimizers.numbers import is_per_member, of_member, of_members, written
from xpnet.optimizers.schedules import Schedule
from xpnet.optimizers.states import (
    check_state,
    check_step,
    check_theta,
    first_state,
    next_step,
    resumed,
)
from xpnet.optimizers.transforms import Transform, clip_norm, clip_value, transformed
from xpnet.types import Array

if TYPE_CHECKING:
    from xpnet.network import Sequential


class Shared(TypedDict, total=False):
    """The arguments that every `Optimizer` has."""

    transforms: Sequence[Transform]
    clip_norm: Number | None
    clip_value: Number | None
    decayed: str
    ema_decay: Number | None


@dataclass(frozen=True, eq=False, repr=False)
class Optimizer(ABC):
    """What all optimizers share: the boundary, and where their numbers come from inside a step.

    Long by its docstrings: what is long in itself stands in ``states``, ``numbers`` and ``betas``.

    Args:
        transforms: what is done to the gradient first, such as ``(ClipNorm(1.0),)``, in order.
        clip_norm: how long the gradient may be, above 0, as `ClipNorm` has it.
        clip_value: how far from 0 each of its elements may be, as `ClipValue` has it; one of both.
        decayed: which parameters ``weight_decay`` is for: ``"all"``, or ``"weights"``, those of
            `Linear` and `Embedding` alone, and no biases, gains of norms, and slopes.
        ema_decay: ``β``, from 0 and below 1, of an average of the parameters, which the state keeps
            and `Model.ema` predicts with: ``ema ← β ema + (1 − β) θ`` behind each update, ``θ``
            behind the first, as ``torch.optim.swa_utils.AveragedModel`` with
            ``get_ema_multi_avg_fn(β)``; ``None`` for no average.

    Attributes:
        derived: what a step needs of its numbers besides themselves, such as ``"1 - beta1"``: the
            name of an entry of the state, where the number is an array.
    """

    derived: ClassVar[tuple[str, ...]] = ()

    transforms: Sequence[Transform] = field(default=(), kw_only=True)
    clip_norm: Number | None = field(default=None, kw_only=True)
    clip_value: Number | None = field(default=None, kw_only=True)
    decayed: str = field(default="all", kw_only=True)
    ema_decay: Number | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self._require()

    def __repr__(self) -> str:
        return written(self)

    def _require(self, *names: str, **bounds: float) -> None:
        """Check these numbers, and keep plain ones as floats; and what all optimizers share."""
        object.__setattr__(self, "transforms", _transforms(self.transforms))
        clips = [name for name in ("clip_norm", "clip_value") if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(
                "clip_value must be None where clip_norm is given, not "
                f"{shown(self.clip_value)}; transforms=(ClipValue(…), ClipNorm(…)) does both, in "
                "this order."
            )
        checks.one_of("decayed", self.decayed, ["all", "weights"])
        if self.decayed != "all" and not hasattr(self, "weight_decay"):
            raise ValueError(
                f"decayed must be 'all' for {type(self).__name__}, which has no weight_decay, not "
                f"{self.decayed!r}."
            )
        for name in names:
            object.__setattr__(self, name, check_number(name, getattr(self, name), **bounds))
        for name in clips:
            object.__setattr__(self, name, check_number(name, getattr(self, name), above=0))
        if self.ema_decay is not None:
            decay = check_number("ema_decay", self.ema_decay, least=0, below=1)
            object.__setattr__(self, "ema_decay", decay)

    def _require_switches(self, *names: str) -> None:
        for name in names:
            checks.switch(name, getattr(self, name))

    def hyperparameters(self) -> dict[str, Number]:
        """The numbers that may differ from member to member, by name."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        for name, schedule in self.schedules.items():
            found |= {within(name, inner): v for inner, v in schedule.numbers().items()}
        others = bool, str, tuple, type(None)
        return {k: value for k, value in found.items() if not isinstance(value, others)}

    def derivations(self) -> list[str]:
        """What is ``derived`` of the numbers, by itself and by its schedules."""
        average = [] if self.ema_decay is None else ["1 - ema_decay"]
        theirs = {name: schedule.derivations() for name, schedule in self.schedules.items()}
        of_schedules = (within(name, d) for name, ds in theirs.items() for d in ds)
        return [*self.derived, *average, *of_schedules]

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules among its numbers."""
        return {k: value for k, value in vars(self).items() if isinstance(value, Schedule)}

    def per_member(self) -> list[Array]:
        """The arrays among them, of one number a member: `init` puts them into the state."""
        return [value for value in self.hyperparameters().values() if is_per_member(value)]

    def of_member(self, i: int) -> Optimizer:
        """This optimizer for member ``i`` alone, with its number where there is one a member."""
        own: Optimizer = of_member(self, i) if self.per_member() else self
        return own

    def of_members(self, rows: slice) -> Optimizer:
        """This optimizer for these members alone, with their numbers where each has one."""
        own: Optimizer = of_members(self, rows) if self.per_member() else self
        return own

    @property
    def masks(self) -> bool:
        """Whether some parameters are decayed and others not."""
        weight_decay = getattr(self, "weight_decay", 0.0)
        return self.decayed != "all" and (checks.is_array(weight_decay) or weight_decay != 0)

    def init(self, theta: Array, network: Sequential | None = None) -> State:
        """Return the state before the first update of ``theta``.

        Args:
            theta: the parameters.
            network: whose they are; with ``decayed="weights"`` it says which of them are weights.

        Raises:
            TypeError, ValueError: if ``theta`` is no array of floats, ``(size,)`` or ``(members,
                size)``, a number's members are not its, or the network has no such parameters.
        """
        checks.given(theta=theta)
        backend = backends.of(theta, names=("theta",))
        check_theta(backend, theta)
        return first_state(self, backend, theta, network)

    def resume(self, theta: Array, state: State, network: Sequential | None = None) -> State:
        """Return the state to go on from ``state``, with the numbers of this optimizer.

        Arguments as for `init`.

        Raises:
            TypeError, ValueError: if it is not such a state as ``init(theta)`` makes.
        """
        return resumed(self, theta, state, network)

    def update(self, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        """Return ``theta`` after one step along ``grad``, and the next state.

        Raises:
            TypeError, ValueError: if ``theta`` and ``grad`` differ in shape, dtype, library or
                device, or ``state`` is not of the form that ``init(theta)`` makes.
        """
        checks.given(theta=theta, grad=grad)
        backend = backends.of(theta, grad, names=("theta", "grad"))
        check_theta(backend, theta)
        checks.same_dtype(backend, grad, "grad", theta, "theta")
        if theta.shape != grad.shape:
            raise ValueError(
                f"grad must have the shape {tuple(theta.shape)} of theta, not {tuple(grad.shape)}."
            )
        check_state(self, backend.name, theta, state)
        with backend.context():
            moved, after = self.advance(backend.xp, theta, grad, state)
            if not is_own(self):
                check_step(self, {"theta": theta, **state}, {"theta": moved, **after})
            return moved, after

    # ---- the mathematics, inside a step

    def init_state(self, xp: Any, theta: Array) -> State:
        """The moments before the first step, of the shape of ``theta``, or of no axes."""
        return {}

    @abstractmethod
    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        """The pure update; ``state`` is the step's to write into.

        ``state["step"]`` is the number of this step, from 1 on: an integer of no axes, or
        ``(members, 1)``, since members that leave a run early keep their own.
        """

    def advance(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        """Count a step and do it: the inside of `update`, unchecked."""
        count = next_step(xp, state["step"])
        grad = self._clipped(xp, transformed(xp, self.transforms, grad), state)
        numbers = scheduled(xp, self.schedules, theta, count, state)
        theta, after = self.step(xp, theta, grad, {**state, **numbers, "step": count})
        kept = {name: array for name, array in after.items() if name not in numbers}
        kept["step"] = count
        if self.ema_decay is not None:
            kept[AVERAGE] = averaged(xp, self.given(state), state[AVERAGE], theta, count)
        return theta, kept

    def _clipped(self, xp: Any, grad: Array, state: State) -> Array:
        if self.clip_norm is not None:
            return clip_norm(xp, grad, self.given(state).clip_norm)
        if self.clip_value is not None:
            return clip_value(xp, grad, self.given(state).clip_value)
        return grad

    @property
    def parts(self) -> list[Any]:
        """What it is made of that may be somebody's own, itself, schedules and transforms."""
        return [self, *self.transforms, *self.schedules.values()]

    def given(self, state: State) -> Hyperparameters:
        """Its numbers, for a step in this ``state``."""
        return Hyperparameters(self, state)

    # ---- numbers as operands of a program, so that it is compiled once for all of them

    def operands(self) -> dict[str, float]:
        """The plain numbers, and what is derived of them, that a step may find in its state.

        Only of xpnet's own optimizers, which take all of them from there; none that are 0, since
        a step may leave out what they are in.
        """
        if not all(map(is_own, self.parts)):  # whose step may read its own attributes
            return {}
        found = {k: v for k, v in self.hyperparameters().items() if isinstance(v, float) and v != 0}
        for key in self.derivations():
            derive, name = derivation(key)
            if name in found:
                found[key] = derive(found[name])
        return found

    def template(self, operands: Collection[str]) -> Optimizer:
        """This optimizer without these of its `operands`: NaN, which its state has in its place."""
        blank = copy.copy(self)
        for one in fields(self):
            if one.name in operands:
                object.__setattr__(blank, one.name, math.nan)
        for name, schedule in self.schedules.items():
            theirs = [inner for inner in schedule.numbers() if within(name, inner) in operands]
            object.__setattr__(blank, name, schedule.bound(dict.fromkeys(theirs, math.nan)))
        return blank

    # ---- equality by value, so that equal optimizers share one compiled program; arrays of numbers
    # are part of the state, and count as equal here

    def _key(self) -> tuple[Any, ...]:
        arrays = {id(array) for array in self.per_member()}
        return type(self), *((k, _frozen(v, arrays)) for k, v in sorted(vars(self).items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Optimizer) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def _transforms(given: Any) -> tuple[Transform, ...]:
    """The transforms as a tuple, or raise."""
    if isinstance(given, Transform):
        raise TypeError(f"transforms must be a sequence of transforms, as ({shown(given)},).")
    if not isinstance(given, (tuple, list)):
        raise TypeError(f"transforms must be a sequence of transforms, not {shown(given)}.")
    for i, transform in enumerate(given):
        wanted = "a transform such as ClipNorm(1.0)"
        checks.instance(f"transforms[{i}]", transform, Transform, wanted)
    return tuple(given)


def _frozen(value: Any, per_member: set[int]) -> Any:
    """A value as it is compared.

    What a class of somebody's adds, such as a mask, is no part of the state: arrays there are the
    same only if they are one.
    """
    if isinstance(value, (tuple, list)):
        return tuple(_frozen(v, per_member) for v in value)
    if isinstance(value, Schedule) and value.numbers():
        parts = sorted(vars(value).items())
        return type(value), *((name, _frozen(part, per_member)) for name, part in parts)
    if is_per_member(value):
        return "array" if id(value) in per_member else id(value)
    return value


# ---- what several optimizers do


def signed(grad: Array, theta: Array, weight_decay: Number, maximize: bool) -> Array:
    """The gradient to descend: turned around to maximize, with the L2 term ``λ θ``."""
    if maximize:
        grad = -grad
    if checks.is_array(weight_decay) or weight_decay != 0:
        grad = grad + weight_decay * theta
    return grad


def decayed(
    h: Hyperparameters, theta: Array, grad: Array, decoupled: bool, maximize: bool
) -> tuple[Array, Array]:
    """``theta`` and the gradient after weight decay: ``θ ← θ − lr λ θ`` if ``decoupled``.

    Else it is `signed`'s L2 term.
    """
    weight_decay = h.weight_decay
    if decoupled:
        theta = theta - h.lr * weight_decay * theta
        weight_decay = 0.0
    return theta, signed(grad, theta, weight_decay, maximize)


def averaged(xp: Any, h: Hyperparameters, ema: Array, theta: Array, count: Array) -> Array:
    """The next average of the parameters: by the way that it goes, which ends where they stay."""
    ema += xp.maximum(xp.astype(count == 1, theta.dtype), h.one_minus("ema_decay")) * (theta - ema)
    return ema


def zeros(xp: Any, theta: Array, names: Iterable[str]) -> State:
    """Zeros like ``theta``, each its own: a copy, which JAX makes in half the time of the first."""
    first, *others = names
    zeros = xp.zeros_like(theta)
    return {first: zeros, **{name: xp.asarray(zeros, copy=True) for name in others}}
