"""Numbers that are known to a radius: what a computation in float32 or float64 may give at most.

A `Ball` holds float64 values ``c`` and radii ``r``. Each operation hands its operands' radii on
exactly (not to first order), and adds what its own rounding can be:

- an elementary operation is rounded by at most half an ulp, so by ``u |result|`` with ``u`` the
  distance from 1 to the next number; the other half covers the float64 in which ``c`` is computed;
- a sum of ``n`` products, in whatever order, with or without fused operations, is off by at most
  ``n u Σ |term|`` (Higham 2002, section 3.1);
- ``exp``, ``log``, ``tanh`` are off by at most ``ULPS`` ulps, which all libraries keep to;
- what is smaller than the smallest normal number may be flushed to zero, an exact 0 stays one;
- what may be larger than the largest number is not known at all: its radius is infinite. So is that
  of a quotient by something that may be 0.

So the true result and that of every careful program lie within ``c ± r``, whatever they do first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

ULPS = 8.0
"""XLA's tanh on CPUs is off by up to 6 ulps, vector libraries' exp and log by up to 4."""


@dataclass(frozen=True)
class Format:
    """A floating-point format: the distance from 1 to the next number, and its range."""

    u: float
    tiny: float
    largest: float


FORMATS = {
    name: Format(*(float(getattr(np.finfo(name), key)) for key in ("eps", "tiny", "max")))
    for name in ("float32", "float64")
}


def constant(format: Format, value: Any, ulps: float = 1.0) -> Ball:
    """A number of the caller's, which is rounded to the format."""
    c = np.asarray(value, dtype=np.float64)
    return Ball(format, c, np.zeros_like(c))._rounded(ulps)


def exact(format: Format, value: Any) -> Ball:
    """A number of the format itself."""
    return constant(format, value, 0.0)


@dataclass(frozen=True, eq=False)
class Ball:
    """``c ± r``, elementwise."""

    format: Format
    c: np.ndarray
    r: np.ndarray

    def _rounded(self, ulps: float = 1.0, size: Any = None) -> Ball:
        """Add the rounding of ``ulps`` operations on numbers up to ``size`` (the result's own)."""
        f, c, own = self.format, self.c, abs(self.c)
        size = own + self.r if size is None else size
        r = size * (ulps * f.u)
        r += (size > 0) * (ulps * f.tiny)
        r = r + self.r
        known = (size <= f.largest) & (own + r <= f.largest)
        if known.all() and c.shape == r.shape:  # as nearly always
            return Ball(f, c, r)
        return Ball(f, np.where(known, c, 0.0), np.where(known, r, np.inf))

    rounded = _rounded

    @property
    def low(self) -> np.ndarray:
        return self.c - self.r

    @property
    def high(self) -> np.ndarray:
        return self.c + self.r

    @property
    def shape(self) -> tuple[int, ...]:
        return self.c.shape

    def _other(self, other: Any) -> Ball:
        return other if isinstance(other, Ball) else constant(self.format, other)

    def __getitem__(self, key: Any) -> Ball:
        return Ball(self.format, self.c[key], self.r[key])

    def map(self, f: Callable[[np.ndarray], np.ndarray]) -> Ball:
        """Move elements about: ``f`` computes nothing."""
        return Ball(self.format, f(self.c), f(self.r))

    def __neg__(self) -> Ball:
        return Ball(self.format, -self.c, self.r)

    def __add__(self, other: Any) -> Ball:
        b = self._other(other)
        return Ball(self.format, self.c + b.c, self.r + b.r)._rounded()

    def __sub__(self, other: Any) -> Ball:
        return self + -self._other(other)

    def __rsub__(self, other: Any) -> Ball:
        return self._other(other) - self

    def __mul__(self, other: Any) -> Ball:
        b = self._other(other)
        r = abs(self.c) * b.r + abs(b.c) * self.r + self.r * b.r
        return Ball(self.format, self.c * b.c, r)._rounded()

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> Ball:
        return self.over(self._other(other))

    def __rtruediv__(self, other: Any) -> Ball:
        return self._other(other).over(self)

    def over(self, b: Ball, least: Any = 0.0) -> Ball:
        """The quotient by ``b``, of which it is known that its size is ``least`` or more."""
        least = np.maximum(abs(b.c) - b.r, least)
        quotient = self.c / b.c
        r = np.where(least > 0, (self.r + abs(quotient) * b.r) / least, np.inf)
        return Ball(self.format, quotient, r)._rounded()

    def __matmul__(self, other: Ball) -> Ball:
        a, b = abs(self.c), abs(other.c) + other.r
        size, r, n = (a + self.r) @ b, self.r @ b, self.shape[-1] + 1
        if other.r.any():
            r += a @ other.r
        return Ball(self.format, self.c @ other.c, r)._rounded(n, size)

    def sum(self, axis: Any) -> Ball:
        """The sum along axes, which stay."""
        size = np.sum(abs(self.c) + self.r, axis=axis, keepdims=True)
        c, r = (np.sum(part, axis=axis, keepdims=True) for part in (self.c, self.r))
        return Ball(self.format, c, r)._rounded(self.c.size // max(1, c.size), size)

    def monotone(self, f: Callable[[np.ndarray], np.ndarray], ulps: float = ULPS) -> Ball:
        """A function that only rises or only falls."""
        c, ends = f(self.c), (f(self.low), f(self.high))
        r = np.maximum(*(abs(end - c) for end in ends))
        return Ball(self.format, c, np.where(np.isfinite(self.r), r, np.inf))._rounded(ulps)

    def sqrt(self) -> Ball:
        """Of what cannot be negative but by rounding."""
        return self.monotone(lambda x: np.sqrt(np.maximum(x, 0.0)), 1.0)

    def log(self) -> Ball:
        """Unknown where it may be taken of 0."""
        known = self.low > 0
        safe = Ball(self.format, np.where(known, self.c, 1.0), np.where(known, self.r, 0.0))
        return safe.monotone(np.log).unless(~known)

    def unless(self, unknown: np.ndarray) -> Ball:
        return Ball(self.format, self.c, np.where(unknown, np.inf, self.r))

    def maximum(self, other: Any) -> Ball:
        b = self._other(other)
        low, high = np.maximum(self.low, b.low), np.maximum(self.high, b.high)
        c = np.maximum(self.c, b.c)
        return Ball(self.format, c, np.maximum(high - c, c - low))._rounded(0.0)

    def where(self, keep: np.ndarray) -> Ball:
        """An exact 0 where not ``keep``."""
        keep = np.broadcast_to(keep, self.shape)
        return Ball(self.format, np.where(keep, self.c, 0.0), np.where(keep, self.r, 0.0))

    def within(self, bound: Any) -> Ball:
        """What cannot exceed ``±bound`` for a reason of its own, if it is a number at all."""
        narrow = np.minimum(self.r, bound + abs(self.c))
        return Ball(self.format, self.c, np.where(np.isfinite(self.r), narrow, np.inf))


def concat(balls: list[Ball], axis: int) -> Ball:
    c, r = (np.concatenate([getattr(b, name) for b in balls], axis=axis) for name in "cr")
    return Ball(balls[0].format, c, r)
