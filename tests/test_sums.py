"""Sums in training are as exact as a library's own, which adds in pairs, however many terms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from tests.helpers import EPS, library

CHUNK = 256
"""Up to how many terms are added one after the other anywhere."""


def bound(terms: int, dtype: str) -> float:
    """The relative error of a sum of terms of one sign, which have up to 4 roundings themselves.

    Sums of at most ``CHUNK`` terms, of those sums, and so on: an ulp a term at each level. (Sums in
    pairs have ``log2`` of the terms, which is less.)
    """
    levels = math.ceil(math.log(terms, CHUNK))
    return (CHUNK * levels + 4) * EPS[dtype]


def last_step(backend: Any, samples: int, outputs: int, members: int | None, **options: Any) -> Any:
    """The loss, and the gradient of the biases, where all outputs are 300.3 too large."""
    x = backend.asarray(np.ones((samples, 1)), "float32")
    y = backend.asarray(np.full((samples, outputs), -300.3), "float32")
    net = xn.Sequential(xn.Linear(1, outputs))
    shape = (2 * outputs,) if members is None else (members, 2 * outputs)
    theta = backend.asarray(np.zeros(shape), "float32")
    model = xn.fit(
        net, x, y, theta=theta, loss=xn.MSE(), optimizer=xn.SGD(lr=1), epochs=1, **options
    )
    gradient = -backend.to_host(model.theta)[..., outputs:]
    return model.history.loss[0], gradient


# In the plain loop NumPy adds row to row.
@pytest.mark.parametrize("outputs", [1, pytest.param(4, marks=pytest.mark.has("digits"))])
@pytest.mark.parametrize(
    ("samples", "members"), [(257, None), (257, 2), (1_000_003, None), (100_003, 2)]
)
def test_a_loss_and_the_gradient_of_a_bias_keep_their_digits(
    backend: Any, samples: int, outputs: int, members: int | None
) -> None:
    loss, gradient = last_step(backend, samples, outputs, members)
    error = float(np.float32(300.3))
    np.testing.assert_allclose(loss, error**2, rtol=bound(samples * outputs, "float32"))
    expected = 2 * error / outputs
    np.testing.assert_allclose(gradient, expected, rtol=bound(samples, "float32"))


def test_shares_of_threads_keep_the_digits_of_a_sum() -> None:
    library("threadpoolctl")
    backend = xn.backends.get("numpy")
    loss, gradient = last_step(backend, 1_000_003, 4, None, threads=2)
    error = float(np.float32(300.3))
    np.testing.assert_allclose(loss, error**2, rtol=bound(4_000_012, "float32"))
    np.testing.assert_allclose(gradient, error / 2, rtol=bound(1_000_003, "float32"))


DTYPES = ("float32", "float64")
SUMS = {
    "over rows": lambda xp, x: xp.sum(x, axis=-2, keepdims=True),
    "over columns": lambda xp, x: xp.sum(x, axis=-1, keepdims=True),
    "over rows, gone": lambda xp, x: xp.sum(x, axis=-2)[..., None, :],
    "over columns, gone": lambda xp, x: xp.sum(x, axis=-1)[..., None],
    "over rows of the transposed": lambda xp, x: xp.sum(x.mT, axis=-2, keepdims=True).mT,
    "over columns of the transposed": lambda xp, x: xp.sum(x.mT, axis=-1, keepdims=True).mT,
    "over some columns": lambda xp, x: xp.sum(x[..., :300], axis=-1, keepdims=True),
    "over all": lambda xp, x: xp.sum(x, axis=(-2, -1))[..., None, None],
    "over all but a column": lambda xp, x: xp.sum(x[..., 1:], axis=(-2, -1))[..., None, None],
}


class Total(xn.Layer):
    """Some sum of its input, in every element."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return x * 0.0 + self.function(xp, x)

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        return self.apply(xp, params, x), lambda dy, need_dx=True: (dy * 0.0, ())


@pytest.mark.parametrize(  # each sum of one and of members, and in each dtype
    ("name", "members", "dtype"),
    [
        (name, members, dtype)
        for i, name in enumerate(SUMS)
        for members, dtype in zip((None, 2), DTYPES[:: (-1) ** i], strict=True)
    ],
)
def test_every_sum_of_a_step_is_exact_to_its_bound(
    backend: Any, name: str, members: int | None, dtype: str
) -> None:
    """The input of the layer is one column, many times over."""
    values = np.random.default_rng(0).uniform(1, 3, (700, 1))
    host = values.astype(dtype)
    x = backend.asarray(host, dtype)
    y = backend.asarray(np.zeros((700, 600)), dtype)
    net = xn.Sequential(xn.Linear(1, 600), Total(SUMS[name]))
    ones = np.concatenate([np.ones(600), np.zeros(600)])
    theta = backend.asarray(ones if members is None else np.stack([ones] * members), dtype)
    model = xn.fit(net, x, y, theta=theta, loss=xn.MSE(), optimizer=xn.SGD(lr=0.0), epochs=1)
    wide = np.broadcast_to(host.astype("float64"), (700, 600))
    expected = np.mean(np.square(wide * 0 + SUMS[name](np, wide)))
    # A square has twice the error of the sum; the loss adds up squares.
    most = 3 * bound(700 * 600, dtype)
    np.testing.assert_allclose(model.history.loss[0], expected, rtol=most)
