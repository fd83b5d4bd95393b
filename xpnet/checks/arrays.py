"""Arrays: what is asked of their dtypes, shapes and values, and the sentence of a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnet.checks.scalars import cut

if TYPE_CHECKING:  # which asks these questions itself
    from xpnet.backends.base import Backend
    from xpnet.types import Array

FLOATS = ("float32", "float64")


def given(**arrays: Any) -> None:
    """Raise if one of the arrays is ``None``."""
    for name, array in arrays.items():
        if array is None:
            raise TypeError(f"{name} must be an array, not None.")


def floats(backend: Backend, array: Array, name: str) -> str:
    """Return the dtype's name if it is one that networks train in, or raise."""
    dtype = backend.dtype_name(array)
    if dtype not in FLOATS:
        raise TypeError(
            f"{name} must have the dtype {' or '.join(FLOATS)}, not {cut(dtype)}; "
            f"use {backend.cast(name, array)}."
        )
    return dtype


def same_dtype(backend: Backend, array: Array, name: str, model: Array, whose: str) -> None:
    """Raise unless ``array`` has the dtype of ``model``, which is called ``whose``."""
    if array.dtype != model.dtype:
        wanted, found = backend.dtype_name(model), backend.dtype_name(array)
        raise TypeError(
            f"{name} must have the dtype {wanted} of {whose}, not {found}; "
            f"use {backend.cast(name, array, wanted)}."
        )


def same_members(x: Array, members: int | None, hint: str = "") -> None:
    """Raise if ``x`` is one array a member, and of other members; ``hint`` for one network."""
    shape = tuple(int(n) for n in x.shape)
    if len(shape) == 3 and shape[0] != members:
        shared = f"x must have the shape {shape[1:]}"
        if members is None:
            raise ValueError(f"{shared} for a network alone, not {shape}{hint}.")
        raise ValueError(
            f"{shared}, or {(members, *shape[1:])} for {members} members, not {shape}."
        )


def real(backend: Backend, y: Array) -> None:
    """Raise ``TypeError`` unless ``y`` holds real numbers."""
    if not backend.xp.isdtype(y.dtype, ("bool", "integral", "real floating")):
        raise TypeError(f"y must hold real numbers, not {y.dtype}; use {backend.coded('y', y)}.")


def weights(backend: Backend, weight: Array) -> None:
    """Raise unless the values of ``sample_weight`` are of at least 0, finite, and not all 0."""
    xp = backend.xp
    if xp.isdtype(weight.dtype, "bool"):
        weight = xp.astype(weight, xp.int8)
    least = xp.min(weight)
    if not bool(least >= 0):  # NaN is neither
        raise ValueError(
            f"sample_weight must be at least 0 everywhere, not {float(backend.to_host(least)):.6g}."
        )
    if xp.isdtype(weight.dtype, "real floating") and not bool(xp.all(xp.isfinite(weight))):
        raise ValueError("sample_weight must hold finite numbers, but one is infinite.")
    if not bool(xp.all(xp.max(weight, axis=-1) > 0)):
        raise ValueError("sample_weight must be above 0 for at least one sample.")
