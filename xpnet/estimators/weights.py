"""The parameters of an estimator: one vector, and the matrices that scikit-learn shows of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import backends
from xpnet.layers import Linear
from xpnet.network import Sequential
from xpnet.types import Array


class Weights:
    """``theta``, and ``coefs`` and ``intercepts``, which are views of it where a library has views.

    Both can be read and set. What is written into a view is in the vector at once; another array in
    one of the lists is put into it before it is needed.

    Attributes:
        network: whose they are, or ``None`` if only matrices were given.
    """

    def __init__(self, network: Sequential | None = None, theta: Array | None = None) -> None:
        self.network, self._theta = network, theta
        self._lists: dict[str, list[Array]] = {}
        self._made: dict[str, list[Array]] = {}

    def __getstate__(self) -> dict[str, Any]:
        if self._changed or self._theta is None:
            return {**vars(self), "_made": {}}
        return {**vars(self), "_lists": {}, "_made": {}}  # copies would be views of nothing

    def __contains__(self, name: str) -> bool:
        return self._theta is not None or name in self._lists

    def __getitem__(self, name: str) -> list[Array]:
        """``coefs``, ``(…, in, out)`` each, or ``intercepts``, ``(…, out)``."""
        if not self._lists and self._theta is not None and self.network is not None:
            named = self.network.unflatten(self._theta)
            self._lists = {
                "coefs": [named[f"{path}.W"].mT for path in self._linear],
                "intercepts": [named[f"{path}.b"][..., 0, :] for path in self._linear],
            }
            self._made = {name: list(arrays) for name, arrays in self._lists.items()}
        return self._lists[name]

    def __setitem__(self, name: str, arrays: list[Array]) -> None:
        if self._theta is not None:
            self[name]
        self._lists[name] = arrays

    @property
    def _linear(self) -> list[str]:
        """The places of the fully connected layers."""
        assert self.network is not None
        return [link.path for link in self.network.links if isinstance(link.layer, Linear)]

    @property
    def _changed(self) -> bool:
        """Whether somebody has put another array into a list."""
        return any(
            len(self._made.get(name, ())) != len(arrays)
            or any(a is not b for a, b in zip(arrays, self._made[name], strict=True))
            for name, arrays in self._lists.items()
        )

    @property
    def dtype(self) -> str:
        """The name of the dtype; empty where only matrices were given."""
        return "" if self._theta is None else backends.of(self._theta).dtype_name(self._theta)

    @property
    def members(self) -> int | None:
        """How many networks' they are, or ``None`` for one."""
        if self._theta is not None:
            return int(self._theta.shape[0]) if len(self._theta.shape) == 2 else None
        shape = np.shape(self._lists["coefs"][0])
        return int(shape[0]) if len(shape) == 3 else None

    @property
    def shown(self) -> bool:
        """Whether somebody may have written into what was handed out."""
        return bool(self._lists)

    def vector(self, network: Sequential, like: Array | None = None) -> Array:
        """``theta`` for a network, of the dtype of ``like``, and where that lies."""
        if like is None:
            first = self._lists["coefs"][0] if self._theta is None else self._theta
            like = first if backends.name_of(first) else np.asarray(first)
        if self._theta is None or self._changed or self.network is not network:
            shown = {name: arrays for name, arrays in self._lists.items() if name in self._made}
            self._theta = self._joined(network, backends.of(like), like)
            self.network, self._lists, self._made = network, {}, {}
            self._show_on(shown)
        theta, backend = self._theta, backends.of(self._theta, like, names=("theta", "X"))
        if theta.dtype != like.dtype:
            theta = self._theta = backend.xp.astype(theta, like.dtype)
            self._lists, self._made = {}, {}
        return theta

    def _show_on(self, lists: dict[str, list[Array]]) -> None:
        """Have lists that somebody holds be those of the vector, so that he may go on in them."""
        if lists.keys() != {"coefs", "intercepts"}:
            return
        for name, arrays in lists.items():
            if isinstance(arrays, list):
                arrays[:] = self[name]
                self._lists[name] = arrays

    def _joined(self, network: Sequential, backend: Any, like: Array) -> Array:
        """The vector of the lists, and of what they do not show."""
        if not self._lists:
            return self._theta
        named: dict[str, Any] = {}
        if self._theta is not None and self.network is not None:
            named = dict(self.network.unflatten(self._theta))
        self.network, dtype = network, backend.dtype_name(like)
        for path, W, b in zip(
            self._linear, self._lists["coefs"], self._lists["intercepts"], strict=True
        ):
            W, b = (a if backends.name_of(a) else np.asarray(a) for a in (W, b))
            named[f"{path}.W"], named[f"{path}.b"] = W.mT, b[..., None, :]
        arrays = [
            a if backends.name_of(a) == backend.name else backend.asarray(_on_host(a), dtype)
            for a in named.values()
        ]
        with backend.context():
            return network.flatten(
                {
                    name: backend.xp.astype(a, like.dtype)
                    for name, a in zip(named, arrays, strict=True)
                }
            )


def _on_host(array: Any) -> np.ndarray:
    host: np.ndarray = backends.of(array).to_host(array)
    return host
