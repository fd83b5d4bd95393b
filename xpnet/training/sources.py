"""Samples that are read by rows: an .npy file, or what else has a shape, a dtype and rows."""

from __future__ import annotations

import copy
import itertools
import mmap
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet.checks.network import check_samples
from xpnet.network import Sequential

HELD = ("bool", "int8", "uint8", "int16", "uint16", "float16")
"""What float32 holds every value of, and is read as that."""

PIECE = 1 << 24
"""How many bytes are read at once where all rows are."""


class NpyFile:
    """The rows of an .npy file, each read at its place.

    Nothing is mapped: memory holds what was asked for alone, and a file that is cut off meanwhile
    is an error, where a map would end the process.
    """

    def __init__(self, name: str, path: str | os.PathLike[str]) -> None:
        if Path(path).suffix != ".npy":
            raise ValueError(
                f"{name} must be an array, or the path of an .npy file, not {checks.shown(path)}."
            )
        try:
            header = np.load(path, mmap_mode="r")
            file = open(path, "rb", buffering=0)  # noqa: SIM115
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            raise ValueError(
                f"{name} must be an .npy file that can be read, not {str(path)!r} ({said})."
            ) from error
        weakref.finalize(self, file.close)
        if not header.flags.c_contiguous:
            raise ValueError(
                f"{name} must be an .npy file of one row behind the other, not in Fortran's order, "
                f"as {str(path)!r} is; write it with np.save(path, np.ascontiguousarray(x))."
            )
        self.file, self.offset = file, header.offset
        self.shape, self.dtype = header.shape, header.dtype

    def __getitem__(self, chosen: Any) -> np.ndarray:
        rows = np.r_[chosen] if isinstance(chosen, slice) else chosen
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        memory, size = found.reshape(-1).view(np.uint8).data, found[0].nbytes
        # Where numbers follow one another, rows do. Plain numbers: a thousand rows a batch.
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        places = (self.offset + size * rows[starts]).tolist()
        edges = [*(size * starts).tolist(), len(memory)]
        for place, (at, end) in zip(places, itertools.pairwise(edges), strict=True):
            self.file.seek(place)
            while at < end:
                count = self.file.readinto(memory[at:end])
                if not count:
                    raise EOFError("the file ends before its last sample")
                at += count
        return found


class Source:
    """What is read by rows, into arrays of NumPy that are nobody else's.

    Args:
        name: what it is called.
        given: a path, or what has ``shape``, ``dtype`` and rows: ``given[10:20]`` and
            ``given[np.array([3, 7, 8])]``, or ``given.oindex``, of ascending numbers.

    Attributes:
        shape: of all of it.
        dtype: what it is read as.
        together: how many samples are stored, and so read, together.
    """

    def __init__(self, name: str, given: Any) -> None:
        self.name = name
        path = isinstance(given, (str, os.PathLike))
        self.given = NpyFile(name, given) if path else given
        self.rows = getattr(self.given, "oindex", self.given)
        try:
            self.shape = tuple(int(n) for n in self.given.shape)
            self.dtype = np.dtype(self.given.dtype)
        except (TypeError, ValueError) as error:  # dask may not know how many rows there are
            raise TypeError(
                f"{name} must have a shape of whole numbers and a dtype of NumPy to be read by "
                f"rows, not {checks.shown(self.given.shape)} and {checks.shown(self.given.dtype)}."
            ) from error
        if not self.shape or 0 in self.shape:
            raise ValueError(
                f"{name} must hold at least one sample, not be empty with shape {self.shape}."
            )
        if self.dtype.kind not in "biuf":
            raise TypeError(f"{name} must hold real numbers, not {self.dtype}.")
        chunks = getattr(self.given, "chunks", None) or [1]
        self.together = int(np.max(chunks[0]))
        self._sample = self.shape[1:]

    def as_samples(self, network: Sequential, floats: str | None) -> Source:
        """The same as samples for a network: flat rows of floats.

        Args:
            network: what they are for.
            floats: what other numbers are read as; ``None`` for float32.
        """
        name = self.dtype.name
        if name not in checks.FLOATS and name not in HELD:
            raise TypeError(
                f"{self.name} must be of {' or '.join(checks.FLOATS)}, or of {', '.join(HELD)}, "
                f"which are read as those, not of {name}."
            )
        as_read = np.dtype(name if name in checks.FLOATS else floats or "float32")
        host = backends.get("numpy")
        shell = np.broadcast_to(as_read.type(), self.shape)  # which takes no memory
        shape = tuple(check_samples(network, host, shell).shape)
        if len(shape) != 2:
            raise ValueError(
                f"{self.name} must have the shape (samples, features) where it is read by rows, "
                f"not {self.shape}: members share it; use np.asarray({self.name}) for their own."
            )
        return self._as(shape, as_read)

    def as_numbers(self, floats: str) -> Source:
        """The same as targets or weights: floats of this dtype, whole numbers, or truth values."""
        wide = {"b": "bool", "f": floats}.get(self.dtype.kind, "int64")
        return self._as(self.shape, np.dtype(wide))

    def _as(self, shape: tuple[int, ...], dtype: np.dtype) -> Source:
        other = copy.copy(self)
        other.shape, other.dtype = shape, dtype
        return other

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Rows of ascending numbers; raises if one is not finite, or cannot be read."""
        first, last = int(rows[0]), int(rows[-1])
        chosen = slice(first, last + 1) if last - first + 1 == len(rows) else rows
        try:
            found = self.rows[chosen]
            with np.errstate(over="ignore"):  # what becomes infinite is not finite
                own = isinstance(self.given, NpyFile) and found.dtype == self.dtype
                found = found if own else np.array(found, self.dtype, order="C")
        except Exception as error:
            raise OSError(
                f"{self.name} could not be read from sample {first} to {last} "
                f"({type(error).__name__}: {error})."
            ) from error
        if found.shape != (len(rows), *self._sample):
            raise ValueError(
                f"{self.name} must give the shape {(len(rows), *self._sample)} where {len(rows)} "
                f"of its rows are asked for, not {found.shape}."
            )
        _let_go(self.given)
        if self.dtype.kind == "f" and not np.isfinite(found).all():
            place = np.argwhere(~np.isfinite(found))[0]
            where = ", ".join(map(str, [rows[place[0]], *place[1:]]))
            raise ValueError(
                f"{self.name} must hold finite numbers, but {self.name}[{where}] is "
                f"{found[tuple(place)]}."
            )
        return found.reshape(len(rows), *self.shape[1:])

    def __repr__(self) -> str:
        return f"{self.name} of shape {self.shape} that is read"

    def times(self, batch: int) -> float:
        """How many times the samples of a shuffled batch are read, for what lies together."""
        pieces = -(-self.shape[0] // self.together)
        touched = pieces * (1 - (1 - 1 / pieces) ** batch)
        return min(touched * self.together, self.shape[0]) / batch

    def pieces(self) -> Iterator[np.ndarray]:
        """All rows, some at a time."""
        some = max(1, PIECE // (8 * int(np.prod(self.shape[1:]))))
        for start in range(0, self.shape[0], some):
            yield self.read(np.arange(start, min(start + some, self.shape[0])))

    def whole(self) -> np.ndarray:
        """All of it, in memory."""
        return np.concatenate(list(self.pieces()))


def opened(batch_size: int | None, **given: Any) -> dict[str, Any]:
    """What is given by name, ``x`` first, as a `Source` where it is read by rows.

    Arrays of NumPy in files are, where ``x`` is and a step does not take all of it.
    """
    x = next(iter(given.values()))
    mapped = batch_size is not None and (isinstance(x, np.memmap) or is_source(x))
    read = {
        name: is_source(value) or (mapped and isinstance(value, np.memmap))
        for name, value in given.items()
    }
    for name in given:
        if read[name] and batch_size is None:
            raise ValueError(
                f"batch_size must be given where {name} is read by rows, such as batch_size=256, "
                f"not None: for a step on all samples, {name} must be an array in memory."
            )
    return {name: Source(name, value) if read[name] else value for name, value in given.items()}


def is_source(value: Any) -> bool:
    """Whether this can be read by rows alone: a path, or what has rows, but is of no library.

    What has a way of its own into memory, as data frames and sparse matrices have, is not: its
    error says which.
    """
    if isinstance(value, (str, os.PathLike)):
        return True
    if backends.name_of(value) or backends.way_into_memory(value):
        return False
    # Of no library, so that the object may be asked too: its __init__ may have set them.
    formed = checks.is_array(value) or (hasattr(value, "shape") and hasattr(value, "dtype"))
    return formed and hasattr(type(value), "__getitem__")


def _let_go(given: Any) -> None:
    """Let the system have back what was read of a map, which would count as memory otherwise."""
    if (
        not isinstance(given, np.memmap) or given.mode == "c"
    ):  # what is written there is nowhere else
        return
    base: Any = given
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):
        base.madvise(mmap.MADV_DONTNEED)
