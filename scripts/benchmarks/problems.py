"""What is trained: one problem, said once, for xpnet and every peer alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType

import numpy as np

import xpnet as xn
from benchmarks.own_layers import OwnGELU, OwnLayerNorm

ACTIVATIONS: dict[str, Callable[[int], xn.Layer]] = {
    "leaky_relu": lambda width: xn.LeakyReLU(),
    "relu": lambda width: xn.ReLU(),
    "gelu": lambda width: xn.GELU(),
    "own_gelu": lambda width: OwnGELU(),
    "layer_norm": xn.LayerNorm,
    "own_layer_norm": OwnLayerNorm,
}
"""What may come between two layers, for so many features, by name."""


class Unavailable(Exception):
    """A contestant cannot run here; the message says why."""


def require(module: str) -> ModuleType:
    """Import a peer's library, or raise `Unavailable`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(f"{module.partition('.')[0]} is not installed ({error})") from error


@dataclass(frozen=True)
class Problem:
    """A network, its data and its optimizer: steps of Adam from given weights.

    Attributes:
        sizes: the features of the input and of every layer's output.
        samples: how many; the report's xor has 21.
        dtype: ``float32`` or ``float64``.
        activation: of `ACTIVATIONS`: ``leaky_relu`` (slope 0.01), ``relu``, ``gelu``, or
            ``layer_norm``; ``own_`` before it for one of somebody's own.
        loss: ``bce`` (a sigmoid, and the report's eps of 1e-3 in both logarithms),
            ``bce_with_logits``, or ``cross_entropy`` (on logits, integer classes).
        members: how many networks at once; ``None`` for a single one.
        batch: how many samples a step takes, in the order in which they are; ``None`` for all. The
            losses that are kept are then means over an epoch.
        held: how many samples more are held out, and looked at after every epoch; 0 for none.
        accuracy: whether peers keep the accuracy of every step besides its loss; xpnet always does.
        xor: whether the data are the report's xor; random if not.
        lr, betas, eps: Adam's.
        seed: seeds data and weights.
    """

    sizes: tuple[int, ...] = (2, 4, 4, 1)
    samples: int = 21
    dtype: str = "float64"
    activation: str = "leaky_relu"
    loss: str = "bce"
    members: int | None = None
    batch: int | None = None
    held: int = 0
    accuracy: bool = True
    xor: bool = True
    lr: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    seed: int = 42

    slope = 0.01
    bce_eps = 1e-3

    def network(self) -> xn.Sequential:
        """The network as xpnet says it."""
        layers: list[xn.Layer] = []
        for i, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            if i:
                layers.append(ACTIVATIONS[self.activation](n_in))
            layers.append(xn.Linear(n_in, n_out))
        if self.loss == "bce":
            layers.append(xn.Sigmoid())
        return xn.Sequential(*layers)

    def loss_function(self) -> xn.Loss:
        """The loss as xpnet says it."""
        if self.loss == "bce":
            return xn.BCE(eps=self.bce_eps)
        return {"bce_with_logits": xn.BCEWithLogits, "cross_entropy": xn.CrossEntropy}[self.loss]()

    def optimizer(self) -> xn.Optimizer:
        """The optimizer as xpnet says it."""
        return xn.Adam(lr=self.lr, betas=self.betas, eps=self.eps)

    def x(self) -> np.ndarray:
        """``(samples, features)``."""
        if self.xor:
            return xn.datasets.xor()[0].astype(self.dtype)
        rng = np.random.default_rng(self.seed)
        return rng.standard_normal((self.samples, self.sizes[0])).astype(self.dtype)

    def y(self) -> np.ndarray:
        """Labels ``(samples, 1)`` in the dtype, or integer classes ``(samples,)``."""
        if self.xor:
            return xn.datasets.xor()[1].astype(self.dtype)
        rng = np.random.default_rng(self.seed + 1)
        if self.loss == "cross_entropy":
            return rng.integers(0, self.sizes[-1], self.samples)
        return rng.integers(0, 2, (self.samples, 1)).astype(self.dtype)

    def parts(self) -> tuple[np.ndarray, ...]:
        """``x`` and ``y`` to train on, and those that are held out."""
        more = replace(self, samples=self.samples + self.held)
        x, y = more.x(), more.y()
        return x[: self.samples], y[: self.samples], x[self.samples :], y[self.samples :]

    def theta(self) -> np.ndarray:
        """The initial parameters, ``(size,)`` or ``(members, size)``, as xpnet lays them out."""
        return _theta(self).copy()

    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same as ``(W, b)`` of every layer: ``(..., out, in)`` and ``(..., out)``; of a norm
        as ``(weight, bias)``, both ``(..., features)``.
        """
        named = self.network().unflatten(self.theta())
        arrays = [
            (array if name.endswith("W") else array[..., 0, :]).copy()
            for name, array in named.items()
        ]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """`pairs`, without those of norms."""
        return [(W, b) for W, b in self.pairs() if W.ndim > b.ndim]

    @property
    def function(self) -> str:
        """What the activation is, whoever wrote it."""
        return self.activation.removeprefix("own_")

    def ours(self) -> Problem:
        """The same with xpnet's own layers."""
        return replace(self, activation=self.function)

    def nearest(self) -> Problem:
        """What libraries without a leaky ReLU or the report's loss can train: a little less."""
        loss = "bce_with_logits" if self.loss == "bce" else self.loss
        return replace(self, activation="relu", loss=loss, accuracy=False)

    def rows(self) -> list[np.ndarray]:
        """The numbers of the samples that the steps of an epoch take; none where they take all."""
        if self.batch is None:
            return []
        return [np.arange(i, i + self.batch) for i in range(0, self.samples, self.batch)]

    def epoch_means(self, losses: np.ndarray) -> np.ndarray:
        """What is kept of the losses of all steps."""
        return losses if self.batch is None else losses.reshape(-1, len(self.rows())).mean(axis=1)

    def alone(self) -> Problem:
        """The same with one network."""
        return replace(self, members=None)


@lru_cache(maxsize=2)
def _theta(problem: Problem) -> np.ndarray:
    """Drawn once, since a hundred thousand members take seconds to draw."""
    like = np.empty(0, dtype=problem.dtype)
    return np.asarray(problem.network().init(problem.seed, like=like, members=problem.members))


def whole_batch(problem: Problem) -> None:
    """Refuse a problem in batches, for those who are written for steps on all samples."""
    if problem.batch is not None:
        raise Unavailable("written for steps on all samples")


Run = Callable[[int], np.ndarray]
"""Trains so many steps and returns the losses that are kept, ``(steps, ...)``, on the host."""


@dataclass(frozen=True)
class Contestant:
    """Who is measured.

    Attributes:
        problem: what it trains; not always what was asked for (`Problem.nearest`).
        start: goes back to the initial weights, untimed, and returns what is timed.
    """

    problem: Problem
    start: Callable[[], Run]

    def losses(self, steps: int) -> np.ndarray:
        """The losses of the first steps, for the test that everyone computes the same."""
        return np.asarray(self.start()(steps), dtype=np.float64)


Factory = Callable[[Problem], Contestant]
"""Makes a contestant, or raises `Unavailable`. What it does is never timed."""
