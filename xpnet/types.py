"""The words of all floors for what goes through them."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any
"""An array of any library of the standard, or what stands for one while a step is recorded."""

Carry = dict[str, Array]
"""What goes from a step to the next, by name: ``theta``, the optimizer's state as ``optimizer.m``,
that of the layers as ``layers.3.mean``, and ``noise.key`` if a layer draws random numbers.

Of an ensemble, every entry has the members first, or no axes at all: then they share it.
"""

Data = tuple[Any, ...]
"""The arrays that a step reads: ``x``, the prepared targets, the prepared weights or ``None``."""

Metrics = dict[str, Array]
"""What a step tells, by name: ``loss``, and ``accuracy`` where there are classes."""


class First(NamedTuple):
    """The first of a list to which is only added, so that it stays what it was without a copy."""

    of: list[Any]
    length: int
