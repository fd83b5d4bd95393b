"""What a jaxpr says, to compare two of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

ADDRESS = re.compile("0x[0-9a-f]+")
"""What stands in the text of a jaxpr for an object that is told by its identity alone."""


def said(closed: Any) -> str | None:
    """A digest of a jaxpr and its constants, equal for equal ones.

    Returns:
        ``None`` if its text leaves something out: a function, such as the host is to call, an
        object that prints as its address, or the middle of an array.
    """
    text = str(closed.jaxpr)
    if ADDRESS.search(text) or "..." in text or any(map(_acts, _parameters(closed.jaxpr))):
        return None
    return digest(text, constants(closed))


def digest(text: str, values: list[Any]) -> str:
    """A digest of a text and the bytes of some arrays."""
    found = hashlib.sha256(text.encode())
    for value in values:
        array = np.asarray(value)
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def constants(closed: Any) -> list[Any]:
    """The constants of a jaxpr and of those within it, which its text does not show."""
    within = (value for value in _parameters(closed.jaxpr) if hasattr(value, "consts"))
    return [*closed.consts, *(value for inner in within for value in inner.consts)]


def _parameters(jaxpr: Any) -> Iterator[Any]:
    """All that the equations of a jaxpr, and of those within it, are told besides arrays."""
    for equation in jaxpr.eqns:
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            yield value
            if _is_jaxpr(value):
                yield from _parameters(getattr(value, "jaxpr", value))


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def _acts(value: Any) -> bool:
    return callable(value) and not isinstance(value, (type, jax.sharding.Mesh))
