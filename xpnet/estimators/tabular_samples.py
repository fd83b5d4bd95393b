"""Tables as an estimator takes them apart, and what is done to parameters before and after."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from xpnet.backends import Backend
from xpnet.estimators.samples import (
    library_of,
)
from xpnet.layers import Embedding
from xpnet.model import Model
from xpnet.network import Sequential
from xpnet.tables import Table, frames, read
from xpnet.types import Array

FEWEST = 20
"""Of fewer samples none are held out: all epochs are trained."""

BATCHES = 12, 32, 256
"""Into how many batches an epoch is split, and how many samples one has at least and at most."""


def table_of(estimator: Any, X: Any, *, reset: bool) -> Table:
    """``X`` as a table, checked as scikit-learn does.

    Raises:
        TypeError, ValueError: if it is none, or another than at `fit`.
    """
    if type(X) is dict:  # which scikit-learn would show as a whole; a matrix of SciPy is one too
        raise TypeError("X must be a frame or an array, not a dict; use pandas.DataFrame(X).")
    if frames.package(X) in frames.PACKAGES or library_of(X):
        if library_of(X) and (len(X.shape) != 2 or 0 in X.shape):
            raise ValueError(f"Expected 2D array, got an array of shape {tuple(X.shape)}.")
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return read(X)
    least = 2 if reset else 1
    how = {"ensure_all_finite": "allow-nan", "ensure_min_samples": least, "reset": reset}
    try:
        X = validate_data(estimator, X, dtype="numeric", **how)
    except ValueError:
        if getattr(X, "dtype", np.dtype(float)).kind not in "OUT":
            raise
        X = validate_data(estimator, X, dtype=None, **how)  # texts among them
    return read(X)


def dealt(
    target: np.ndarray, weight: np.ndarray | None, fraction: float, rng: Any, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the samples that are trained on, and of those that decide when to stop."""
    samples = len(target)
    count = round(samples * fraction)
    if samples < FEWEST or not count:
        return np.arange(samples), np.arange(0)
    order = rng.permutation(samples)
    if stratify:
        # One after the other from each class, so that each has its share in any part.
        codes = target[order]
        place = np.empty(samples)
        for code in np.unique(codes):
            of_it = np.flatnonzero(codes == code)
            place[of_it] = (np.arange(len(of_it)) + rng.random_sample()) / len(of_it)
            if len(of_it) == 1:  # the only one is trained on
                place[of_it] = 1
        order = order[np.argsort(place, kind="stable")]
    held, train = order[:count], order[count:]
    if weight is not None and not (weight[train].any() and weight[held].any()):
        return np.arange(samples), np.arange(0)
    return np.sort(train), np.sort(held)


def batch_of(given: Any, samples: int) -> int:
    """How many samples a step has."""
    if given != "auto":
        return min(int(given), samples)
    parts, least, most = BATCHES
    return min(samples, most, max(least, 1 << int(math.log2(max(samples / parts, 1)))))


def unknown_is_nothing(network: Sequential, backend: Backend, theta: Array) -> Array:
    """``theta`` with zeros for the vector of the code 0: what was not seen says nothing."""
    named = network.unflatten(theta)
    for path in _embeddings(network):
        weight = backend.to_host(named[path]).copy()
        weight[..., 0, :] = 0
        named[path] = backend.asarray(weight, backend.dtype_name(theta))
    return network.flatten(named)


def _embeddings(network: Sequential) -> list[str]:
    """The names of the vectors of categories."""
    return [
        f"0.{i}.weight"
        for i, layer in enumerate(getattr(network[0], "layers", ()))
        if isinstance(layer, Embedding)
    ]


def scaled_back(model: Model, backend: Backend, center: np.ndarray, scale: np.ndarray) -> Model:
    """A model of numbers as they were, of one that was trained on standardized ones."""
    named, last = model.named_parameters(), len(model.network) - 1
    dtype = backend.dtype_name(model.theta)
    W, b = (backend.to_host(named[f"{last}.{name}"]).astype("float64") for name in ("W", "b"))
    times = W.shape[-2] // len(scale)  # of submodels that lie beside one another
    many = np.tile(scale, times)
    W, b = W * many[:, None], b * many + np.tile(center, times)
    named |= {f"{last}.W": backend.asarray(W, dtype), f"{last}.b": backend.asarray(b, dtype)}
    model.theta = model.network.flatten(named)
    return model
