"""Functions of one number that a compiler turns into instructions on many.

The C library's own are called number by number. These are polynomials without a branch, so that
LLVM computes as many at once as fit a register. Numbers below the least normal one become 0.

The methods: Cody and Waite, "Software manual for the elementary functions", 1980 (reduction of
``exp``), Tang's and fdlibm's ``log``, Moshier's Cephes (``tanh`` near 0). Each is within 2 units of
the last place of the true value (``tests/test_native.py``), those of the C library within 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.noise import PARITY, ROTATIONS, ROUNDS

Number = Any
"""A number of NumPy's."""


# ---- what a compiler has an instruction for


def bits_64(x: Number) -> Number:
    """The bits of a float64 as a whole number."""
    return np.float64(x).view(np.int64)


def real_64(x: Number) -> Number:
    """The float64 of such bits."""
    return np.int64(x).view(np.float64)


def bits_32(x: Number) -> Number:
    """The bits of a float32 as a whole number."""
    return np.float32(x).view(np.int32)


def real_32(x: Number) -> Number:
    """The float32 of such bits."""
    return np.int32(x).view(np.float32)


# ---- exp

_SHIFT64, _SHIFT32 = 1.5 * 2.0**52, np.float32(1.5 * 2.0**23)
"""Added to a number, it leaves the nearest whole one in the last bits."""

_LOG2E, _LOG2E32 = 1.4426950408889634, np.float32(1.4426950408889634)
_HIGH, _LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # of log 2
_HIGH32, _LOW32 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_F2, _F3, _F4, _F5, _F6, _F7, _F8, _F9, _F10, _F11, _F12, _F13 = (
    1.0 / math.factorial(n) for n in range(2, 14)
)
_G2, _G3, _G4, _G5, _G6, _G7 = (np.float32(1 / math.factorial(n)) for n in range(2, 8))
_ONE32, _TWO32, _HALF32 = np.float32(1), np.float32(2), np.float32(0.5)
_LEAST, _MOST = -707.5, 710.0
_LEAST32, _MOST32 = np.float32(-86.5), np.float32(89)


def exp_64(x: Number) -> Number:
    """``exp(x)`` in float64."""
    # x = n log 2 + r, exp x = 2 · 2ⁿ⁻¹ exp r: the exponent of 2ⁿ⁻¹ is a normal one.
    inside = min(max(x, _LEAST), _MOST)
    shifted = inside * _LOG2E + _SHIFT64
    n = shifted - _SHIFT64
    r = (inside - n * _HIGH) - n * _LOW
    p = _F11 + r * (_F12 + r * _F13)
    p = _F8 + r * (_F9 + r * (_F10 + r * p))
    p = _F5 + r * (_F6 + r * (_F7 + r * p))
    p = 1.0 + (r + r * r * (_F2 + r * (_F3 + r * (_F4 + r * p))))
    y = real_64(bits_64(p) + ((bits_64(shifted) - 1) << 52)) * 2.0
    y = 0.0 if x < _LEAST else y
    return y if x == x else x


def expm1_64(x: Number) -> Number:
    """``exp(x) - 1`` in float64."""
    inside = min(max(x, -40.0), _MOST)
    shifted = inside * _LOG2E + _SHIFT64
    n = shifted - _SHIFT64
    r = (inside - n * _HIGH) - n * _LOW
    p = _F11 + r * (_F12 + r * _F13)
    p = _F8 + r * (_F9 + r * (_F10 + r * p))
    p = _F5 + r * (_F6 + r * (_F7 + r * p))
    p = r + r * r * (_F2 + r * (_F3 + r * (_F4 + r * p)))
    half = real_64((bits_64(shifted) - bits_64(_SHIFT64) + 1022) << 52)  # 2ⁿ⁻¹
    y = ((half - 0.5) + half * p) * 2.0
    return x if (x == 0.0) | (x != x) else y


def expm1_32(x: Number) -> Number:
    """``exp(x) - 1`` in float32."""
    return np.float32(expm1_64(np.float64(x)))


def exp_32(x: Number) -> Number:
    """``exp(x)`` in float32."""
    inside = min(max(x, _LEAST32), _MOST32)
    shifted = inside * _LOG2E32 + _SHIFT32
    n = shifted - _SHIFT32
    r = (inside - n * _HIGH32) - n * _LOW32
    p = _G4 + r * (_G5 + r * (_G6 + r * _G7))
    p = _ONE32 + (r + r * r * (_G2 + r * (_G3 + r * p)))
    bits = np.int32(bits_32(p) + np.int32((bits_32(shifted) - np.int32(1)) << np.int32(23)))
    y = real_32(bits) * _TWO32
    y = np.float32(0) if x < _LEAST32 else y
    return y if x == x else x


# ---- log, log1p

_L1, _L2, _L3, _L4, _L5, _L6, _L7 = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
_NORMAL, _SCALE, _SQRT2 = 2.0**-1022, 2.0**54, 1.4142135623730951


def log_64(x: Number) -> Number:
    """``log(x)`` in float64."""
    # x = 2ᵏ (1 + f), log(1 + f) = f − (f²/2 − s (f²/2 + R(s²))), s = f / (2 + f).
    small = x < _NORMAL
    bits = bits_64(x * _SCALE if small else x)
    k = np.float64((bits >> 52) - 1023) - (54.0 if small else 0.0)
    m = real_64((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    large = m > _SQRT2
    m = m * 0.5 if large else m
    k = k + 1.0 if large else k
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    rest = w * (_L2 + w * (_L4 + w * _L6)) + z * (_L1 + w * (_L3 + w * (_L5 + w * _L7)))
    half = 0.5 * f * f
    y = k * _HIGH - ((half - (s * (half + rest) + k * _LOW)) - f)
    y = x if x == math.inf else y
    y = -math.inf if x == 0.0 else y
    y = math.nan if x < 0.0 else y
    return y if x == x else x


def log1p_64(x: Number) -> Number:
    """``log(1 + x)`` in float64."""
    # log(1 + x) of the rounded sum, and what was rounded off.
    u = 1.0 + x
    lost = (x - (u - 1.0)) / u
    y = log_64(u) + (lost if 0.0 < u < math.inf else 0.0)
    return x if x == 0.0 else y


def log_32(x: Number) -> Number:
    """``log(x)`` in float32."""
    return np.float32(log_64(np.float64(x)))


def log1p_32(x: Number) -> Number:
    """``log(1 + x)`` in float32."""
    return np.float32(log1p_64(np.float64(x)))


# ---- tanh

_P0, _P1, _P2 = -9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3
_Q0, _Q1, _Q2 = 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3


def tanh_64(x: Number) -> Number:
    """``tanh(x)`` in float64."""
    z = x * x
    near = x + x * z * (((_P0 * z + _P1) * z + _P2) / (((z + _Q0) * z + _Q1) * z + _Q2))
    far = math.copysign(1.0 - 2.0 / (exp_64(2.0 * abs(x)) + 1.0), x)
    y = near if abs(x) < 0.625 else far
    return x if (x == 0.0) | (x != x) else y


def tanh_32(x: Number) -> Number:
    """``tanh(x)`` in float32."""
    return np.float32(tanh_64(np.float64(x)))


# ---- of two


def maximum(a: Number, b: Number) -> Number:
    """The greater of two, or NaN from either side."""
    return a if (a >= b) | (a != a) else b


def minimum(a: Number, b: Number) -> Number:
    """The less of two, or NaN from either side."""
    return a if (a <= b) | (a != a) else b


def logaddexp_64(a: Number, b: Number) -> Number:
    """``log(exp(a) + exp(b))``."""
    most, far = maximum(a, b), abs(a - b)
    return most + log1p_64(exp_64(-far)) if far == far else most + (a - a if most != most else 0.0)


def logaddexp_32(a: Number, b: Number) -> Number:
    """The same in float32."""
    return np.float32(logaddexp_64(np.float64(a), np.float64(b)))


def threefry(k0: Number, k1: Number, a: Number, b: Number) -> tuple[Number, Number]:
    """Threefry-2x32-20, as `xpnet.noise.threefry`."""
    keys = (k0, k1, np.uint32(k0 ^ k1 ^ np.uint32(PARITY)))
    a, b = np.uint32(a + k0), np.uint32(b + k1)
    for i in range(ROUNDS):
        turn = np.uint32(ROTATIONS[i % 8])
        a = np.uint32(a + b)
        b = np.uint32((np.uint32(b << turn) | (b >> (np.uint32(32) - turn))) ^ a)
        if i % 4 == 3:
            n = i // 4 + 1
            a = np.uint32(a + keys[n % 3])
            b = np.uint32(b + np.uint32(keys[(n + 1) % 3] + np.uint32(n)))
    return a, b
