"""Copies of members out of carries and data, which have the members first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.training.step import Data
from xpnet.training.streamed import Streamed
from xpnet.types import Array, Carry


def rows_of(backend: backends.Backend, carries: list[Carry], rows: np.ndarray) -> Carry:
    """Rows of carries that are laid one behind the other; of a network alone, all of it."""
    if len(carries[0]["theta"].shape) == 1:
        copied: Carry = backend.copy(carries[0])
        return copied
    index = backend.asarray(rows, "int64")

    def pick(arrays: list[Array]) -> Array:
        if not arrays[0].ndim:  # a counter, which the members share: the latest
            return backend.xp.asarray(arrays[-1], copy=True)
        return joined_rows(backend, arrays, index)

    return {name: pick([carry[name] for carry in carries]) for name in carries[0]}


def joined_rows(backend: backends.Backend, arrays: list[Array], index: Array) -> Array:
    """Rows of arrays that are laid one behind the other."""
    whole = backend.xp.concat(arrays, axis=0) if len(arrays) > 1 else arrays[0]
    return backend.xp.take(whole, index, axis=0)


def data_rows(backend: backends.Backend, data: Any, rows: np.ndarray) -> Any:
    """The data of these members; what all share as it is."""
    index = backend.asarray(rows, "int64")

    def pick(array: Any) -> Any:
        own = array is not None and len(array.shape) == 3
        return backend.xp.take(array, index, axis=0) if own else array

    if isinstance(data, Streamed):
        return replace(data, target=pick(data.target), weight=pick(data.weight))
    x, target, weight = map(pick, data)
    return x, target, weight


def carry_like(backend: backends.Backend, like: Carry, arrays: dict[str, np.ndarray]) -> Carry:
    """A carry of these arrays of the host, of the form of another one, of any members.

    Raises:
        ValueError: if they are not of that form.
    """
    for name, array in like.items():
        lead = len(like["theta"].shape) - 1
        found = arrays.get(name)
        if found is None or found.shape[lead:] != tuple(array.shape)[lead:]:
            raise ValueError(
                f"resume must be a checkpoint of what is trained here, with {name} of shape "
                f"{tuple(array.shape)}, not {checks.shown(found)}."
            )
    return {
        name: backend.asarray(arrays[name], backend.dtype_name(array))
        for name, array in like.items()
    }


def have_own(data: Data | Streamed) -> bool:
    """Whether members have some data of their own."""
    return any(array is not None and len(array.shape) == 3 for array in data)


def first_of(data: Data | Streamed, samples: int) -> Data:
    """The first so many samples."""
    if isinstance(data, Streamed):
        return data.first(samples)
    x, target, weight = (
        a if a is None or a.shape[-2] == samples else a[..., :samples, :] for a in data
    )
    return x, target, weight
