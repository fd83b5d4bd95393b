"""The layers: each one a short description, with forward and backward side by side."""

from xpnet.layers.activations import (
    ACTIVATIONS,
    Activation,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Tanh,
)
from xpnet.layers.base import Layer
from xpnet.layers.linear import Linear

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "ReLU",
    "Sigmoid",
    "Tanh",
]
