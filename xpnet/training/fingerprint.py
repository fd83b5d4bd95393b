"""What a training was asked for, in a few bytes, so that another that goes on is held to it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import fields
from functools import cached_property
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.initializers import generator
from xpnet.training.asked import Asked
from xpnet.training.sources import Source, is_source

Told = dict[str, list[str]]
"""By an argument's name: how an error shows it, and its fingerprint."""


_FREE = ("seed", "epochs")
"""Of which another may be given to a training that goes on."""


def fingerprints(asked: Asked, check_every: int) -> Told:
    """What is told of every argument on which the bits of a training depend.

    All but ``seed``, of which nothing is asked any more, and ``epochs``; of ``shuffle_seed`` the
    kind alone, and of samples that are read the first and the last.
    """
    asked = asked.opened().checked()[0]
    values = {one.name: getattr(asked, one.name) for one in fields(asked) if one.name not in _FREE}
    values |= {"check_every": check_every, "shuffle_seed": _kind(asked.shuffle_seed)}
    if asked.validation is not None:
        values["validation"] = tuple(map(_read, asked.validation))
    return {name: [checks.shown(value), _Said().of(value).hex()] for name, value in values.items()}


def require_same(now: Told, then: Told, where: str) -> None:
    """Raise for the first argument that is not what it was in the training of a checkpoint.

    Raises:
        ValueError: naming it, and the checkpoint, ``where``.
    """
    for name, (shown, fingerprint) in now.items():
        before, expected = then.get(name, [shown, fingerprint])  # it had not been thought of yet
        if fingerprint != expected:
            other = f"{before}, not {shown}" if before != shown else f"{shown}, not another one"
            raise ValueError(
                f"{name} must be what it was in the training of the checkpoint {where!r}, {other}; "
                "to begin anew, use another folder, or remove the checkpoints of this one."
            )


def _kind(seed: Any) -> str:
    """Which kind of generator draws the orders of batches."""
    rng = generator(seed, "shuffle_seed")
    if isinstance(rng, np.random.RandomState):
        return f"RandomState of {rng.get_state(legacy=False)['bit_generator']}"
    return f"Generator of {type(rng.bit_generator).__name__}"


def _read(samples: Any) -> Any:
    """What is in a file, where samples are the path of one."""
    path = isinstance(samples, (str, os.PathLike))
    return Source("validation", samples) if path else samples


class _Said:
    """The fingerprints of a value and of all within, each object looked at once."""

    def __init__(self) -> None:
        self.known: dict[int, bytes] = {}

    def of(self, value: Any) -> bytes:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return _hash(f"{type(value).__name__} {value!r}")
        if isinstance(value, dict):
            # By names, not as they come: a file has them in another order.
            items = sorted(value.items(), key=lambda item: self.of(item[0]))
            return _hash("dict", *(self.of(part) for item in items for part in item))
        if isinstance(value, (set, frozenset)):
            return _hash("set", *sorted(map(self.of, value)))
        if isinstance(value, os.PathLike):
            return _hash(f"path {os.fspath(value)!r}")
        if isinstance(value, (tuple, list)):
            return _hash("several", *map(self.of, value))
        if isinstance(value, (type, ModuleType, FunctionType)):
            return _hash(f"{getattr(value, '__module__', '')} {value.__name__}")
        if id(value) not in self.known:
            self.known[id(value)] = b""  # until it is known: what comes back to it holds itself
            self.known[id(value)] = self._array_or_object(value)
        return self.known[id(value)]

    def _array_or_object(self, value: Any) -> bytes:
        if isinstance(value, Source) or is_source(value):  # files are not read through for this
            source = value if isinstance(value, Source) else Source("validation", value)
            return _hash(f"{source.dtype} {source.shape}", source.ends().data)
        try:
            backend = backends.of(value)
        except (TypeError, ValueError):  # no array, or of no library that is known here
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            held = object.__getstate__(value)  # its __dict__ and __slots__
            if isinstance(held, dict):
                held = {k: v for k, v in held.items() if not _reckoned(value, k)}
            return _hash(kind, self.of(held))
        host = np.ascontiguousarray(backend.to_host(value))
        form = f"{backend.dtype_name(value)} {tuple(value.shape)}"
        return _hash(form, host.reshape(-1).view(np.uint8).data)


def _reckoned(value: Any, name: str) -> bool:
    """Whether an attribute follows from the others, and is there once it was asked for."""
    return isinstance(getattr(type(value), name, None), cached_property)


def _hash(kind: str, *parts: Any) -> bytes:
    found = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        found.update(part)
    return found.digest()
