"""xpnet: neural networks with hand-written back-propagation on any array library."""

import typing as _typing
from importlib import import_module as _import_module

# The first of ours, for a Ctrl-C during the others, and for what these would not find.
from xpnet import _interrupt, _needs, backends, datasets, metrics, tables  # noqa: F401
from xpnet.compiler import step_key as _step_key
from xpnet.explanation import Explanation, explain
from xpnet.files.exchange import from_sklearn, from_torch, to_torch
from xpnet.files.model import load
from xpnet.history import History
from xpnet.initializers import (
    Constant,
    HeNormal,
    Initializer,
    KaimingNormal,
    KaimingUniform,
    XavierNormal,
    XavierUniform,
    Zeros,
)
from xpnet.layers import (
    ELU,
    GELU,
    SELU,
    BatchNorm,
    Columns,
    Dropout,
    Embedding,
    Flatten,
    HardTanh,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Linear,
    LinearBatchEnsemble,
    LinearEnsemble,
    LogSoftmax,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    PReLU,
    ReLU,
    Repeat,
    Residual,
    RMSNorm,
    RobustScale,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Standardize,
    Tanh,
)
from xpnet.losses import (
    BCE,
    KL,
    L1,
    MSE,
    BCEWithLogits,
    CrossEntropy,
    EnsembleLoss,
    Hinge,
    Huber,
    Loss,
    Poisson,
    Quantile,
)
from xpnet.model import Model
from xpnet.network import Sequential
from xpnet.noise import Noise
from xpnet.optimizers import (
    SGD,
    Adadelta,
    AdaGrad,
    Adam,
    Adamax,
    AdamW,
    ClipNorm,
    ClipValue,
    CosineDecay,
    CosineRestarts,
    ExponentialDecay,
    Lion,
    Momentum,
    NAdam,
    OneCycle,
    Optimizer,
    PiecewiseConstant,
    PolynomialDecay,
    RAdam,
    RMSprop,
    Rprop,
    Schedule,
    StepDecay,
    Transform,
    WarmUp,
)
from xpnet.samples import split
from xpnet.training import Callback, Run, fit
from xpnet.training.minimize import Minimum, minimize

_step_key.remember()  # behind all the imports

if _typing.TYPE_CHECKING:
    from xpnet import callbacks, estimators  # noqa: F401
    from xpnet.files.onnx import export_onnx
else:

    def __getattr__(name: str) -> object:  # on first use: few programs have any
        if name == "export_onnx":
            return _import_module("xpnet.files.onnx").export_onnx
        if name not in ("callbacks", "estimators"):
            raise AttributeError(f"module 'xpnet' has no attribute {name!r}")
        return _import_module(f"xpnet.{name}")


__version__ = "0.1.0"

__all__ = [
    "BCE",
    "ELU",
    "GELU",
    "KL",
    "L1",
    "MSE",
    "SELU",
    "SGD",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "BCEWithLogits",
    "BatchNorm",
    "Callback",
    "ClipNorm",
    "ClipValue",
    "Columns",
    "Constant",
    "CosineDecay",
    "CosineRestarts",
    "CrossEntropy",
    "Dropout",
    "Embedding",
    "EnsembleLoss",
    "Explanation",
    "ExponentialDecay",
    "Flatten",
    "HardTanh",
    "HeNormal",
    "Hinge",
    "History",
    "Huber",
    "Identity",
    "Initializer",
    "KaimingNormal",
    "KaimingUniform",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearBatchEnsemble",
    "LinearEnsemble",
    "Lion",
    "LogSoftmax",
    "Loss",
    "Minimum",
    "Model",
    "Momentum",
    "NAdam",
    "Noise",
    "OneCycle",
    "Optimizer",
    "PReLU",
    "PeriodicEmbedding",
    "PiecewiseConstant",
    "PiecewiseLinearEmbedding",
    "Poisson",
    "PolynomialDecay",
    "Quantile",
    "RAdam",
    "RMSNorm",
    "RMSprop",
    "ReLU",
    "Repeat",
    "Residual",
    "RobustScale",
    "Rprop",
    "Run",
    "Schedule",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Standardize",
    "StepDecay",
    "Tanh",
    "Transform",
    "WarmUp",
    "XavierNormal",
    "XavierUniform",
    "Zeros",
    "backends",
    "callbacks",
    "datasets",
    "explain",
    "export_onnx",
    "fit",
    "from_sklearn",
    "from_torch",
    "load",
    "metrics",
    "minimize",
    "split",
    "tables",
    "to_torch",
]
