"""Initial values, drawn on the host by a NumPy generator that the caller provides.

The array API standard has no random numbers. Values are drawn in float64 and then moved, so one
seed gives the same bits on every library.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from xpnet import checks

RNG: TypeAlias = "np.random.Generator | np.random.RandomState"  # as text: NumPy loads it lazily


def generator(seed: int | RNG | None, name: str = "seed", also: str = "") -> RNG:
    """Return ``seed`` if it is a generator, else a new ``numpy.random.Generator`` seeded by it.

    ``also`` is what besides would be right where this one is wrong.

    Raises:
        TypeError, ValueError: if it is neither a generator, nor ``None``, nor an int ≥ 0.
    """
    if isinstance(seed, (np.random.Generator, np.random.RandomState)):
        return seed
    if seed is None:
        return np.random.default_rng()
    try:
        return np.random.default_rng(checks.whole(name, seed, least=0))
    except TypeError:
        raise TypeError(
            f"{name} must be an int of at least 0, a numpy.random.Generator, a RandomState or "
            f"None{also}, not {checks.shown(seed)}."
        ) from None


class Initializer(ABC):
    """How the values of one parameter are drawn."""

    @abstractmethod
    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        """Return float64 values of ``shape`` for a layer from ``fan_in`` to ``fan_out`` units."""


def gain(nonlinearity: str, negative_slope: float = 0.01) -> float:
    """The factor that keeps a signal's size through an activation (He et al. 2015, as in torch).

    1 for ``linear``, ``identity`` and ``sigmoid``, 5/3 for ``tanh``, √2 for ``relu``,
    √(2 / (1 + a²)) for ``leaky_relu``.
    """
    checks.number("negative_slope", negative_slope)
    gains = {
        "linear": 1.0,
        "identity": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + negative_slope**2)),
    }
    return gains[checks.one_of("nonlinearity", nonlinearity, gains)]


@dataclass(frozen=True)
class HeNormal(Initializer):
    """The report's "He normal": ``N(0, std²)`` with ``std = √(2 / ((1 + a²) in))``.

    ``a = √(6 / (in + out))``.
    He's rule for a leaky slope ``a`` that is, in the report, Xavier's uniform bound. It is kept as
    it is, for the digits; `KaimingNormal` is the textbook's.
    """

    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        a = math.sqrt(6 / (fan_in + fan_out))
        return np.asarray(rng.normal(0.0, math.sqrt(2 / ((1 + a**2) * fan_in)), shape))


def _check_kaiming(nonlinearity: str, negative_slope: float, mode: str) -> None:
    gain(nonlinearity, negative_slope)
    checks.one_of("mode", mode, ("fan_in", "fan_out"))


def _fan(mode: str, fan_in: int, fan_out: int) -> int:
    return {"fan_in": fan_in, "fan_out": fan_out}[mode]


@dataclass(frozen=True)
class KaimingNormal(Initializer):
    """``N(0, std²)`` with ``std = gain / √fan`` (He et al. 2015, arXiv:1502.01852).

    Args:
        nonlinearity: the activation behind the layer, for its ``gain``.
        negative_slope: that of ``leaky_relu``.
        mode: ``fan_in`` keeps the size of the signal, ``fan_out`` that of the gradient.
    """

    nonlinearity: str = "leaky_relu"
    negative_slope: float = 0.01
    mode: str = "fan_in"

    def __post_init__(self) -> None:
        _check_kaiming(self.nonlinearity, self.negative_slope, self.mode)

    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        std = gain(self.nonlinearity, self.negative_slope)
        std /= math.sqrt(_fan(self.mode, fan_in, fan_out))
        return np.asarray(rng.normal(0.0, std, shape))


@dataclass(frozen=True)
class KaimingUniform(Initializer):
    """``U(−r, r)`` with ``r = gain √(3 / fan)`` (He et al. 2015); arguments as `KaimingNormal`."""

    nonlinearity: str = "leaky_relu"
    negative_slope: float = 0.01
    mode: str = "fan_in"

    def __post_init__(self) -> None:
        _check_kaiming(self.nonlinearity, self.negative_slope, self.mode)

    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        r = gain(self.nonlinearity, self.negative_slope)
        r *= math.sqrt(3 / _fan(self.mode, fan_in, fan_out))
        return np.asarray(rng.uniform(-r, r, shape))


@dataclass(frozen=True)
class XavierNormal(Initializer):
    """``N(0, std²)`` with ``std = gain √(2 / (in + out))`` (Glorot and Bengio 2010)."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.number("gain", self.gain, above=0)

    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        std = self.gain * math.sqrt(2 / (fan_in + fan_out))
        return np.asarray(rng.normal(0.0, std, shape))


@dataclass(frozen=True)
class XavierUniform(Initializer):
    """``U(−r, r)`` with ``r = gain √(6 / (in + out))`` (Glorot and Bengio 2010)."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.number("gain", self.gain, above=0)

    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        r = self.gain * math.sqrt(6 / (fan_in + fan_out))
        return np.asarray(rng.uniform(-r, r, shape))


@dataclass(frozen=True)
class UniformOfFans(Initializer):
    """``U(−r, r)`` with ``r = √(factor / (in + out))``, in the order of scikit-learn's perceptrons.

    Where `XavierUniform` draws ``W`` output by output, it is drawn input by input here, so that one
    generator gives both the same networks; ``b`` has the same bound.

    Args:
        factor: 6, or 2 before a logistic sigmoid.
    """

    factor: float = 6.0

    def __post_init__(self) -> None:
        checks.number("factor", self.factor, above=0)

    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        r = math.sqrt(self.factor / (fan_in + fan_out))
        return np.asarray(rng.uniform(-r, r, shape[::-1])).T


@dataclass(frozen=True)
class Constant(Initializer):
    """Every value is ``value``; nothing is drawn."""

    value: float

    def __post_init__(self) -> None:
        checks.number("value", self.value)

    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        return np.full(shape, float(self.value))


@dataclass(frozen=True)
class Zeros(Initializer):
    """Every value is 0; nothing is drawn."""

    def draw(self, rng: RNG, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        return np.zeros(shape)


def member_seeds(seed: Any, members: int | None) -> Iterator[RNG]:
    """The generator of each member: of ``seed + i``, of its own seed, or one that all share."""
    many = checks.several(seed)
    if members is None:
        if many is not None:
            raise TypeError(
                "seed must be one for a network alone (members=None), not "
                f"{checks.shown(seed) if checks.is_array(seed) else f'a list of {len(seed)}'}."
            )
        return iter([generator(seed)])
    members = checks.whole("members", members)
    if many is not None:
        if len(many) != members:
            raise ValueError(
                f"seed must hold one seed for each of the {members} members, not {len(many)}."
            )
        return (generator(s, f"seed[{i}]") for i, s in enumerate(many))
    if seed is None or isinstance(seed, (np.random.Generator, np.random.RandomState)):
        rng = generator(seed)
        return (rng for _ in range(members))
    generator(seed, also=", or a sequence of them")  # says what is wrong with it
    return (generator(seed + i) for i in range(members))
