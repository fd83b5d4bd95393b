"""Named arrays and a header in a file, in the format safetensors; nothing in it is ever run.

The package safetensors lays them out and reads them, and xpnet does what it does not: a file is
there whole or as it was, what the system says is an ``OSError``, and a number that was changed on
the way, which would pass for right, is told by a checksum. All that is said beside the arrays is
JSON in one entry of the metadata, ``xpnet``: of several the package writes now one first and now
another, and the same training would not give the same bytes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from xpnet import checks
from xpnet._optional import optional

VERSION = 1
"""The version of what headers say. A file of a greater one is refused."""


def package() -> ModuleType:
    """The package safetensors.

    Raises:
        ImportError: if it is not installed.
    """
    what = "a file in the format safetensors"
    optional("safetensors.numpy", what)
    return optional("safetensors", what)


# ---- writing


def write(path: str | Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write named arrays and a header, so that the file is there whole or as it was before.

    It is written beside, brought to the disk, and renamed. A process that is killed meanwhile
    leaves what it wrote in a folder ``.name.….part`` beside the file.

    Args:
        path: the file; one that is there is replaced.
        arrays: arrays of the host, of floats, integers or truth values.
        header: what JSON can say, with ``"kind"``, such as ``"model"``.

    Raises:
        ImportError: if safetensors is not installed.
        OSError: if it cannot be written, as on a full disk; then all is as before.
        TypeError: if ``path`` is no path, or an array is of another dtype.
        ValueError: if ``path`` names no file, or safetensors could not read it again, as of a
            header that is too long.
    """
    stored = {name: _stored(name, array) for name, array in arrays.items()}
    said = {"version": VERSION, **header}
    text = json.dumps({**said, "crc32": _checksum(said, stored)})
    replaced(path, lambda part: _save(stored, text, part))


def replaced(path: str | Path, save: Callable[[Path], Any]) -> None:
    """Have ``save`` write a file beside ``path`` and put it in its place, as `write` does.

    Raises:
        OSError, TypeError, ValueError: as `write` does, of ``path``.
    """
    place = checks.as_path("path", path)
    if path == "":
        raise ValueError("path must name a file, not ''.")
    target = Path(os.path.realpath(place))
    with _told(path, "written"):
        if target.exists() and not target.is_file():
            raise FileExistsError(None, "it is there, and no file")
        if not target.parent.exists():
            raise FileNotFoundError(errno.ENOENT, f"the folder {str(place.parent)!r} is missing")
        # In a folder, as who writes may make files of its own beside it.
        prefix = f".{target.name}."
        with TemporaryDirectory(".part", prefix, target.parent, ignore_cleanup_errors=True) as name:
            part, new = Path(name, "part"), Path(name, "new")
            save(part)
            with part.open("r+b") as file:
                os.fsync(file.fileno())
            new.touch()  # with the mode of any new file, which the part may not have
            shutil.copymode(target if target.exists() else new, part)
            part.replace(target)
        with suppress(OSError):  # a system that knows no such thing as a folder on the disk
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _save(arrays: Mapping[str, np.ndarray], text: str, part: Path) -> None:
    """Have the package write what it also reads, or raise what the system says against it."""
    library = package()
    try:
        library.numpy.save_file(arrays, part, {"xpnet": text})
        with library.safe_open(part, framework="numpy"):
            pass
    except library.SafetensorError as error:
        found = re.search(r"I/?o ?error.*?(?:(?:os error|code:) (\d+)|$)", str(error), re.I)
        if found is None:
            raise ValueError(
                f"header and arrays must be such as safetensors reads again ({error})."
            ) from None
        code = int(found[1] or 0)
        why = os.strerror(code) if code and os.name == "posix" else str(error)
        raise OSError(code, why, None, code) from None  # the last for Windows


def _stored(name: str, array: np.ndarray) -> np.ndarray:
    """An array as it is in the file: in C order, little-endian; the package asks for no order."""
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold numbers that safetensors has, not {array.dtype}.")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _checksum(said: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """That of what is said and of all arrays, in the order of their names."""
    found = zlib.crc32(json.dumps(said).encode())
    for name, array in sorted(arrays.items()):
        found = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), found)
        little = np.asarray(array, dtype=array.dtype.newbyteorder("<"))
        found = zlib.crc32(little.reshape(-1).view(np.uint8).data, found)
    return f"{found:08x}"


# ---- reading


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write` has written: the arrays by name, and the header.

    Raises:
        ImportError: if safetensors is not installed.
        OSError: if it cannot be read: there is none, or it is a folder.
        ValueError: if it is not as it was written, another program's, or of a newer xpnet.
        TypeError: if ``path`` is no path.
    """
    place, library = checks.as_path("path", path), package()
    with _told(path, "read"):
        with place.open("rb") as opened:
            if not opened.read(1):
                raise ValueError(
                    f"path must be a file that xpnet wrote, but {str(path)!r} is empty."
                )
        try:
            with library.safe_open(place, framework="numpy") as file:
                said, checksum = _said(path, file.metadata() or {})
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        # The latter two of a dtype that NumPy does not have.
        except (library.SafetensorError, TypeError, AttributeError) as error:
            raise ValueError(
                "path must be a file that xpnet wrote, in the format safetensors, not "
                f"{str(path)!r}, which is another or is damaged ({error})."
            ) from None
    if _checksum(said, arrays) != checksum:
        raise ValueError(_damaged(path, "its checksum is another"))
    del said["version"]
    return arrays, said


def read_as(
    path: str | Path, kind: str, word: str, version: int, what: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file of a kind, of a version up to that of here.

    Args:
        path: which.
        kind: what its header has as its ``kind``.
        word: under what its header has its version.
        version: that of here.
        what: what such a file is, in words.

    Raises:
        ImportError, OSError, TypeError: as `read`.
        ValueError: if it is damaged, of another kind, or of a newer xpnet.
    """
    arrays, header = read(path)
    if header.get("kind") != kind:
        raise ValueError(f"path must be {what}, but {str(path)!r} is a {header.get('kind')}.")
    if header[word] > version:
        raise ValueError(
            f"path must be {what} of a version of at most {version}, but {str(path)!r} has the "
            f"version {header[word]}; update xpnet."
        )
    return arrays, header


def _said(path: str | Path, metadata: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The header with its version, and the checksum."""
    if "xpnet" not in metadata:
        raise ValueError(
            f"path must be a file that xpnet wrote, but {str(path)!r} has tensors alone, and no "
            "network; for a torch module of them, use xpnet.from_torch(module)."
        )
    try:
        said = json.loads(metadata["xpnet"])
        version, checksum = said["version"], said.pop("crc32", "")
    except (ValueError, RecursionError, TypeError, KeyError):
        version = None
    if type(version) is not int:
        raise ValueError(_damaged(path, "its header is no JSON with a version"))
    if version > VERSION:
        raise ValueError(
            f"path must be of a version of at most {VERSION}, but {str(path)!r} has the version "
            f"{version}; update xpnet."
        )
    return said, checksum


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
