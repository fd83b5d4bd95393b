"""What a network asks of the arrays that it is given: parameters, samples, the state of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xpnet import backends, checks
from xpnet.layers.flatten import Flatten
from xpnet.types import Array

if TYPE_CHECKING:  # which asks these questions itself
    from xpnet.layers.base import State
    from xpnet.network import Sequential


def check_trainable(network: Sequential) -> None:
    """Raise if a network has no parameters."""
    if network.size == 0:
        raise ValueError(f"{checks.shown(network)} has no parameters to train.")


def check_theta(
    network: Sequential, theta: Array, *more: Array | None, names: Sequence[str] = ()
) -> backends.Backend:
    """Return the backend of ``theta`` and what goes with it, or raise if it does not fit."""
    check_trainable(network)
    checks.given(theta=theta)
    backend = backends.of(theta, *more, names=("theta", *names))
    checks.floats(backend, theta, "theta")
    size = network.size
    if len(theta.shape) not in (1, 2) or theta.shape[-1] != size or 0 in theta.shape:
        raise ValueError(
            f"theta must have the shape ({size},) or (members, {size}), not {tuple(theta.shape)}."
        )
    return backend


def check_samples(network: Sequential, backend: backends.Backend, x: Array) -> Array:
    """Return flat ``x`` if it is ``(samples, features)``, or that a member, of floats, or raise."""
    checks.floats(backend, x, "x")
    x, features = network.flat(backend.xp, x), network.in_features
    shape = tuple(x.shape)
    if len(shape) not in (2, 3) or (features is not None and shape[-1] != features):
        hint, first = "", network.leaves[0]
        wanted = f"(samples, {features or 'features'})"
        if isinstance(first, Flatten):
            wanted += f" or (samples, {', '.join(map(str, first.shape))})"
        elif len(shape) == 1:
            hint = "; use x[:, None] for a single feature, x[None, :] for a single sample"
        raise ValueError(
            f"x must have the shape {wanted}, or (members, …) before it, not {shape}{hint}."
        )
    if 0 in shape:
        raise ValueError(f"x must hold at least one sample, not be empty with shape {shape}.")
    return x


def check_arrays(
    network: Sequential, theta: Array, x: Array, y: Array | None = None, weight: Array | None = None
) -> backends.Backend:
    """Return the backend of these, or raise if one of them does not fit."""
    checks.given(x=x)
    backend = check_theta(network, theta, x, y, weight, names=("x", "y", "sample_weight"))
    x = check_samples(network, backend, x)
    checks.same_dtype(backend, x, "x", theta, "theta")
    checks.same_members(x, int(theta.shape[0]) if len(theta.shape) == 2 else None)
    return backend


def check_input(
    network: Sequential, backend: backends.Backend, x: Array, look: bool = True
) -> None:
    """Raise unless the values of flat ``x`` are what the first layer wants, if they are to be
    looked at, and there are any.
    """
    for leaf in network.leaves[:2]:
        if leaf.first and look and not backend.traced(x):
            leaf.check_input(backend, x)


def check_state(
    network: Sequential,
    backend: backends.Backend,
    theta: Array,
    state: Any,
    name: str = "state",
    look: bool = False,
) -> State:
    """Return a state of the layers, given by name, in their order, or raise.

    Args:
        network: which they are in.
        backend: that of ``theta``.
        theta: the parameters that it goes with.
        state: a dict such as `init_state` makes; ``None`` if the layers have none.
        name: what it is called.
        look: whether to look at its values, too, which waits for the device.
    """
    shapes = network.state_shapes
    if not shapes:
        if state is not None and not (isinstance(state, dict) and not state):
            raise ValueError(
                f"{name} must be None for a network whose layers have none, "
                f"not {checks.shown(state)}."
            )
        return ()
    if state is None:
        raise TypeError(
            f"{name} must be given, since {network.stateful.name}, has one: what "
            "init_state(like=x) makes, value_and_grad returned last, or model.layer_state holds."
        )
    if not isinstance(state, dict) or set(state) != set(shapes):
        found = ", ".join(map(str, state)) if isinstance(state, dict) else checks.shown(state)
        raise ValueError(
            f"{name} must be a dict of {', '.join(shapes)}, such as init_state makes, "
            f"not {found or 'empty'}."
        )
    lead = tuple(theta.shape[:-1])
    for key, shape in shapes.items():
        array, called = state[key], f"{name}[{key!r}]"
        backends.of(theta, array, names=("theta", called))
        checks.same_dtype(backend, array, called, theta, "theta")
        if tuple(array.shape) != (*lead, *shape):
            raise ValueError(
                f"{called} must have the shape {(*lead, *shape)}, not {tuple(array.shape)}."
            )
        if look:
            backend.check_finite(called, array)
    own = tuple(state[key] for key in shapes)
    if look:
        network.check_state(backend, own)
    return own
