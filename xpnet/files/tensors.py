"""Named arrays and a header in a file, in the format safetensors; nothing in it is ever run.

A file is the length of a JSON text in 8 bytes, the text, and the arrays one behind the other
(https://github.com/huggingface/safetensors). So little needs no package: what is written is what
theirs reads, and the other way round. The header is the text ``xpnet`` among the metadata, and a
checksum stands beside it, since a number that was changed on the way would pass for right.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from xpnet import checks

VERSION = 1
"""The version of what headers say. A file of a greater one is refused."""

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

_LONGEST = 100_000_000
"""How long the JSON text may be, as in the package safetensors."""


class _Place(NamedTuple):
    """Where a tensor lies in a file, behind the JSON text."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


# ---- writing


def write(path: str | Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write named arrays and a header, so that the file is there whole or as it was before.

    It is written beside, brought to the disk, and renamed. A process that is killed meanwhile
    leaves what it wrote as ``.name.….part`` in the same folder.

    Args:
        path: the file; one that is there is replaced.
        arrays: arrays of the host, of floats, integers or truth values.
        header: what JSON can say, with ``"kind"``, such as ``"model"``.

    Raises:
        OSError: if it cannot be written, as on a full disk; then all is as before.
        TypeError: if ``path`` is no path, or an array is of another dtype.
        ValueError: if the header is longer than it may be.
    """
    target = Path(os.path.realpath(checks.as_path("path", path)))
    # The widest first, so that each lies at a multiple of its width.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    stored = {name: _stored(name, arrays[name]) for name in order}
    text = json.dumps({"version": VERSION, **header})
    places = list(_places(stored))
    entries: dict[str, Any] = {
        "__metadata__": {
            "xpnet": text,
            "crc32": _checksum(text, zip(places, map(_bytes, stored.values()), strict=True)),
        },
        **{p.name: _entry(p) for p in places},
    }
    head = json.dumps(entries, separators=(",", ":")).encode()
    if len(head) > _LONGEST:
        raise ValueError(f"header must be JSON of at most {_LONGEST} bytes, not {len(head)}.")
    head += b" " * (-len(head) % 8)
    with _told(path, "written"):
        if target.exists() and not target.is_file():
            raise FileExistsError(None, "it is there, and no file")
        with _beside(target) as file:
            file.write(len(head).to_bytes(8, "little") + head)
            for array in stored.values():
                file.write(_bytes(array))


def _stored(name: str, array: np.ndarray) -> np.ndarray:
    """An array as it is in the file: in C order, little-endian."""
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in _NAMES:
        raise TypeError(f"{name} must hold numbers that safetensors has, not {array.dtype}.")
    return np.asarray(array, dtype=dtype, order="C")


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _places(arrays: Mapping[str, np.ndarray]) -> Iterator[_Place]:
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        yield _Place(name, _NAMES[array.dtype.str], array.shape, begin, end)


def _entry(place: _Place) -> dict[str, Any]:
    offsets = [place.begin, place.end]
    return {"dtype": place.dtype, "shape": list(place.shape), "data_offsets": offsets}


def _checksum(text: str, tensors: Iterable[tuple[_Place, memoryview]]) -> str:
    """That of the header and of all tensors, in the order of their names."""
    found = zlib.crc32(text.encode())
    for place, values in sorted(tensors, key=lambda tensor: tensor[0].name):
        form = f"{place.name} {place.dtype} {place.shape}"
        found = zlib.crc32(values, zlib.crc32(form.encode(), found))
    return f"{found:08x}"


@contextmanager
def _beside(target: Path) -> Iterator[BinaryIO]:
    """A new file in the folder of ``target``, which takes its place once it is on the disk."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # a system that knows no such thing as a folder on the disk
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# ---- reading


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write` has written: the arrays by name, and the header.

    Raises:
        OSError: if it cannot be read: there is none, or it is a folder.
        ValueError: if it is not as it was written, another program's, or of a newer xpnet.
        TypeError: if ``path`` is no path.
    """
    with _told(path, "read"), checks.as_path("path", path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        entries, begin = _head(path, file, size)
        text, checksum = _metadata(path, entries)
        header = _header(path, text)
        places = _tiled(path, entries)
        length = begin + (places[-1].end if places else 0)
        if size != length:
            raise ValueError(_damaged(path, f"it has {size} of {length} bytes"))
        tensors = []
        for place in places:
            values = np.empty(place.end - place.begin, dtype=np.uint8)
            file.readinto(values.data)
            tensors.append((place, values))
    if _checksum(text, [(place, values.data) for place, values in tensors]) != checksum:
        raise ValueError(_damaged(path, "its checksum is another"))
    arrays = {p.name: v.view(_DTYPES[p.dtype]).reshape(p.shape) for p, v in tensors}
    return arrays, header


def _head(path: str | Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The JSON text of a file, and where it ends."""
    if not size:
        raise ValueError(f"path must be a file that xpnet wrote, but {str(path)!r} is empty.")
    length = int.from_bytes(file.read(8), "little")
    begins = file.read(1) == b"{"
    if size < 9 or not begins or length > _LONGEST:
        raise ValueError(
            f"path must be a file that xpnet wrote, in the format safetensors, not {str(path)!r}."
        )
    if size < 8 + length:
        raise ValueError(_damaged(path, f"it has {size} of at least {8 + length} bytes"))
    file.seek(8)
    try:
        entries = json.loads(file.read(length), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict):
        raise ValueError(_damaged(path, "what it says of its tensors is no JSON"))
    return entries, 8 + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which nothing is said twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _metadata(path: str | Path, entries: dict[str, Any]) -> tuple[str, str]:
    """What it says beside the tensors: the header as a text, and the checksum."""
    metadata = entries.pop("__metadata__", None)
    found = metadata if isinstance(metadata, dict) else {}
    if not isinstance(found.get("xpnet"), str):
        raise ValueError(
            f"path must be a file that xpnet wrote, but {str(path)!r} has tensors alone, and no "
            "network; for a torch module of them, use xpnet.from_torch(module)."
        )
    return found["xpnet"], str(found.get("crc32"))


def _header(path: str | Path, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
        version = header["version"]
    except (ValueError, RecursionError, TypeError, KeyError):
        version = None
    if type(version) is not int:
        raise ValueError(_damaged(path, "its header is no JSON with a version"))
    if version > VERSION:
        raise ValueError(
            f"path must be of a version of at most {VERSION}, but {str(path)!r} has the version "
            f"{version}; update xpnet."
        )
    del header["version"]
    return dict(header)


def _tiled(path: str | Path, entries: dict[str, Any]) -> list[_Place]:
    """The places of all tensors, one behind the other, or raise."""
    places, end = [], 0
    try:
        for name, entry in entries.items():
            begin, stop = entry["data_offsets"]
            places.append(_Place(name, entry["dtype"], tuple(entry["shape"]), begin, stop))
        places.sort(key=lambda place: place[3:])
        for place in places:
            width = np.dtype(_DTYPES[place.dtype]).itemsize
            if any(type(n) is not int or n < 0 for n in (*place.shape, *place[3:])):
                raise ValueError
            if (place.begin, place.end) != (end, end + width * math.prod(place.shape)):
                raise ValueError
            end = place.end
    except (ValueError, TypeError, KeyError):
        raise ValueError(_damaged(path, "what it says of its tensors cannot be")) from None
    return places


def _damaged(path: str | Path, why: str) -> str:
    return f"path must be a file as it was written, but {str(path)!r} is damaged: {why}."


# ---- both


@contextmanager
def _told(path: str | Path, done: str) -> Iterator[None]:
    """What the system says of a file, in one sentence."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        said = type(error)(f"path must be a file that can be {done}, not {str(path)!r} ({why}).")
        said.errno = error.errno
        raise said from None
