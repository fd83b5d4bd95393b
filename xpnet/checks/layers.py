"""Layers of somebody's own: whether they do in a training what they say."""

from __future__ import annotations

from copy import copy as copy_of
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.layers import base
from xpnet.layers.base import Backprop, Layer, Params, State
from xpnet.layers.checked import Checked
from xpnet.noise import Stream
from xpnet.types import Array

if TYPE_CHECKING:
    from xpnet.backends.base import Backend
    from xpnet.network import Sequential


def check_layers(
    network: Sequential,
    backend: Backend,
    theta: Array,
    x: Array,
    state: State,
    noise: Stream | None,
) -> None:
    """Try somebody's own layers out on samples ``x``, for two members of an ensemble.

    Raises:
        TypeError, ValueError: naming the layer, if it does not do as a layer should.
    """
    if not any(isinstance(link.run, Checked) for link in network.links):
        return
    if len(theta.shape) == 2:
        theta, x = theta[:2, :], x[:2, ...] if len(x.shape) == 3 else x
        state = tuple(array[:2, ...] for array in state)
        if noise is not None:
            noise = Stream(noise.key[:2, :], noise.step[:2, :], bits=noise.bits)
    theta, x, state = backend.copy((theta, x, state))  # for those that write into them
    params = network.layout.views(backend.xp, theta)
    layers = [
        (
            link.run,
            params[link.params],
            state[link.state],
            noise.split() if noise and link.layer.is_random else None,
        )
        for link in network.links
    ]
    try_out(layers, backend, x)


def try_out(
    layers: list[tuple[Checked | Layer, Params, State, Stream | None]],
    backend: Backend,
    x: Array,
) -> None:
    """Run layers on a few samples as training will, and compare what they do with what they say.

    Args:
        layers: with their parameters, state and noise.
        backend: of the samples.
        x: the samples.

    Raises:
        TypeError, ValueError: naming the layer, if its answers are not as `Layer` says, ``apply``
            gives another output than ``forward`` with neither state nor noise, or something is
            written into that is not its own.
    """
    xp, copy, host = backend.xp, backend.copy, backend.to_host
    backprops: list[tuple[Checked | Layer, list[Any], Backprop]] = []
    for layer, params, state, noise in layers:
        if not isinstance(layer, Checked):
            y, backprop, _ = base.forward(layer, xp, params, x, state, noise)
            backprops.append((layer, [], backprop))
            x = y
            continue
        named_state = [
            (f"the state {k!r}", v) for k, v in zip(layer.layer.state(), state, strict=True)
        ]
        again = copy_of(noise)  # the same numbers
        given = [("x", x), *zip(layer.layer.parameters(), params, strict=True), *named_state]
        kept = [(name, array, copy(array)) for name, array in given]
        short = host(copy(base.apply(layer, xp, params, x, state)))
        _unwritten(layer, "apply", kept, host)
        y, backprop, _ = base.forward(layer, xp, params, x, state, noise)
        _unwritten(layer, "forward", kept, host)
        _same_twice(layer, xp, (params, x, state, again), host)
        if not layer.has_long_form:
            _alike(layer, "apply must return what forward does", short, host(y))
        if layer.layer.is_samplewise:
            _check_samples(layer, backend, (params, x, state, again))
        kept.append(("its output", y, copy(y)))
        backprops.append((layer, kept, backprop))
        x = y
    dy: Array = xp.ones_like(x)
    for layer, kept, backprop in reversed(backprops):
        if isinstance(layer, Checked):
            kept = [*kept, ("dy", dy, copy(dy))]
        dy = backprop(dy, True)[0]
        if isinstance(layer, Checked):
            _unwritten(layer, "backprop", kept, host)


def _unwritten(layer: Checked, method: str, kept: Any, host: Any) -> None:
    for name, array, before in kept:
        if not np.array_equal(host(array), host(before), equal_nan=True):
            raise ValueError(
                f"{layer.name}: {method} must not write into {name}, which is not its own; "
                "make a new array, such as y = x + b for x += b."
            )


Given = tuple[Params, Array, State, "Stream | None"]
"""What `forward` is given."""


def _answers(layer: Checked, xp: Any, given: Given) -> dict[str, Array]:
    """What a layer gives, forward and back."""
    params, x, state, noise = given
    y, backprop, _ = base.forward(layer, xp, params, x, state, copy_of(noise))
    dx, grads = backprop(xp.ones_like(y), True)
    names = [f"d{name}" for name in layer.layer.parameters()]
    return {"forward": y, "dx": dx, **dict(zip(names, grads, strict=True))}


def _same_twice(layer: Checked, xp: Any, given: Given, host: Any) -> None:
    first, again = (
        {name: host(array) for name, array in _answers(layer, xp, given).items()} for _ in range(2)
    )
    for name, array in first.items():
        if not np.array_equal(array, again[name], equal_nan=True):
            raise TypeError(
                f"{layer.name}: {'forward' if name == 'forward' else 'backprop'} must return the "
                "same for the same x, which it does not the second time; a layer that draws random "
                "numbers says draws = True and takes them from noise, and one that goes on from "
                "what it did declares state()."
            )


def _check_samples(layer: Checked, backend: Backend, given: Given) -> None:
    """Raise unless a layer that is ``samplewise`` gives of two parts what it gives of the whole."""
    params, x, state, noise = given
    half = int(x.shape[-2]) // 2
    if not half:
        return

    def answers(xp: Any, params: Params, x: Array, state: State, *, first: int) -> Any:
        return _answers(layer, xp, (params, x, state, noise and noise.part(first)))

    # Of other shapes than before, for which JAX would compile each operation.
    compiled = backend.as_one(answers)

    def of(rows: slice, first: int) -> dict[str, np.ndarray]:
        first = first if noise else 0
        found = compiled(backend.xp, params, x[..., rows, :], state, first=first)
        return {name: backend.to_host(array).copy() for name, array in found.items()}

    whole, parts = of(slice(None), 0), (of(slice(0, half), 0), of(slice(half, None), half))
    for name in ("forward", "dx"):
        what = f"{name} of a part of the samples must be as of all, since it is samplewise"
        _alike(layer, what, np.concatenate([p[name] for p in parts], axis=-2), whole[name])
    for name in whole.keys() - {"forward", "dx"}:
        what = f"{name} of the parts of the samples must add up to that of all, as it is samplewise"
        _alike(layer, what, parts[0][name] + parts[1][name], whole[name])


def _alike(layer: Checked, words: str, found: np.ndarray, long: np.ndarray) -> None:
    """Raise unless both are one but for rounding: to half of the digits, of the largest number."""
    finite = np.abs(long[np.isfinite(long)])
    scale = float(np.max(finite, initial=0.0))
    most = float(np.sqrt(np.finfo(long.dtype).eps)) * scale
    near = np.isclose(found, long, rtol=0, atol=most, equal_nan=True)
    if not near.all():
        where = tuple(np.argwhere(~near)[0].tolist())
        raise ValueError(
            f"{layer.name}: {words}, but for one of the samples it gives {found[where]:.6g}, not "
            f"{long[where]:.6g}."
        )
