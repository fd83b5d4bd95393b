"""What every boundary asks of its arguments, and the one sentence that answers a mistake."""

from __future__ import annotations

from xpnet.checks.arrays import FLOATS, floats, given, real, same_dtype, same_members, weights
from xpnet.checks.scalars import (
    SHOWN,
    as_path,
    cut,
    formed,
    has_form,
    index,
    instance,
    is_array,
    number,
    one_of,
    several,
    shape_of,
    shown,
    switch,
    whole,
)

__all__ = [
    "FLOATS",
    "SHOWN",
    "as_path",
    "cut",
    "floats",
    "formed",
    "given",
    "has_form",
    "index",
    "instance",
    "is_array",
    "number",
    "one_of",
    "real",
    "same_dtype",
    "same_members",
    "several",
    "shape_of",
    "shown",
    "switch",
    "weights",
    "whole",
]
