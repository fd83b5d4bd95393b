"""Functions of numbers for CUDA kernels, which have those of C by themselves."""

from __future__ import annotations

import math
from typing import Any

from numba import cuda

from xpnet.compiler.native import elementary

Number = Any
"""A number of a type that numba finds out."""

maximum = cuda.jit(device=True)(elementary.maximum)
minimum = cuda.jit(device=True)(elementary.minimum)
threefry = cuda.jit(device=True)(elementary.threefry)
exp, expm1, log, log1p, tanh = math.exp, math.expm1, math.log, math.log1p, math.tanh

_WHOLE = 2.0**52
"""From where on all floats are whole numbers."""


@cuda.jit(device=True)
def logaddexp(a: Number, b: Number) -> Number:
    """``log(exp(a) + exp(b))``."""
    most, far = maximum(a, b), abs(a - b)
    return most + log1p(exp(-far)) if far == far else most + (a - a if most != most else 0.0)


@cuda.jit(device=True)
def trunc(x: Number) -> Number:
    """The whole number next to ``x`` on the way to 0."""
    return x - math.fmod(x, 1.0) if abs(x) < _WHOLE else x


@cuda.jit(device=True)
def floor(x: Number) -> Number:
    """The greatest whole number that is at most ``x``."""
    whole = trunc(x)
    return whole - 1.0 if whole > x else whole


@cuda.jit(device=True)
def ceil(x: Number) -> Number:
    """The least whole number that is at least ``x``."""
    return -floor(-x)


@cuda.jit(device=True)
def rint(x: Number) -> Number:
    """The nearest whole number, the even one of two."""
    return math.copysign((abs(x) + _WHOLE) - _WHOLE, x) if abs(x) < _WHOLE else x


@cuda.jit(device=True)
def sign(x: Number) -> Number:
    """−1, 0 or 1, or NaN."""
    return math.copysign(1.0, x) if abs(x) > 0.0 else x


@cuda.jit(device=True)
def signbit(x: Number) -> Number:
    """Whether there is a minus before it."""
    return math.copysign(1.0, x) < 0.0
