"""Arithmetic on arrays of no axes that follow from counters alone, by Python's own numbers.

Each function answers as NumPy's would: infinity and NaN where Python's own raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def guarded(function: Callable[[float], float]) -> Callable[[float], float]:
    """A function of ``math`` that answers like NumPy's where it would raise."""

    def answer(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return -math.inf if (function, x) in ((math.log, 0), (math.log1p, -1)) else math.nan

    return answer


def divide(a: float, b: float) -> float:
    """``a / b``."""
    return a / b if b else float(np.float64(a) / np.float64(b))


def maximum(a: float, b: float) -> float:
    """The greater of two."""
    return a if a >= b or a != a else b  # NaN, from either side, as NumPy does


def minimum(a: float, b: float) -> float:
    """The less of two."""
    return a if a <= b or a != a else b


def power(a: float, b: float) -> float:
    """``a ** b``."""
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(a), b))


def choose(condition: bool, a: float, b: float) -> float:
    """``where`` of one element."""
    return a if condition else b


def literal(number: float) -> str:
    """A Python number as it stands in a program."""
    return repr(number) if math.isfinite(number) else f"float('{number}')"
