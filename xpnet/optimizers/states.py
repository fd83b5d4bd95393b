"""The state of an optimizer: what goes from step to step beside ``theta``, by name."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from xpnet import backends, checks
from xpnet.checks import shown
from xpnet.network import Sequential
from xpnet.optimizers.hyperparameters import AVERAGE, DECAYED, State, derivation
from xpnet.optimizers.numbers import is_per_member
from xpnet.types import Array

if TYPE_CHECKING:  # whose states they are
    from xpnet.optimizers.base import Optimizer

Form = dict[str, tuple[Any, Any]]
"""The shape and dtype of each entry."""

_TYPED = {"beta1": "betas[0]", "beta2": "betas[1]"}
"""How the numbers are named where they are given, of those that are named otherwise."""

_FORMS: dict[int, tuple[weakref.ref[Optimizer], dict[Any, Form]]] = {}
"""The forms of the states of optimizers, by their ids: for one shape and dtype of theta or more."""


def check_theta(backend: backends.Backend, theta: Array) -> None:
    """Raise unless ``theta`` is of floats, ``(size,)`` or ``(members, size)``."""
    if theta.dtype not in (backend.xp.float32, backend.xp.float64):
        checks.floats(backend, theta, "theta")
    if len(theta.shape) not in (1, 2):
        raise ValueError(
            f"theta must have the shape (size,) or (members, size), not {tuple(theta.shape)}."
        )


# ---- before the first step


def first_state(
    optimizer: Optimizer, backend: backends.Backend, theta: Array, network: Sequential | None
) -> State:
    """All that `_unmasked` makes; and, where not all parameters are decayed, which are."""
    state = _unmasked(optimizer, backend, theta)
    if optimizer.masks:
        if network is None:
            raise TypeError(
                f"network must be given with decayed={optimizer.decayed!r}, as in "
                "init(theta, network=net), since it says which parameters are weights."
            )
        checks.instance("network", network, Sequential, "a Sequential")
        state[DECAYED] = network.weight_mask(theta)
    return state


def _unmasked(optimizer: Optimizer, backend: backends.Backend, theta: Array) -> State:
    """Numbers of one a member and what is derived of them, what the optimizer keeps, the average of
    the parameters where one is kept, the count.
    """
    numbers, dtype = _per_member(optimizer, theta), backend.dtype_name(theta)
    with backend.context():
        state = {name: backend.asarray(values, dtype) for name, values in numbers.items()}
        own = optimizer.init_state(backend.xp, theta)
        _check_own(optimizer, own, theta)
        average = {} if optimizer.ema_decay is None else {AVERAGE: backend.copy(theta)}
        return {**state, **own, **average, "step": _zero(backend.xp, theta)}


def check_numbers(optimizer: Optimizer, members: int | None) -> None:
    """Raise unless its numbers of one a member are of so many members."""
    for name, value in optimizer.hyperparameters().items():
        if is_per_member(value) and value.shape[0] != members:
            raise ValueError(
                f"{_TYPED.get(name, name)} must be {_one_a_member(members)}, not an "
                f"array of shape {tuple(value.shape)}."
            )


def _per_member(optimizer: Optimizer, theta: Array) -> dict[str, list[list[float]]]:
    """The numbers of one a member, on the host; raises if these are not its members."""
    hosts = {}
    check_numbers(optimizer, None if len(theta.shape) < 2 else int(theta.shape[0]))
    for name, value in optimizer.hyperparameters().items():
        if is_per_member(value):
            hosts[name] = backends.of(value).to_host(value).tolist()
    for key in optimizer.derivations():
        derive, name = derivation(key)
        if name in hosts:
            hosts[key] = [[derive(number) for number in row] for row in hosts[name]]
    return hosts


def _one_a_member(members: int | None) -> str:
    if members is None:
        return "a number for a network alone (members=None)"
    return f"a number, or an array of shape ({members}, 1) for {members} members"


def _check_own(optimizer: Optimizer, state: State, theta: Array) -> None:
    """Raise unless what `init_state` made can be told apart by name and by member."""
    numbers = {*optimizer.hyperparameters(), *optimizer.derivations(), DECAYED}
    if hasattr(optimizer, "slots"):
        raise TypeError(f"{shown(optimizer)}: slots has another name now; call it init_state.")
    shared = {"step": "which every optimizer counts", AVERAGE: "the average of the parameters"}
    for name in state:
        if name in shared or name in numbers:
            whose = shared.get(name, "a hyperparameter")
            raise ValueError(
                f"{shown(optimizer)}: init_state must not hold {name!r}, {whose}; give what the "
                "optimizer keeps another name."
            )
    for name, array in state.items():
        lead = tuple(array.shape)[:1]
        if len(theta.shape) > 1 and lead not in ((), (theta.shape[0],)):
            raise ValueError(
                f"{shown(optimizer)}: init_state must give {name!r} the {theta.shape[0]} members "
                f"as its first axis, or no axes at all, not the shape {tuple(array.shape)}."
            )


# ---- the count of steps


def _zero(xp: Any, theta: Array) -> Array:
    """A zero for counting steps, an integer on the device of ``theta``: 0-d, or one a member.

    A float32 would stand still at 2²⁴.
    """
    return xp.count_nonzero(theta[..., :0], axis=-1, keepdims=len(theta.shape) > 1)


def next_step(xp: Any, step: Array) -> Array:
    """The count of the next step; 32 bits, which an hour of small steps exceeds, stand still."""
    return step + 1 if step.dtype == xp.int64 else xp.minimum(step, 2**31 - 2) + 1


# ---- what a step returns


def check_step(optimizer: Optimizer, before: State, after: State) -> None:
    """Raise unless theta and what is kept have the shapes and dtypes that a step was given."""
    for name, array in after.items():
        was = before.get(name)
        if was is not None and not checks.has_form(array, was.shape, was.dtype):
            raise TypeError(
                f"{shown(optimizer)}: step must return {name} in the shape {tuple(was.shape)} and "
                f"the dtype {was.dtype} that it was given, not {checks.formed(array)}."
            )


# ---- a state that somebody gives


def resumed(optimizer: Optimizer, theta: Array, state: Any, network: Sequential | None) -> State:
    """The state to go on from ``state``, with the numbers of this optimizer, or raise."""
    _check_dict(state)
    fresh = optimizer.init(theta, network)
    given = {*optimizer.hyperparameters(), *optimizer.derivations(), DECAYED}
    # What belongs to a schedule of before, as lr.start does, is a number as lr is.
    unknown = [name for name in state if name.rpartition(" ")[2].partition(".")[0] not in given]
    _refuse_unknown(optimizer, set(unknown) - set(fresh), "")
    for name in [name for name in fresh if name not in given]:
        _check_named(optimizer, name, state, "")
        backends.of(theta, state[name], names=("theta", f"state[{name!r}]"))
        _check_form(name, state[name], fresh[name].shape, fresh[name].dtype)
        fresh[name] = state[name]
    return fresh


def check_state(optimizer: Optimizer, library: str, theta: Array, state: Any) -> None:
    """Raise unless ``state`` is of the form that ``init(theta)`` makes; once a step, so quickly."""
    _check_dict(state)
    form = _form(optimizer, library, theta)
    for name, (shape, dtype) in form.items():
        _check_named(optimizer, name, state, "as init makes it, ")
        _check_form(name, state[name], shape, dtype)
    if len(state) > len(form):
        unknown = set(state) - set(form)
        _refuse_unknown(optimizer, unknown, "; resume takes what it has of it")


def _form(optimizer: Optimizer, library: str, theta: Array) -> Form:
    """The form of the states that `init` makes, looked up."""
    found = _FORMS.get(id(optimizer))
    if found is None or found[0]() is not optimizer:  # another one's, which had this id
        if len(_FORMS) > 100:
            _FORMS.clear()
        found = _FORMS[id(optimizer)] = weakref.ref(optimizer), {}
    kind = library, theta.shape, theta.dtype
    if kind not in found[1]:
        state = _unmasked(optimizer, backends.of(theta), theta)
        masked = {DECAYED: theta} if optimizer.masks else {}
        forms = {**state, **masked}
        found[1][kind] = {name: (value.shape, value.dtype) for name, value in forms.items()}
    return found[1][kind]


def _check_dict(state: Any) -> None:
    if not isinstance(state, dict):
        raise TypeError(f"state must be a dict such as init makes, not {shown(state)}.")


def _check_named(optimizer: Optimizer, name: str, state: State, how: str) -> None:
    if name not in state:
        raise ValueError(
            f"state must hold {name!r} for {type(optimizer).__name__}, {how}"
            f"not {', '.join(map(repr, state)) or 'nothing'}."
        )


def _check_form(name: str, found: Any, shape: Any, dtype: Any) -> None:
    """Raise unless an entry of a state has this shape and dtype."""
    if not checks.has_form(found, shape, dtype):
        raise ValueError(
            f"state[{name!r}] must have the shape {tuple(shape)} and the dtype {dtype}, "
            f"not {checks.formed(found)}."
        )


def _refuse_unknown(optimizer: Optimizer, names: set[str], cure: str) -> None:
    if names:
        raise ValueError(
            f"state must be one of {type(optimizer).__name__}, which has no "
            f"{', '.join(map(repr, sorted(names)))}{cure}."
        )
