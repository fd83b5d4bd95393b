"""Networks of other libraries as models, and models as theirs."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.files.describe import make
from xpnet.files.model import packed, unpacked
from xpnet.files.names import stored
from xpnet.layers import Identity, Layer, Linear, ReLU, Sigmoid, Tanh
from xpnet.losses import MSE, BCEWithLogits, CrossEntropy, Loss, Poisson
from xpnet.model import Model
from xpnet.network import Sequential


def from_torch(module: Any, *, backend: str | None = None, device: str | None = None) -> Model:
    """A ``torch.nn.Sequential`` as a `Model`, which gives what the module gives in eval mode.

    It may have others within, of ``Linear``, the activations, ``Softmax``, ``LogSoftmax``,
    ``PReLU``, ``Dropout``, ``BatchNorm1d``, ``LayerNorm``, ``RMSNorm``, ``Flatten``, and
    ``Embedding`` with ``Flatten`` behind it. A ``Flatten`` takes samples that are flat already
    here. Where the module has no bias or weight (``bias=False``, ``affine=False``) there are zeros
    or ones here, which are trained if the model is.

    Args:
        module: the module; its parameters are copied.
        backend: the array library of the model, as `xpnet.backends.get` names it; ``None`` for
            PyTorch, where the module lies.
        device: the device; ``None`` for where the module lies, or the other library's own choice.

    Raises:
        TypeError: if it is no ``torch.nn.Sequential`` of float32 or float64, or there is a module
            in it that xpnet has no layer for.
        ValueError: if it has no parameters, or an argument that the layer here does not take.
    """
    from xpnet.backends import torch_modules  # which imports PyTorch

    description, arrays, where = torch_modules.described(module)
    if backend is not None or device is not None:
        where = backends.get(where.name if backend is None else backend, device)
    parameters, _ = stored(make(description, "network", {}))
    dtype = next(arrays[one.key].dtype for one in parameters if one.key in arrays)
    for one in parameters:
        if one.key not in arrays:
            arrays[one.key] = np.full(one.shape, float(one.key.endswith(".weight")), dtype)
    return unpacked(arrays, {"network": description}, where, {})


def to_torch(model: Model) -> Any:
    """A `Model` as a ``torch.nn.Sequential`` in eval mode, which gives what the model gives.

    The tensors are copies, on the device where the model lies if that is PyTorch's, else on the
    CPU. ``state_dict`` names them as `Model.save` does. What PyTorch has no module for (`Residual`,
    `Standardize`, an `Embedding` that takes floats) are modules of
    ``xpnet.backends.torch_modules``. What a loss makes of an output, as probabilities of logits, is
    not in the module.

    Raises:
        TypeError: if the model is one of several networks, or PyTorch has no module for a layer.
    """
    from xpnet.backends import torch_modules

    checks.instance("model", model, Model, "a Model")
    if model.members is not None:
        raise TypeError(
            f"model must be of a network alone, not of {model.members}; use model.member(i), or "
            "model.best()."
        )
    arrays, header = packed(model, weights_only=True)
    return torch_modules.built(header["network"], arrays, backends.of(model.theta))


_ACTIVATIONS: dict[str, type[Layer]] = {
    "identity": Identity,
    "logistic": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
}
_LOSSES: dict[str, type[Loss]] = {
    "logistic": BCEWithLogits,
    "softmax": CrossEntropy,
    "identity": MSE,
    "exp": Poisson,
}
"""By the activation of the output, which is the loss's to make here."""


def from_sklearn(mlp: Any, *, backend: str = "numpy", device: str | None = None) -> Model:
    """A fitted ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn as a `Model` with its loss.

    ``model.predict_proba(x)`` is that of ``mlp``: a column for each of ``mlp.classes_``, of two
    classes one column, that of the second (and of several labels a sample, one each). Where
    ``mlp.predict`` gives classes, ``model.predict`` gives their places in ``mlp.classes_``. A
    regression's output has two axes. `MSE` is twice the squared loss of scikit-learn, whose
    ``alpha`` is an optimizer's ``weight_decay``.

    Args:
        mlp: the estimator.
        backend: the array library of the model, as `xpnet.backends.get` names it.
        device: the device; ``None`` for the library's own choice.

    Raises:
        TypeError: if it is none of the two.
        ValueError: if it is not fitted.
    """
    kinds = {k.__name__ for k in type(mlp).__mro__ if k.__module__.startswith("sklearn.")}
    if not kinds & {"MLPClassifier", "MLPRegressor"}:
        cure = "."
        if type(mlp).__module__.startswith("xpnet.estimators"):
            cure = ", which has its Model already: mlp.model_, once it is fitted."
        elif hasattr(mlp, "steps"):
            cure = "; its last step is mlp[-1], which takes what the steps before it make."
        raise TypeError(
            "mlp must be an MLPClassifier or MLPRegressor of scikit-learn, not "
            f"{checks.shown(mlp)}{cure}"
        )
    if not hasattr(mlp, "coefs_"):
        raise ValueError("mlp must be fitted before; call mlp.fit(x, y).")
    layers: list[Layer] = []
    for W in mlp.coefs_:
        layers += [Linear(*W.shape), _ACTIVATIONS[mlp.activation]()]
    network = Sequential(*layers[:-1])
    arrays = [a for W, b in zip(mlp.coefs_, mlp.intercepts_, strict=True) for a in (W.T, b)]
    theta = network.layout.joined(np, arrays, ())
    where = backends.get(backend, device)
    with where.context():
        placed = where.asarray(theta, theta.dtype.name)
    return Model(network, placed, _LOSSES[mlp.out_activation_]())
