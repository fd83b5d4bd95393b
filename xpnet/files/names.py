"""How parameters and the state of layers are named in files: as PyTorch names and shapes them."""

from __future__ import annotations

from typing import NamedTuple

from xpnet.layers import (
    BatchNorm,
    Embedding,
    Layer,
    Linear,
    LinearBatchEnsemble,
    LinearEnsemble,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
)
from xpnet.layers.chain import Chain
from xpnet.layers.checked import is_own
from xpnet.network import Sequential

_NAMES: dict[type, dict[str, str]] = {
    Linear: {"W": "weight", "b": "bias"},
    BatchNorm: {"mean": "running_mean", "var": "running_var"},
}
"""What has another name there."""

_MATRICES = {(Linear, "W"), (Embedding, "weight")}
"""What has two axes there; all else of xpnet's own layers has one."""

_AS_HERE = (
    *(LinearBatchEnsemble, LinearEnsemble),
    *(PeriodicEmbedding, PiecewiseLinearEmbedding),
)
"""Layers that PyTorch has none of: names and shapes are those of the layer."""


class Stored(NamedTuple):
    """A parameter, or a state of a layer, in the network and in a file."""

    name: str
    """Its name in the network, such as ``"0.b"``."""
    key: str
    """That in a file, ``"0.bias"``."""
    shape: tuple[int, ...]
    """Its shape in a file, of one network."""


def stored(network: Sequential) -> tuple[list[Stored], list[Stored]]:
    """The parameters of a network, and the state of its layers, each in their order.

    Raises:
        ValueError: if two of one layer have the same name in a file.
    """
    parameters, state = (
        [_one(network, name, tuple(shape)) for name, shape in shapes.items()]
        for shapes in (network.layout.shapes, network.state_shapes)
    )
    keys = {one.key for one in parameters}
    for one in state:
        if one.key in keys:
            raise ValueError(
                f"the state {one.name!r} must not have the name of a parameter, to be saved."
            )
    return parameters, state


def _one(network: Sequential, name: str, shape: tuple[int, ...]) -> Stored:
    layer: Layer = network
    rest = name
    while isinstance(layer, Chain) and rest.partition(".")[0].isdigit():
        number, _, rest = rest.partition(".")
        layer = layer[int(number)]
    key = name.removesuffix(rest) + _NAMES.get(type(layer), {}).get(rest, rest)
    if isinstance(layer, _AS_HERE):
        return Stored(name, name, shape)
    if is_own(layer) and (type(layer), rest) not in _MATRICES:
        shape = shape[1:]
    return Stored(name, key, shape)
