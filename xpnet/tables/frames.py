"""Frames of pandas, polars and pyarrow as tables; parquet and Arrow, by polars or pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import checks
from xpnet._optional import optional
from xpnet.tables import table
from xpnet.tables.table import CATEGORY, DATE, NUMBER, TEXT, Column, Table

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")


def package(value: Any) -> str:
    """The package that a thing is of."""
    return type(value).__module__.partition(".")[0]


def of_frame(frame: Any) -> Table:
    """A frame of one of the three as a table.

    Raises:
        TypeError: if it is something else of these packages.
        ValueError: if a column holds lists or the like, or two have one name.
    """
    name = package(frame)
    if name == "polars" and hasattr(frame, "collect"):
        raise TypeError("data must be a frame, not a LazyFrame of polars; use data.collect().")
    if type(frame).__name__ not in ("DataFrame", "Table"):
        raise TypeError(
            f"data must be a table, not a {type(frame).__name__} of {name}; use data.to_frame()."
        )
    return Table(tuple(_COLUMNS[name](frame)))


def from_file(path: Path) -> Table:
    """A file of parquet or Arrow, read by polars, or by pyarrow where that is not installed.

    Raises:
        ImportError: if neither is.
        ValueError: if it is no such file.
    """
    parquet = path.suffix.lower() in PARQUET
    try:
        polars = importlib.import_module("polars")
    except ImportError:
        what = f"a file of {'parquet' if parquet else 'Arrow'}, where polars is not installed,"
        module = optional(f"pyarrow.{'parquet' if parquet else 'feather'}", what)
        read: Callable[..., Any] = module.read_table
    else:
        read = polars.read_parquet if parquet else polars.read_ipc
    try:
        with path.open("rb") as file:
            frame = read(file)
    except (MemoryError, OSError) as error:
        if isinstance(error, MemoryError) or error.errno:
            raise
        raise _not_such(path, parquet, error) from None
    except Exception as error:  # each package has errors of its own
        raise _not_such(path, parquet, error) from None
    found = of_frame(frame)
    index = [name for name in found.names if name.startswith("__index_level_")]  # of pandas
    return found.without(index) if index else found


def _not_such(path: Path, parquet: bool, error: Exception) -> ValueError:
    kind = "parquet" if parquet else "Arrow"
    return ValueError(
        f"data must be a file of {kind}, but {str(path)!r} is none, or is damaged "
        f"({checks.cut(str(error))})."
    )


def _of_pandas(frame: Any) -> list[Column]:
    pandas = importlib.import_module("pandas")
    is_ = pandas.api.types
    found = []
    for place, title in enumerate(frame.columns):
        series, name = frame.iloc[:, place], str(title)
        if isinstance(series.dtype, pandas.CategoricalDtype):
            found.append(table.of_objects(name, series.astype(object).tolist(), CATEGORY))
        elif is_.is_complex_dtype(series.dtype):
            raise _no_column(name, series.dtype)
        elif is_.is_numeric_dtype(series.dtype):  # of truth values too
            plain = series.to_numpy()
            if plain.dtype.kind not in "iu" and is_.is_integer_dtype(series.dtype):
                found.append(_whole(name, series.to_numpy(float, na_value=np.nan), series.tolist))
                continue
            if plain.dtype.kind not in "biuf":
                if is_.is_bool_dtype(series.dtype) and not series.isna().any():
                    plain = series.to_numpy(dtype=bool)
                else:
                    plain = series.to_numpy(dtype=float, na_value=np.nan)
            found.append(Column(name, NUMBER, plain))
        elif series.dtype.kind in "mM":
            found.append(table.of_strings(name, _texts(_objects(series.astype(str), series)), DATE))
        else:
            found.append(table.of_objects(name, _objects(series, series)))
    return found


def _of_polars(frame: Any) -> list[Column]:
    polars = importlib.import_module("polars")
    found = []
    for series in frame.get_columns():
        name, dtype = series.name, series.dtype
        if dtype.is_numeric() or dtype in (polars.Boolean, polars.Null):
            plain = series if dtype.is_integer() and not series.null_count() else None
            if dtype == polars.Boolean and not series.null_count():
                plain = series
            values = (series.cast(polars.Float64) if plain is None else plain).to_numpy()
            found.append(_whole(name, values, series.to_list))
        elif dtype.is_temporal():
            found.append(table.of_strings(name, _texts(series.to_list()), DATE))
        elif dtype in (polars.String, polars.Categorical, polars.Enum):
            kind = TEXT if dtype == polars.String else CATEGORY
            found.append(table.of_strings(name, series.cast(polars.String).to_list(), kind))
        elif dtype == polars.Object:
            found.append(table.of_objects(name, series.to_list()))
        else:
            raise _no_column(name, dtype)
    return found


def _of_pyarrow(frame: Any) -> list[Column]:
    pyarrow = importlib.import_module("pyarrow")
    types = pyarrow.types
    found = []
    for name, column in zip(frame.column_names, frame.columns, strict=True):
        kind = column.type
        if types.is_boolean(kind) or types.is_integer(kind):
            # Not by a cast of Arrow's, which refuses what a float does not hold.
            listed = column.to_pylist if column.null_count else None
            if listed is None:
                found.append(Column(name, NUMBER, column.to_numpy()))
            else:
                floats = [np.nan if value is None else float(value) for value in listed()]
                found.append(_whole(name, np.array(floats), listed))
        elif types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
            found.append(Column(name, NUMBER, column.cast("float64").to_numpy()))
        elif types.is_temporal(kind):
            found.append(table.of_strings(name, _texts(column.to_pylist()), DATE))
        elif types.is_dictionary(kind):
            found.append(table.of_objects(name, column.to_pylist(), CATEGORY))
        elif str(kind) in ("string", "large_string", "string_view"):
            found.append(table.of_strings(name, column.to_pylist()))
        else:
            raise _no_column(name, kind)
    return found


def _whole(name: str, values: np.ndarray, listed: Callable[[], list[Any]]) -> Column:
    """A column of numbers; whole ones that floats may not tell apart, as they are."""
    if values.dtype.kind != "f" or not (np.abs(values) >= table.EXACT).any():
        return Column(name, NUMBER, values)
    return table.of_objects(name, listed())


def _objects(values: Any, series: Any) -> list[Any]:
    """Values of pandas, with ``None`` where the series has none."""
    missing = series.isna().tolist()
    return [None if gone else v for v, gone in zip(values.tolist(), missing, strict=True)]


def _texts(values: list[Any]) -> list[str | None]:
    return [None if value is None else str(value) for value in values]


def _no_column(name: str, dtype: Any) -> ValueError:
    return ValueError(
        f"column {checks.shown(name)} must hold numbers, texts or dates, not {dtype}."
    )


_COLUMNS: dict[str, Callable[[Any], list[Column]]] = {
    "pandas": _of_pandas,
    "polars": _of_polars,
    "pyarrow": _of_pyarrow,
}

PACKAGES = tuple(_COLUMNS)
"""Whose frames can be handed over."""
