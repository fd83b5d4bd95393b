"""The layers: each one a short description, with forward and backward side by side."""

from xpnet.layers.activations import (
    ACTIVATIONS,
    ELU,
    GELU,
    SELU,
    Activation,
    HardTanh,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from xpnet.layers.base import Layer
from xpnet.layers.batch_ensemble import LinearBatchEnsemble, LinearEnsemble, Repeat
from xpnet.layers.batch_norm import BatchNorm
from xpnet.layers.columns import Columns
from xpnet.layers.dropout import Dropout
from xpnet.layers.embedding import Embedding
from xpnet.layers.flatten import Flatten
from xpnet.layers.linear import Linear
from xpnet.layers.norms import LayerNorm, RMSNorm
from xpnet.layers.numerical import PeriodicEmbedding, PiecewiseLinearEmbedding
from xpnet.layers.prelu import PReLU
from xpnet.layers.residual import Residual
from xpnet.layers.robust_scale import RobustScale
from xpnet.layers.softmax import LogSoftmax, Softmax
from xpnet.layers.standardize import Standardize

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "BatchNorm",
    "Columns",
    "Dropout",
    "Embedding",
    "Flatten",
    "HardTanh",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearBatchEnsemble",
    "LinearEnsemble",
    "LogSoftmax",
    "PReLU",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "RMSNorm",
    "ReLU",
    "Repeat",
    "Residual",
    "RobustScale",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Standardize",
    "Tanh",
]
