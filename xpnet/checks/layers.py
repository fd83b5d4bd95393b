"""Layers of somebody's own: whether they do in a training what they say."""

from __future__ import annotations

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
            noise = Stream(noise.key[:2, :], noise.step[:2, :])
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
    try_out(layers, backend.xp, x, backend.copy, backend.to_host)


def try_out(
    layers: list[tuple[Checked | Layer, Params, State, Stream | None]],
    xp: Any,
    x: Array,
    copy: Any,
    host: Any,
) -> None:
    """Run layers on a few samples as training will, and compare what they do with what they say.

    Args:
        layers: with their parameters, state and noise.
        xp: the namespace.
        x: the samples.
        copy: copies an array.
        host: brings one to the host.

    Raises:
        TypeError, ValueError: naming the layer, if its answers are not as `Layer` says, ``apply``
            gives another output than ``forward`` with neither state nor noise, or something is
            written into that is not its own.
    """
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
        given = [("x", x), *zip(layer.layer.parameters(), params, strict=True), *named_state]
        kept = [(name, array, copy(array)) for name, array in given]
        short = host(copy(base.apply(layer, xp, params, x, state)))
        _unwritten(layer, "apply", kept, host)
        y, backprop, _ = base.forward(layer, xp, params, x, state, noise)
        _unwritten(layer, "forward", kept, host)
        if not layer.has_long_form:
            _alike(layer, short, host(y))
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


def _alike(layer: Checked, short: np.ndarray, long: np.ndarray) -> None:
    """Raise unless both are one but for rounding: to half of the digits, of the largest number."""
    finite = np.abs(long[np.isfinite(long)])
    scale = float(np.max(finite, initial=0.0))
    most = float(np.sqrt(np.finfo(long.dtype).eps)) * scale
    if not np.allclose(short, long, rtol=0, atol=most, equal_nan=True):
        where = tuple(
            np.argwhere(~np.isclose(short, long, rtol=0, atol=most, equal_nan=True))[0].tolist()
        )
        raise ValueError(
            f"{layer.name}: apply must return what forward does, but for one of the samples it "
            f"gives {short[where]:.6g} where forward gives {long[where]:.6g}."
        )
