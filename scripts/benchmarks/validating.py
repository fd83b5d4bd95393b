"""What validation at every epoch costs a training, at the scale of scikit-learn's digits, and what
eight members with it cost beside one.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

import xpnet as xn

SAMPLES, HELD, FEATURES, CLASSES, BATCH = 1500, 297, 64, 10, 32


def ratios(libraries: list[str], rounds: int, quick: bool) -> dict[str, float]:
    """The time of a training with validation by that without, on each library: medians of turns."""
    return {
        name: _ratio(xn.backends.get(name), rounds, 2 if quick else 40)
        for name in libraries
        if xn.backends.available()[name]
    }


def _ratio(backend: Any, rounds: int, epochs: int) -> float:
    rng = np.random.default_rng(0)
    x = backend.asarray(rng.normal(size=(SAMPLES, FEATURES)), "float32")
    y = backend.asarray(rng.integers(0, CLASSES, SAMPLES), "int64")
    held = x[:HELD, ...], y[:HELD, ...]
    net = xn.Sequential(xn.Linear(FEATURES, 64), xn.ReLU(), xn.Linear(64, CLASSES))

    def seconds(**options: Any) -> float:
        begin = time.perf_counter()
        # Both look at what came of an epoch after each.
        model = xn.fit(net, x, y, loss=xn.CrossEntropy(), optimizer=xn.Adam(), epochs=epochs,
                       batch_size=BATCH, seed=0, check_every=1, **options)  # fmt: skip
        backend.to_host(model.theta)
        return time.perf_counter() - begin

    turns = [(seconds(validation=held), seconds()) for _ in range(rounds + 1)][1:]
    return statistics.median(looking / alone for looking, alone in turns)


MEMBERS = 8


def members(rounds: int, quick: bool) -> float:
    """The time of 8 members by that of one network, each with validation, on NumPy."""
    backend, epochs = xn.backends.get("numpy"), 2 if quick else 40
    rng = np.random.default_rng(0)
    x = backend.asarray(rng.normal(size=(SAMPLES, FEATURES)), "float32")
    y = backend.asarray(rng.integers(0, CLASSES, SAMPLES), "int64")
    held = x[:HELD, ...], y[:HELD, ...]
    net = xn.Sequential(xn.Linear(FEATURES, 100), xn.ReLU(), xn.Linear(100, CLASSES))

    def seconds(members: int | None) -> float:
        begin = time.perf_counter()
        xn.fit(net, x, y, loss=xn.CrossEntropy(), optimizer=xn.Adam(), epochs=epochs, seed=0,
               batch_size=200, validation=held, members=members)  # fmt: skip
        return time.perf_counter() - begin

    turns = [(seconds(MEMBERS), seconds(None)) for _ in range(rounds + 1)][1:]
    return statistics.median(many / one for many, one in turns)
