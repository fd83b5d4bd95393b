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
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from xpnet import backends, checks
from xpnet.checks import shown
from xpnet.layers.checked import is_own
from xpnet.optimizers.hyperparameters import (
    Hyperparameters,
    Number,
    State,
    check_number,
    derivation,
    is_per_member,
    scheduled,
)
from xpnet.optimizers.schedules import Schedule
from xpnet.optimizers.transforms import Transform, transformed
from xpnet.types import Array


@dataclass(frozen=True, eq=False)
class Optimizer(ABC):
    """What all optimizers share: the boundary, and where their numbers come from inside a step.

    Args:
        transforms: what is done to the gradient first, such as ``(ClipNorm(1.0),)``, in order.

    Attributes:
        derived: what a step needs of its numbers besides themselves, such as ``"1 - beta1"``: the
            name of an entry of the state, where the number is an array.
    """

    derived: ClassVar[tuple[str, ...]] = ()

    transforms: tuple[Transform, ...] = field(default=(), kw_only=True, repr=False)

    def _require(self, *names: str, **bounds: float) -> None:
        """Check these numbers, and keep plain ones as floats; and the transforms."""
        object.__setattr__(self, "transforms", _transforms(self.transforms))
        for name in names:
            object.__setattr__(self, name, check_number(name, getattr(self, name), **bounds))

    def _require_switches(self, *names: str) -> None:
        for name in names:
            checks.switch(name, getattr(self, name))

    def hyperparameters(self) -> dict[str, Number]:
        """The numbers that may differ from member to member, by name."""
        return {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if not isinstance(getattr(self, one.name), (bool, tuple))
        }

    def per_member(self) -> list[Array]:
        """The arrays among them, of one number a member: `init` puts them into the state."""
        return [value for value in self.hyperparameters().values() if is_per_member(value)]

    def init(self, theta: Array) -> State:
        """Return the state before the first update of ``theta``.

        Raises:
            TypeError, ValueError: if ``theta`` is no array of floats, ``(size,)`` or ``(members,
                size)``, or a number's members are not its.
        """
        checks.given(theta=theta)
        backend = backends.of(theta, names=("theta",))
        _check_theta(backend, theta)
        hosts = {}
        for name, value in self.hyperparameters().items():
            if is_per_member(value):
                if len(theta.shape) < 2 or value.shape[0] != theta.shape[0]:
                    raise ValueError(
                        f"{_TYPED.get(name, name)} must be {_one_a_member(theta)}, not an "
                        f"array of shape {tuple(value.shape)}."
                    )
                hosts[name] = backends.of(value).to_host(value).tolist()
        for key in self.derived:
            derive, name = derivation(key)
            if name in hosts:
                hosts[key] = [[derive(number) for number in row] for row in hosts[name]]
        dtype = backend.dtype_name(theta)
        with backend.context():
            state = {name: backend.asarray(values, dtype) for name, values in hosts.items()}
            own = self.init_state(backend.xp, theta)
            self._check_own(own, theta)
            return {**state, **own, "step": _zero(backend.xp, theta)}

    def _check_own(self, state: State, theta: Array) -> None:
        """Raise unless what `init_state` made can be told apart by name and by member."""
        if hasattr(self, "slots"):
            raise TypeError(f"{shown(self)}: slots has another name now; call it init_state.")
        for name in state:
            if name == "step" or name in self.hyperparameters() or name in self.derived:
                whose = "which every optimizer counts" if name == "step" else "a hyperparameter"
                raise ValueError(
                    f"{shown(self)}: init_state must not hold {name!r}, {whose}; give what the "
                    "optimizer keeps another name."
                )
        for name, array in state.items():
            lead = tuple(array.shape)[:1]
            if len(theta.shape) > 1 and lead not in ((), (theta.shape[0],)):
                raise ValueError(
                    f"{shown(self)}: init_state must give {name!r} the {theta.shape[0]} members as "
                    f"its first axis, or no axes at all, not the shape {tuple(array.shape)}."
                )

    def resume(self, theta: Array, state: State) -> State:
        """Return the state to go on from ``state``, with the numbers of this optimizer.

        Raises:
            TypeError, ValueError: if it is not such a state as ``init(theta)`` makes.
        """
        if not isinstance(state, dict):
            raise TypeError(f"state must be a dict such as init makes, not {shown(state)}.")
        fresh, given = self.init(theta), {*self.hyperparameters(), *self.derived}
        self._refuse_unknown(set(state) - set(fresh) - given, "")
        for name in [name for name in fresh if name not in given]:
            if name not in state:
                raise ValueError(
                    f"state must hold {name!r} for {type(self).__name__}, "
                    f"not {', '.join(map(repr, state)) or 'nothing'}."
                )
            backends.of(theta, state[name], names=("theta", f"state[{name!r}]"))
            _require_form(name, state[name], fresh[name].shape, fresh[name].dtype)
            fresh[name] = state[name]
        return fresh

    def _refuse_unknown(self, names: set[str], cure: str) -> None:
        if names:
            raise ValueError(
                f"state must be one of {type(self).__name__}, which has no "
                f"{', '.join(map(repr, sorted(names)))}{cure}."
            )

    def update(self, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        """Return ``theta`` after one step along ``grad``, and the next state.

        Raises:
            TypeError, ValueError: if ``theta`` and ``grad`` differ in shape, dtype, library or
                device, or ``state`` is not of the form that ``init(theta)`` makes.
        """
        checks.given(theta=theta, grad=grad)
        backend = backends.of(theta, grad, names=("theta", "grad"))
        if not isinstance(state, dict):
            raise TypeError(f"state must be a dict such as init makes, not {shown(state)}.")
        _check_theta(backend, theta)
        checks.same_dtype(backend, grad, "grad", theta, "theta")
        if theta.shape != grad.shape:
            raise ValueError(
                f"grad must have the shape {tuple(theta.shape)} of theta, not {tuple(grad.shape)}."
            )
        form = self._form(backend.name, theta)
        for name, (shape, dtype) in form.items():
            if name not in state:
                raise ValueError(
                    f"state must hold {name!r} for {type(self).__name__}, as init makes it, "
                    f"not {', '.join(map(repr, state)) or 'nothing'}."
                )
            _require_form(name, state[name], shape, dtype)
        if len(state) > len(form):
            self._refuse_unknown(set(state) - set(form), "; resume takes what it has of it")
        with backend.context():
            return self.advance(backend.xp, theta, grad, state)

    def _form(self, library: str, theta: Array) -> dict[str, tuple[Any, Any]]:
        """The shapes and dtypes of the state that `init` makes: looked up, as it is once a step."""
        found = _FORMS.get(id(self))
        if found is None or found[0]() is not self:  # another one's, which had this id
            if len(_FORMS) > 100:
                _FORMS.clear()
            found = _FORMS[id(self)] = weakref.ref(self), {}
        kind = library, theta.shape, theta.dtype
        if kind not in found[1]:
            state = self.init(theta)
            found[1][kind] = {name: (value.shape, value.dtype) for name, value in state.items()}
        return found[1][kind]

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
        grad = transformed(xp, self.transforms, grad)
        numbers = scheduled(xp, self.hyperparameters(), theta, count)
        theta, after = self.step(xp, theta, grad, {**state, **numbers, "step": count})
        kept = {name: array for name, array in after.items() if name not in numbers}
        return theta, {**kept, "step": count}

    @property
    def parts(self) -> list[Any]:
        """What it is made of that may be somebody's own: itself, schedules, transforms."""
        schedules = [v for v in self.hyperparameters().values() if isinstance(v, Schedule)]
        return [self, *self.transforms, *schedules]

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
        for key in self.derived:
            derive, name = derivation(key)
            if name in found:
                found[key] = derive(found[name])
        return found

    def template(self) -> Optimizer:
        """This optimizer without its `operands`: NaN where a step must find them in its state."""
        blank, known = copy.copy(self), self.operands()
        for one in fields(self):
            if one.name in known:
                object.__setattr__(blank, one.name, math.nan)
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


_TYPED = {"beta1": "betas[0]", "beta2": "betas[1]"}
"""How the numbers are named where they are given, of those that are named otherwise."""


_FORMS: dict[int, tuple[weakref.ref[Optimizer], dict[Any, dict[str, tuple[Any, Any]]]]] = {}
"""The forms of the states of optimizers, by their ids: for one shape and dtype of theta or more."""


def _require_form(name: str, found: Any, shape: Any, dtype: Any) -> None:
    """Raise if an entry of a state has not this shape and dtype."""
    if getattr(found, "shape", None) == shape and getattr(found, "dtype", None) == dtype:
        return
    given = f"{tuple(found.shape)} and {found.dtype}" if checks.is_array(found) else shown(found)
    raise ValueError(
        f"state[{name!r}] must have the shape {tuple(shape)} and the dtype {dtype}, not {given}."
    )


def _check_theta(backend: backends.Backend, theta: Array) -> None:
    if theta.dtype not in (backend.xp.float32, backend.xp.float64):
        checks.floats(backend, theta, "theta")
    if len(theta.shape) not in (1, 2):
        raise ValueError(
            f"theta must have the shape (size,) or (members, size), not {tuple(theta.shape)}."
        )


def _one_a_member(theta: Array) -> str:
    if len(theta.shape) < 2:
        return "a number for a network alone (members=None)"
    members = int(theta.shape[0])
    return f"a number, or an array of shape ({members}, 1) for {members} members"


def _frozen(value: Any, per_member: set[int]) -> Any:
    """A value as it is compared.

    What a class of somebody's adds, such as a mask, is no part of the state: arrays there are the
    same only if they are one.
    """
    if isinstance(value, (tuple, list)):
        return tuple(_frozen(v, per_member) for v in value)
    if is_per_member(value):
        return "array" if id(value) in per_member else id(value)
    return value


def _zero(xp: Any, theta: Array) -> Array:
    """A zero for counting steps, an integer on the device of ``theta``: 0-d, or one a member.

    A float32 would stand still at 2²⁴.
    """
    return xp.count_nonzero(theta[..., :0], axis=-1, keepdims=len(theta.shape) > 1)


def next_step(xp: Any, step: Array) -> Array:
    """The count of the next step; 32 bits, which an hour of small steps exceeds, stand still."""
    return step + 1 if step.dtype == xp.int64 else xp.minimum(step, 2**31 - 2) + 1


# ---- what several optimizers do


def signed(grad: Array, theta: Array, weight_decay: Number, maximize: bool) -> Array:
    """The gradient to descend: turned around to maximize, with the L2 term ``λ θ``."""
    if maximize:
        grad = -grad
    if checks.is_array(weight_decay) or weight_decay != 0:
        grad = grad + weight_decay * theta
    return grad


def zeros(xp: Any, theta: Array, names: Iterable[str]) -> State:
    """Zeros like ``theta``, each its own: a copy, which JAX makes in half the time of the first."""
    first, *others = names
    zeros = xp.zeros_like(theta)
    return {first: zeros, **{name: xp.asarray(zeros, copy=True) for name in others}}
