"""What a training was asked for, in a few bytes, so that another that goes on is held to it."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import fields
from functools import cached_property
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.distributed.ranks import Ranks
from xpnet.initializers import generator
from xpnet.training.asked import Asked
from xpnet.training.sources import Source, is_source

Told = dict[str, list[str]]
"""By an argument's name: how an error shows it, and its fingerprint."""


_FREE = ("seed", "epochs")
"""Of which another may be given to a training that goes on."""


SAMPLES = ("x", "y", "sample_weight", "validation")
"""The arguments of which each of several ranks has its own part."""


def fingerprints(asked: Asked, check_every: int, ranks: Ranks | None = None) -> Told:
    """What is told of every argument on which the bits of a training depend.

    All but ``seed``, of which nothing is asked any more, and ``epochs``; of ``shuffle_seed`` the
    kind alone, and of samples that are read the first and the last. Of several ranks, whose
    ``counts`` are known, it is that of the samples of all, one behind the other, whoever has which.
    """
    asked = asked.opened().checked()[0]
    values = {one.name: getattr(asked, one.name) for one in fields(asked) if one.name not in _FREE}
    values |= {"check_every": check_every}
    if asked.validation is not None:
        values["validation"] = tuple(map(_read, asked.validation))
    told = {}
    for name, value in values.items():
        if name == "validation" and value is not None:
            counts = None if ranks is None else ranks.held
            parts = [_samples(one, asked.members, i, ranks, counts) for i, one in enumerate(value)]
            said = f"({', '.join(shown for shown, _ in parts)})"
            told[name] = [said, _hash("several", *(found for _, found in parts)).hex()]
        elif name in SAMPLES:
            counts = None if ranks is None else ranks.counts
            shown, found = _samples(value, asked.members, SAMPLES.index(name), ranks, counts)
            told[name] = [shown, found.hex()]
        else:
            told[name] = argument(name, value)
    return told


def argument(name: str, value: Any) -> list[str]:
    """What is told of an argument that is no sample."""
    value = _kind(value) if name == "shuffle_seed" else value
    return [checks.shown(value), _Said().of(value).hex()]


def _samples(
    value: Any, members: int | None, which: int, ranks: Ranks | None, counts: Any
) -> tuple[str, bytes]:
    """How an error shows x, y or weights (0, 1, 2), and their fingerprint, by rows."""
    if value is None:
        return checks.shown(value), _Said().of(value)
    if isinstance(value, Source) or is_source(value):
        source = value if isinstance(value, Source) else Source("validation", value)
        return checks.shown(value), _of_read(source, ranks, counts)
    backend = backends.of(value)
    host = backend.to_host(value)
    axis = host.ndim - 2 if which == 0 else host.ndim - 1 if which == 2 else min(host.ndim - 1, 1)
    if which == 1 and (host.ndim == 1 or (host.ndim == 2 and host.shape[0] != members)):
        axis = 0
    first = 0 if ranks is None else int(counts[: ranks.rank].sum())
    total = _of_rows(np.moveaxis(host, axis, 0), first)
    shape = list(host.shape)
    if ranks is not None:
        shape[axis] = int(counts.sum())
        found = ranks.exchange(total - (1 << 63))[:, 0]
        total = sum(int(one) + (1 << 63) for one in found) % (1 << 64)
    shown = f"an array of shape {tuple(shape)}"
    return shown, _hash(f"{backend.dtype_name(value)} {tuple(shape)}", total.to_bytes(8, "little"))


def _of_read(source: Source, ranks: Ranks | None = None, counts: Any = None) -> bytes:
    """Of samples that are read, of all ranks: by the first and the last; files are not read through
    for this.
    """
    count = source.shape[0]
    ends = [_hash("row", source.read(np.array([row])).data) for row in (0, count - 1)]
    first, last = (int.from_bytes(end[:7], "little") for end in ends)
    if ranks is not None:
        found = ranks.exchange(first, last)
        first, last, count = int(found[0, 0]), int(found[-1, 1]), int(counts.sum())
    return _hash(f"{source.dtype} {(count, *source.shape[1:])} {first} {last}")


TOGETHER = 1 << 18
"""Of how many elements the fingerprint is reckoned at once."""


def _of_rows(rows: np.ndarray, first: int) -> int:
    """A fingerprint of rows with these numbers, ``first`` the first, that of parts adding up.

    Each element is mixed with the numbers of its row and column, and the sum taken of all, modulo
    2⁶⁴: it is not meant to withstand somebody who looks for another with the same one.
    """
    total, size = 0, max(1, math.prod(rows.shape[1:]))
    columns = _mixed(np.arange(size, dtype=np.uint64)) | np.uint64(1)
    step = max(1, TOGETHER // size)
    for start in range(0, len(rows), step):
        part = np.ascontiguousarray(rows[start : start + step])
        words = part.reshape(len(part), -1).view(f"u{part.itemsize}").astype(np.uint64)
        numbers = np.arange(first + start, first + start + len(part), dtype=np.uint64)
        found = (words + _mixed(numbers)[:, None]) * columns
        total += int(np.sum(found ^ (found >> np.uint64(29)), dtype=np.uint64))
    return total % (1 << 64)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Numbers that look random, by the finalizer of SplitMix64."""
    z = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


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
        if isinstance(value, range):
            return _hash(repr(value))
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
        if isinstance(value, Source) or is_source(value):
            return _of_read(value if isinstance(value, Source) else Source("validation", value))
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
