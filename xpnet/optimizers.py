"""The optimizers, in order of complexity. Each is a few operations on whole vectors.

An optimizer is a description, like a layer: it holds no parameters and no moments. ``init(theta)``
makes the state, ``update(theta, grad, state)`` returns the next ``theta`` and state. The state is
consumed (its arrays may be written into): go on with the one that is returned.

Inside a step, go on with the name that an augmented assignment has bound. After ``m = state["m"]``
and ``m *= beta``, ``m`` is the new value everywhere, and ``state["m"]`` the old one on JAX and the
new one elsewhere, as are a view of ``m`` and another name for it; a step that uses them is not
recorded, and slower.

``theta`` and ``grad`` are ``(..., size)``. Every number (``lr``, ``betas``, ``eps``,
``weight_decay`` …) may also be an array of shape ``(members, 1)``, one value a member; ``init``
puts it into the state. ``1 − β`` and ``log β`` are taken of the numbers as they are given, never of
what float32 makes of them: it has no number between 1 − 6e-8 and 1. Steps are counted in integers
of 64 bits; in JAX's 32-bit mode of 32, which stand still at 2³¹ − 1.

Names, defaults and results are those of ``torch.optim``.
"""

from __future__ import annotations

import copy
import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

from xpnet import _checks, backends
from xpnet._checks import shown
from xpnet.network import check_dtype, check_floats

Array = Any
Number = Any
"""A number, or an array of shape ``(members, 1)``: one a member."""
State = dict[str, Array]


def _check(name: str, value: Number, **bounds: float) -> Number:
    """Return a number as a float, or an array of one number a member as it is, or raise.

    A float, since scalars and 0-d arrays of a library would not go with the arrays of another, and
    promote float32 to float64.
    """
    if _checks.is_array(value) and _checks.shape_of(value):
        if len(value.shape) != 2 or value.shape[1] != 1:
            raise ValueError(
                f"{name} must be a number or an array of shape (members, 1), "
                f"not of shape {tuple(value.shape)}."
            )
        backend = backends.of(value, names=(name,))
        for member in backend.to_host(value).ravel().tolist():
            _checks.number(name, member, **bounds)
        return value
    try:
        return _checks.number(name, value, **bounds)
    except TypeError as error:
        if not isinstance(value, (list, tuple)):
            raise
        also = ", or an array of shape (members, 1), not"  # what a list of numbers was meant for
        raise TypeError(str(error).replace(", not", also, 1)) from None


@dataclass(frozen=True, eq=False)
class Optimizer(ABC):
    """What all optimizers share: the boundary, and where their numbers come from inside a step.

    Attributes:
        derived: what a step needs of its numbers besides themselves, such as ``"1 - beta1"``: the
            name of an entry of the state, where the number is an array.
    """

    derived: ClassVar[tuple[str, ...]] = ()

    def _require(self, *names: str, **bounds: float) -> None:
        """Check these numbers, and keep plain ones as floats."""
        for name in names:
            object.__setattr__(self, name, _check(name, getattr(self, name), **bounds))

    def _require_switches(self, *names: str) -> None:
        for name in names:
            _checks.switch(name, getattr(self, name))

    def numbers(self) -> dict[str, Number]:
        """The numbers that may differ from member to member, by name."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if not isinstance(getattr(self, field.name), (bool, tuple))
        }

    def carried(self) -> list[Array]:
        """The arrays among `numbers`, one number a member: `init` puts them into the state."""
        return [v for v in self.numbers().values() if _checks.is_array(v) and len(v.shape) > 0]

    def init(self, theta: Array) -> State:
        """Return the state before the first update of ``theta``.

        Raises:
            TypeError, ValueError: if ``theta`` is no array of floats, ``(size,)`` or ``(members,
                size)``, or a number's members are not its.
        """
        _checks.given(theta=theta)
        backend = backends.of(theta, names=("theta",))
        _check_theta(backend, theta)
        hosts = {}
        for name, value in self.numbers().items():
            if _checks.is_array(value) and len(value.shape) > 0:
                if len(theta.shape) < 2 or value.shape[0] != theta.shape[0]:
                    raise ValueError(
                        f"{_TYPED.get(name, name)} must be {_one_a_member(theta)}, not an "
                        f"array of shape {tuple(value.shape)}."
                    )
                hosts[name] = backends.of(value).to_host(value).tolist()
        for key in self.derived:
            derive, name = _derivation(key)
            if name in hosts:
                hosts[key] = [[derive(number) for number in row] for row in hosts[name]]
        dtype = backend.dtype_name(theta)
        with backend.context():
            state = {name: backend.asarray(values, dtype) for name, values in hosts.items()}
            return {**state, **self.slots(backend.xp, theta)}

    def resume(self, theta: Array, state: State) -> State:
        """Return the state to go on from ``state``, with the numbers of this optimizer.

        Raises:
            TypeError, ValueError: if it is not such a state as ``init(theta)`` makes.
        """
        if not isinstance(state, dict):
            raise TypeError(f"state must be a dict such as init makes, not {shown(state)}.")
        fresh, given = self.init(theta), {*self.numbers(), *self.derived}
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
        _checks.given(theta=theta, grad=grad)
        backend = backends.of(theta, grad, names=("theta", "grad"))
        if not isinstance(state, dict):
            raise TypeError(f"state must be a dict such as init makes, not {shown(state)}.")
        _check_theta(backend, theta)
        check_dtype(backend, grad, "grad", theta, "theta")
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
            return self.step(backend.xp, theta, grad, state)

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

    @abstractmethod
    def slots(self, xp: Any, theta: Array) -> State:
        """The moments and counters before the first step."""

    @abstractmethod
    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        """The pure update, inside a step; ``state`` is the step's to write into."""

    # ---- numbers as operands of a program, so that it is compiled once for all of them

    def operands(self) -> dict[str, float]:
        """The plain numbers, and what is derived of them, that a step may find in its state.

        Only of those optimizers that are known to take all of them from there; none that are 0,
        since a step may leave out what they are in.
        """
        if type(self) not in _TAKING_OPERANDS:
            return {}
        found = {k: v for k, v in self.numbers().items() if isinstance(v, float) and v != 0}
        for key in self.derived:
            derive, name = _derivation(key)
            if name in found:
                found[key] = derive(found[name])
        return found

    def template(self) -> Optimizer:
        """This optimizer without its `operands`: NaN where a step must find them in its state."""
        blank, known = copy.copy(self), self.operands()
        for field in fields(self):
            if field.name in known:
                object.__setattr__(blank, field.name, math.nan)
        return blank

    # ---- equality by value, so that equal optimizers share one compiled program; arrays of numbers
    # are part of the state, and count as equal here

    def _key(self) -> tuple[Any, ...]:
        carried = {id(array) for array in self.carried()}
        return type(self), *((k, _frozen(v, carried)) for k, v in sorted(vars(self).items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Optimizer) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


_TYPED = {"beta1": "betas[0]", "beta2": "betas[1]"}
"""How the numbers are named where they are given, of those that are named otherwise."""

_FORMS: dict[int, tuple[weakref.ref[Optimizer], dict[Any, dict[str, tuple[Any, Any]]]]] = {}
"""The forms of the states of optimizers, by their ids: for one shape and dtype of theta or more."""


def _require_form(name: str, found: Any, shape: Any, dtype: Any) -> None:
    """Raise if an entry of a state has not this shape and dtype."""
    if getattr(found, "shape", None) == shape and getattr(found, "dtype", None) == dtype:
        return
    given = f"{tuple(found.shape)} and {found.dtype}" if _checks.is_array(found) else shown(found)
    raise ValueError(
        f"state[{name!r}] must have the shape {tuple(shape)} and the dtype {dtype}, not {given}."
    )


def _log(number: float) -> float:
    return math.log(number) if number > 0 else -math.inf


@cache
def _derivation(key: str) -> tuple[Callable[[float], float], str]:
    """What is done to a number to derive ``"1 - alpha"`` or ``"log beta1"``, and its name."""
    operation, _, name = key.rpartition(" ")
    return {"1 -": lambda number: 1 - number, "log": _log}[operation], name


def _derived(state: State, key: str, number: Number) -> Number:
    """What is derived of a number: from the state if it is there, where the number is too."""
    return state[key] if key in state else _derivation(key)[0](number)


def _check_theta(backend: backends.Backend, theta: Array) -> None:
    if theta.dtype not in (backend.xp.float32, backend.xp.float64):
        check_floats(backend, theta, "theta")
    if len(theta.shape) not in (1, 2):
        raise ValueError(
            f"theta must have the shape (size,) or (members, size), not {tuple(theta.shape)}."
        )


def _one_a_member(theta: Array) -> str:
    if len(theta.shape) < 2:
        return "a number for a network alone (members=None)"
    members = int(theta.shape[0])
    return f"a number, or an array of shape ({members}, 1) for {members} members"


def _frozen(value: Any, carried: set[int]) -> Any:
    """A value as it is compared.

    What a class of somebody's adds, such as a mask, is no part of the state: arrays there are the
    same only if they are one.
    """
    if isinstance(value, (tuple, list)):
        return tuple(_frozen(v, carried) for v in value)
    if _checks.is_array(value) and len(value.shape) > 0:
        return "array" if id(value) in carried else id(value)
    return value


def _signed(grad: Array, theta: Array, weight_decay: Number, maximize: bool) -> Array:
    """The gradient to descend: turned around to maximize, with the L2 term ``λ θ``."""
    if maximize:
        grad = -grad
    if _checks.is_array(weight_decay) or weight_decay != 0:
        grad = grad + weight_decay * theta
    return grad


def _zeros(xp: Any, theta: Array, names: Iterable[str]) -> State:
    """Zeros like ``theta``, each its own: a copy, which JAX makes in half the time of the first."""
    first, *others = names
    zeros = xp.zeros_like(theta)
    return {first: zeros, **{name: xp.asarray(zeros, copy=True) for name in others}}


def _zero(xp: Any, zeros: Array) -> Array:
    """A zero for counting steps, an integer on the device of these zeros: 0-d, or one a member.

    A float32 would stand still at 2²⁴. Members that leave a run early keep their own count, and go
    on from it as they would alone.
    """
    return xp.count_nonzero(zeros, axis=-1, keepdims=len(zeros.shape) > 1)


def _next(xp: Any, step: Array) -> Array:
    """The count of the next step; 32 bits, which an hour of small steps exceeds, stand still."""
    return step + 1 if step.dtype == xp.int64 else xp.minimum(step, 2**31 - 2) + 1


@dataclass(frozen=True, eq=False)
class SGD(Optimizer):
    """Gradient descent, with momentum if asked (Sutskever et al. 2013), as ``torch.optim.SGD``.

    ``g = ∇L + λ θ``; without momentum ``θ ← θ − lr g``. With momentum ``μ``:
    ``v ← μ v + (1 − τ) g`` (``v ← g`` at the first step), ``θ ← θ − lr v``, or, with Nesterov's,
    ``θ ← θ − lr (g + μ v)``.

    Args:
        lr: the learning rate, at least 0.
        momentum: ``μ``, at least 0.
        dampening: ``τ``.
        weight_decay: ``λ``, at least 0.
        nesterov: look ahead; needs momentum, and no dampening.
        maximize: climb instead.
    """

    derived = ("1 - dampening",)

    lr: Number = 1e-2
    momentum: Number = 0.0
    dampening: float = 0.0
    weight_decay: Number = 0.0
    nesterov: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "momentum", "weight_decay", least=0)
        object.__setattr__(self, "dampening", _checks.number("dampening", self.dampening))
        self._require_switches("nesterov", "maximize")
        if self.nesterov and (not self._has_momentum or self.dampening != 0):
            raise ValueError(
                "nesterov=True needs a momentum above 0 and no dampening, "
                f"not momentum={_checks.shown(self.momentum)} and dampening={self.dampening!r}."
            )

    @property
    def _has_momentum(self) -> bool:
        return _checks.is_array(self.momentum) or self.momentum != 0

    def slots(self, xp: Any, theta: Array) -> State:
        if not self._has_momentum:
            return {}
        state = _zeros(xp, theta, ["v"])
        return {**state, "step": _zero(xp, state["v"])} if self.dampening != 0 else state

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        lr, momentum = state.get("lr", self.lr), state.get("momentum", self.momentum)
        weight_decay = state.get("weight_decay", self.weight_decay)
        grad = _signed(grad, theta, weight_decay, self.maximize)
        if not self._has_momentum:
            return theta - lr * grad, state
        v = state["v"]
        v *= momentum
        if self.dampening != 0:
            step, rest = state["step"], _derived(state, "1 - dampening", self.dampening)
            # The first gradient is taken whole, as torch does.
            first, later = (xp.astype(is_so, theta.dtype) for is_so in (step == 0, step > 0))
            v += (first + rest * later) * grad
            state = {**state, "step": _next(xp, step)}
        else:
            v += grad
        state = {**state, "v": v}
        return theta - lr * (grad + momentum * v if self.nesterov else v), state


def Momentum(
    lr: Number = 1e-2,
    momentum: Number = 0.9,
    dampening: float = 0.0,
    weight_decay: Number = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> SGD:
    """`SGD` with momentum, 0.9 unless told otherwise."""
    return SGD(lr, momentum, dampening, weight_decay, nesterov, maximize)


@dataclass(frozen=True, eq=False)
class AdaGrad(Optimizer):
    """AdaGrad (Duchi et al. 2011), as ``torch.optim.Adagrad``.

    ``s ← s + g²``, ``θ ← θ − lr / (1 + (t − 1) η) · g / (√s + ε)``.

    Args:
        lr: the learning rate, at least 0.
        lr_decay: ``η``, at least 0.
        weight_decay: ``λ``, at least 0.
        initial_accumulator_value: what ``s`` starts from, at least 0.
        eps: ``ε``, at least 0.
        maximize: climb instead.
    """

    lr: Number = 1e-2
    lr_decay: Number = 0.0
    weight_decay: Number = 0.0
    initial_accumulator_value: float = 0.0
    eps: Number = 1e-10
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "lr_decay", "weight_decay", "eps", least=0)
        start = _checks.number("initial_accumulator_value", self.initial_accumulator_value, least=0)
        object.__setattr__(self, "initial_accumulator_value", start)
        self._require_switches("maximize")

    def slots(self, xp: Any, theta: Array) -> State:
        zeros = xp.zeros_like(theta)
        return {"s": zeros + self.initial_accumulator_value, "step": _zero(xp, zeros)}

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        lr, eps = state.get("lr", self.lr), state.get("eps", self.eps)
        lr_decay = state.get("lr_decay", self.lr_decay)
        weight_decay = state.get("weight_decay", self.weight_decay)
        grad = _signed(grad, theta, weight_decay, self.maximize)
        s, step = state["s"], state["step"]
        s += grad * grad
        d = xp.sqrt(s)
        d += eps
        d = grad / d
        d *= lr / (1 + lr_decay * xp.astype(step, theta.dtype))
        return theta - d, {**state, "s": s, "step": _next(xp, step)}


@dataclass(frozen=True, eq=False)
class RMSprop(Optimizer):
    """RMSprop (Hinton 2012), as ``torch.optim.RMSprop``.

    ``s ← α s + (1 − α) g²``, ``d = g / (√s + ε)``; centered: ``√(s − ḡ²)`` with
    ``ḡ ← α ḡ + (1 − α) g``; with momentum ``v ← μ v + d``; ``θ ← θ − lr d`` (or ``lr v``).

    Args:
        lr: the learning rate, at least 0.
        alpha: ``α``, from 0 and below 1.
        eps: ``ε``, at least 0.
        weight_decay: ``λ``, at least 0.
        momentum: ``μ``, at least 0.
        centered: divide by the standard deviation of the gradient.
        maximize: climb instead.
    """

    derived = ("1 - alpha",)

    lr: Number = 1e-2
    alpha: Number = 0.99
    eps: Number = 1e-8
    weight_decay: Number = 0.0
    momentum: Number = 0.0
    centered: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "eps", "weight_decay", "momentum", least=0)
        self._require("alpha", least=0, below=1)
        self._require_switches("centered", "maximize")

    @property
    def _has_momentum(self) -> bool:
        return _checks.is_array(self.momentum) or self.momentum != 0

    def slots(self, xp: Any, theta: Array) -> State:
        names = ["s", *["mean"] * self.centered, *["v"] * self._has_momentum]
        return _zeros(xp, theta, names)

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        lr, eps = state.get("lr", self.lr), state.get("eps", self.eps)
        alpha = state.get("alpha", self.alpha)
        rest: Number = _derived(state, "1 - alpha", self.alpha)
        weight_decay = state.get("weight_decay", self.weight_decay)
        grad = _signed(grad, theta, weight_decay, self.maximize)
        s = state["s"]
        s *= alpha
        s += rest * grad * grad
        state = {**state, "s": s}
        if self.centered:
            mean = state["mean"]
            mean += rest * (grad - mean)
            state["mean"] = mean
            # A variance: where it is nothing but rounding, it must not become negative.
            d = xp.sqrt(xp.maximum(s - mean * mean, 0.0))
        else:
            d = xp.sqrt(s)
        d += eps
        d = grad / d
        if self._has_momentum:
            v = state["v"]
            v *= state.get("momentum", self.momentum)
            v += d
            state["v"] = v
            return theta - lr * v, state
        d *= lr
        return theta - d, state


@dataclass(frozen=True, eq=False)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, report figure 2.4), as ``torch.optim.Adam``.

    ``m ← β₁ m + (1 − β₁) g``, ``v ← β₂ v + (1 − β₂) g²``, ``m̂ = m / (1 − β₁ᵗ)``,
    ``v̂ = v / (1 − β₂ᵗ)``, ``θ ← θ − lr m̂ / (√v̂ + ε)``; with AMSGrad (Reddi et al. 2018) the
    greatest ``v`` so far in place of ``v``; with decoupled weight decay (AdamW, Loshchilov and
    Hutter 2019) ``θ ← θ − lr λ θ`` before, instead of ``g ← g + λ θ``.

    The state holds ``m / (1 − β₁)``, and the corrections are folded into two numbers a step: the
    same result, in 11 passes over the vector instead of 14. ``v`` is held as it is: undivided, it
    would overflow at gradients ``1 / √(1 − β₂)`` times smaller.

    Args:
        lr: the learning rate, at least 0.
        betas: ``(β₁, β₂)``, each from 0 and below 1.
        eps: ``ε``, outside the root, at least 0.
        weight_decay: ``λ``, at least 0.
        amsgrad, maximize, decoupled_weight_decay: as above.
    """

    derived = ("1 - beta1", "log beta1", "1 - beta2", "log beta2")

    lr: Number = 1e-3
    betas: tuple[Number, Number] = (0.9, 0.999)
    eps: Number = 1e-8
    weight_decay: Number = 0.0
    amsgrad: bool = False
    maximize: bool = False
    decoupled_weight_decay: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "eps", "weight_decay", least=0)
        self._require_switches("amsgrad", "maximize", "decoupled_weight_decay")
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            raise TypeError(f"betas must be a pair of numbers, not {shown(self.betas)}.")
        betas = [_check(f"betas[{i}]", b, least=0, below=1) for i, b in enumerate(self.betas)]
        object.__setattr__(self, "betas", tuple(betas))

    def numbers(self) -> dict[str, Number]:
        return {**super().numbers(), "beta1": self.betas[0], "beta2": self.betas[1]}

    def template(self) -> Optimizer:
        blank, known = super().template(), self.operands()
        betas = (math.nan if f"beta{i}" in known else b for i, b in enumerate(self.betas, 1))
        object.__setattr__(blank, "betas", tuple(betas))
        return blank

    def slots(self, xp: Any, theta: Array) -> State:
        names = ["m", "v", *["v_max"] * self.amsgrad]
        state = _zeros(xp, theta, names)
        return {**state, "step": _zero(xp, state["m"])}

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        beta1, beta2 = self.betas
        lr: Number = state.get("lr", self.lr)
        eps: Number = state.get("eps", self.eps)
        weight_decay = state.get("weight_decay", self.weight_decay)
        if self.decoupled_weight_decay:
            theta = theta - lr * weight_decay * theta
            weight_decay = 0.0
        grad = _signed(grad, theta, weight_decay, self.maximize)
        rest1: Number = _derived(state, "1 - beta1", beta1)
        rest2: Number = _derived(state, "1 - beta2", beta2)
        m, v, step = state["m"], state["v"], _next(xp, state["step"])
        m *= state.get("beta1", beta1)
        m += grad
        v *= state.get("beta2", beta2)
        v += rest2 * grad * grad
        state = {**state, "m": m, "v": v, "step": step}
        if self.amsgrad:
            v = xp.maximum(state["v_max"], v)
            state["v_max"] = v
        t = xp.astype(step, theta.dtype)
        # m̂ / (√v̂ + ε) = rate · m' / (√v + root · ε) for m' as it is kept.
        root = xp.sqrt(_correction(xp, _derived(state, "log beta2", beta2), t))
        rate = lr * (rest1 / _correction(xp, _derived(state, "log beta1", beta1), t)) * root
        d = xp.sqrt(v)
        d += eps * root
        d = m / d
        d *= rate
        return theta - d, state


def _correction(xp: Any, log_beta: Number, t: Array) -> Array:
    """``1 − βᵗ``, by way of ``expm1`` since float32 would lose half its digits for β near 1."""
    return -xp.expm1(log_beta * t)


_TAKING_OPERANDS = (SGD, AdaGrad, RMSprop, Adam)
"""Whose step takes every number from its state if it is there. A subclass might not."""


def AdamW(
    lr: Number = 1e-3,
    betas: tuple[Number, Number] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Number = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
) -> Adam:
    """`Adam` with decoupled weight decay (Loshchilov and Hutter 2019), as ``torch.optim.AdamW``."""
    return Adam(lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay=True)
